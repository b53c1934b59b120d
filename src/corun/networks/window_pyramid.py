"""Means over square cells on several scales, for regressions from wide windows down to narrow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.physics.window_filters import window_mean


def cell_pyramid(
    channels: Float[Tensor, "b c h w"], *, cell: int, scales: int
) -> list[Float[Tensor, "b d h2 w2"]]:
    """Sums over cells of ``cell``, 2·``cell``, 4·``cell``, … pixels, per area of the cell.

    Args:
        channels: C of them, any values, of any size from 1×1 up.
        cell: side of the square cells of the finest scale, pixels.
        scales: how many.

    Returns:
        From the finest to the coarsest, (B,C+1,⌈H/cell⌉,⌈W/cell⌉) first. The last channel is the
        part of each cell that lies inside the picture: :func:`window_means` divides by it.
    """
    counted = torch.cat((channels, torch.ones_like(channels[:, :1])), 1)
    height, width = channels.shape[-2:]
    counted = F.pad(counted, (0, -width % cell, 0, -height % cell)).contiguous()
    sums = [F.avg_pool2d(counted, cell)]
    for _ in range(scales - 1):  # as many for every size: the graph does not depend on it
        height, width = sums[-1].shape[-2:]
        sums.append(F.avg_pool2d(F.pad(sums[-1], (0, width % 2, 0, height % 2)), 2))
    return sums


def window_means(sums: Float[Tensor, "b d h w"], *, radius: int) -> Float[Tensor, "b c h w"]:
    """The means of the channels of one scale over windows of (2·``radius`` + 1)² cells."""
    windows = window_mean(sums, radius=radius)
    return windows[:, :-1] / windows[:, -1:]


def on_next_finer_scale(
    fields: Float[Tensor, "b c h w"], like: Float[Tensor, "b d h2 w2"]
) -> Float[Tensor, "b c h2 w2"]:
    """Fields on the cells of one scale, at those of the next finer one, of which ``like`` is."""
    height, width = like.shape[-2:]
    doubled = F.interpolate(fields, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[..., :height, :width]
