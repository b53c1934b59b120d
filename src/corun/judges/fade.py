"""FADE, by the package fade-python: how foggy a picture looks.

D = D_f/(1 + D_ff), the Mahalanobis-like distances of 12 statistics of 8×8 patches from those of
fog-free and of foggy photos (Choi, You and Bovik, "Referenceless Prediction of Perceptual Fog
Density and Perceptual Image Defogging", TIP 2015). Lower is clearer. It rewards darkening and
over-saturation: never report it alone. fade-python agrees with the authors' MATLAB code to 1e-3.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from corun.data.images import eight_bit
from corun.errors import MissingExtraError
from corun.judges.facts import JUDGES
from corun.judges.protocols import Scores, pixel_block_means

PATCH = 8
"""FADE's own patches, pixels; pictures are cut to whole patches."""


class FadeDensity:
    """D = F/(1 + F), with F FADE's perceptual fog density in (0, ∞); F = 1 gives ½.

    On the processor, in double precision, picture by picture, without a gradient.

    Raises:
        MissingExtraError: fade-python is not installed.
    """

    differentiable = JUDGES["fade"].differentiable

    def __init__(self) -> None:
        self._fade = _fade_array()
        self.name = f"fade {version('fade-python')}"

    def values(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """F of RGB pictures in [0,1], as 8-bit ones, in double precision.

        Raises:
            ValueError: a picture is smaller than a patch.
        """
        found = [float(self._fade(eight_bit(picture))) for picture in image]
        return torch.tensor(found, dtype=torch.float64)

    def overall(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """D of pictures."""
        found = self.values(image).float()
        return (found / (1 + found)).to(image.device)

    @torch.no_grad()
    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """D of pictures and, from FADE's density map of 8×8 patches, of their blocks.

        Pixels beyond the last whole patch count as part of it.
        """
        height, width = image.shape[-2:]
        overall, blocks = [], []
        for picture in image:
            value, density_map = self._fade(eight_bit(picture), return_map=True)
            overall.append(float(value))
            density = torch.from_numpy(density_map.astype("float32"))[None, None]
            rows, columns = (
                (torch.arange(side) // PATCH).clamp(max=count - 1)
                for side, count in zip((height, width), density.shape[-2:], strict=True)
            )
            blocks.append(pixel_block_means(density, rows, columns, block))
        F_overall = torch.tensor(overall).to(image.device)
        F_blocks = torch.cat(blocks).to(image.device).clamp(min=0)
        return Scores(F_overall / (1 + F_overall), F_blocks / (1 + F_blocks))

    def to(self, device: torch.device) -> FadeDensity:
        """Nothing to move."""
        return self


def _fade_array() -> Callable[..., Any]:
    try:
        from pyfade import fade_array
    except ImportError as error:
        raise MissingExtraError("fade-python", "metrics") from error
    function: Callable[..., Any] = fade_array
    return function
