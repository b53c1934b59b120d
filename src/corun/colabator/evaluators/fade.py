"""FADE as haze density (Choi, You and Bovik, TIP 2015), by the package fade-python."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.colabator.evaluators.protocols import Scores, block_count
from corun.errors import MissingExtraError

PATCH = 8
"""FADE's own patches, pixels; pictures are cut to whole patches."""


class FadeDensity:
    """D = F/(1 + F), with F FADE's perceptual fog density in (0, ∞); F = 1 gives ½.

    On the processor, in double precision, picture by picture, without a gradient.

    Raises:
        MissingExtraError: fade-python is not installed.
    """

    name = "fade"
    differentiable = False

    def __init__(self) -> None:
        try:
            from pyfade import fade_array
        except ImportError as error:
            raise MissingExtraError("fade-python", "metrics") from error
        self._fade = fade_array

    @torch.no_grad()
    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """D of pictures and, from FADE's density map of 8×8 patches, of their blocks."""
        height, width = image.shape[-2:]
        rows, columns = block_count(height, block), block_count(width, block)
        overall, blocks = [], []
        for picture in image:
            levels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            value, density_map = self._fade(levels, return_map=True)
            overall.append(float(value))
            density = torch.from_numpy(density_map.astype("float32"))[None, None]
            blocks.append(F.adaptive_avg_pool2d(density, (rows, columns)))
        F_overall = torch.tensor(overall).to(image.device)
        F_blocks = torch.cat(blocks).to(image.device).clamp(min=0)
        return Scores(F_overall / (1 + F_overall), F_blocks / (1 + F_blocks))

    def to(self, device: torch.device) -> FadeDensity:
        """Nothing to move."""
        return self
