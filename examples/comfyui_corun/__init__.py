"""A ComfyUI node: copy this folder into ComfyUI/custom_nodes and install corun-dehaze there.

The node "Dehaze (CORUN)" is in the category image/postprocessing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

import corun


@lru_cache(maxsize=2)
def _loaded(model: str) -> Any:
    return corun.load(model)


class CorunDehaze:
    """Takes the haze out of a batch of images; the second output is the transmission, a mask."""

    CATEGORY = "image/postprocessing"
    FUNCTION = "dehaze"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "transmission")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        strength = {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}
        return {
            "required": {
                "image": ("IMAGE",),
                "model": (list(corun.list_models()),),
                "strength": ("FLOAT", strength),
            }
        }

    def dehaze(
        self, image: torch.Tensor, model: str, strength: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """ComfyUI's images (B,H,W,3) in [0,1] → clear ones, and T (B,H,W) in (0,1]."""
        result = _loaded(model)(image[..., :3].permute(0, 3, 1, 2), strength=strength)
        t = result.transmission
        mask = torch.ones(image.shape[:3]) if t is None else t[:, 0]
        return result.image.permute(0, 2, 3, 1).contiguous(), mask


NODE_CLASS_MAPPINGS = {"CorunDehaze": CorunDehaze}
NODE_DISPLAY_NAME_MAPPINGS = {"CorunDehaze": "Dehaze (CORUN)"}
