"""The output as a locally affine function of the input, which is what the scattering model says.

Solving P = J·T + A·(1 − T) for J gives J = a·P + b with a = 1/T and b = A·(1 − 1/T): as smooth over
the picture as T and A are. Whatever a network invents beyond that, texture in skies, the grid of a
pixel-shuffle, blur, is not explained by haze. Fitting a and b to the network's scene in overlapping
windows, and applying them to the input, keeps what haze removal is (contrast and colour, region by
region) and takes every detail from the photo itself. The fit is the guided filter's (He, Sun and
Tang, TPAMI 2013), with exact window moments on a coarse grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def local_affine_scene(
    hazy: Float[Tensor, "b 3 h w"],
    scene: Float[Tensor, "b 3 h w"],
    *,
    cell: int,
    radius: int = 2,
    epsilon: float = 1e-4,
) -> Float[Tensor, "b 3 h w"]:
    """J' = ā·P + b̄ per colour channel, where in each window a, b minimise

        Σ (a·P + b − J)² + ε·a²,   so   a = cov(P, J)/(var(P) + ε),   b = mean(J) − a·mean(P),

    and the bars average over the windows that contain a pixel, interpolated bilinearly.

    Where P is flat (var ≪ ε) a is near 0 and J' is the window's mean of J: skies stay smooth, and
    compression blocks are not amplified.

    Args:
        hazy: P, RGB, [0,1]; H and W multiples of ``cell``.
        scene: J, the network's own estimate, RGB.
        cell: side of the square cells, pixels; a and b live on the grid of cells.
        radius: of the window, in cells: it is (2·radius + 1)·cell pixels wide.
        epsilon: ε, the variance of P below which detail counts as noise.

    Returns:
        J', RGB, not clamped. Computed in float32 whatever the precision around it.
    """
    with torch.autocast(hazy.device.type, enabled=False):
        P, J = hazy.float(), scene.float()
        moments = torch.cat((P, J, P * J, P * P), 1).contiguous()
        moments = window_mean(F.avg_pool2d(moments, cell), radius)
        mean_P, mean_J, mean_PJ, mean_PP = moments.chunk(4, 1)
        a = (mean_PJ - mean_P * mean_J) / ((mean_PP - mean_P.square()).clamp_min(0) + epsilon)
        b = mean_J - a * mean_P
        fields = window_mean(torch.cat((a, b), 1), radius)
        fields = F.interpolate(fields, size=P.shape[-2:], mode="bilinear", align_corners=False)
        a, b = fields.chunk(2, 1)
        return a * P + b


def window_mean(cells: Float[Tensor, "b c h w"], radius: int) -> Float[Tensor, "b c h w"]:
    """The mean over the (2·radius + 1)² window around each cell, cut off at the border."""
    side = 2 * radius + 1
    return F.avg_pool2d(cells, side, stride=1, padding=radius, count_include_pad=False)
