"""A plain encoder and decoder with skip connections: the simplest network worth adapting."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.networks.reduction import pad_to_multiple


class PlainUNet(nn.Module):
    """U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) with a residual output.

    J = P + U(P); two 3×3 convolutions per level, average pooling down, bilinear up.

    Args:
        dim: channels of the first level; each level doubles them.
        levels: how often the size is halved.
    """

    def __init__(self, dim: int = 32, levels: int = 3) -> None:
        super().__init__()
        widths = [dim * 2**level for level in range(levels + 1)]
        self.multiple = 2**levels
        self.down = nn.ModuleList(
            double_convolution(before, after)
            for before, after in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            double_convolution(widths[level + 1] + widths[level], widths[level])
            for level in reversed(range(levels))
        )
        self.out = nn.Conv2d(dim, 3, 3, padding=1)

    def forward(self, hazy: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Scene J (not clamped) of RGB in [0,1], any size."""
        height, width = hazy.shape[-2:]
        x = pad_to_multiple(hazy, self.multiple)
        P, skips = x, []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.avg_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat((x, skips.pop()), 1))
        scene: Tensor = P + self.out(x)
        return scene[..., :height, :width]


def double_convolution(before: int, after: int) -> nn.Sequential:
    """Two 3×3 convolutions, each followed by a GELU."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.GELU(),
    )
