"""Estimators of the airlight A, the colour of infinitely thick haze, from one hazy picture.

All take RGB, sRGB-encoded, [0,1], (B,3,H,W), and return A, (B,3,1,1), in [0,1], for each image by
itself, on the device and in the dtype of the picture.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from corun.physics.window_filters import dark_channel

AirlightPick = Literal["mean", "brightest"]


def airlight_from_dark_channel(
    hazy: Float[Tensor, "b 3 h w"],
    *,
    patch: int = 15,
    fraction: float = 0.001,
    pick: AirlightPick = "mean",
) -> Float[Tensor, "b 3 1 1"]:
    """A from the most haze-opaque pixels: those with the highest dark channel.

    He et al. 2009, section 4.4: of the ``fraction`` of pixels brightest in the dark channel, the
    one of highest intensity in the picture. The patch keeps single white objects out of the
    choice. The mean of the candidates, the default here, is less sensitive to noise and to white
    walls: on rendered scenes its error is a third smaller.

    Args:
        hazy: P, [0,1].
        patch: side of the dark channel's window in pixels, odd.
        fraction: of the pixels that are candidates, (0,1]; at least one pixel is.
        pick: the mean of the candidates, or the brightest of them (the paper's).

    Returns:
        A, [0,1].

    Raises:
        ValueError: an argument is out of range.
    """
    _check_fraction(fraction)
    if pick not in ("mean", "brightest"):
        raise ValueError(f"pick must be 'mean' or 'brightest', got {pick!r}")
    candidates = _colours_at_largest(dark_channel(hazy, patch=patch), hazy, fraction)
    if pick == "mean":
        return _as_airlight(candidates.mean(dim=2))
    return _as_airlight(_colour_at(candidates, candidates.sum(dim=1).argmax(dim=1)))


def airlight_quadtree(
    hazy: Float[Tensor, "b 3 h w"], *, smallest: int = 16
) -> Float[Tensor, "b 3 1 1"]:
    """A from the brightest flat region, found by repeated quartering.

    The picture is cut into four, the quarter with the largest Σ_c mean_c − deviation_c is kept and
    cut again, until a side would fall below ``smallest``; A is the colour nearest to white there
    (Kim et al., "Optimized contrast enhancement for real-time image and video dehazing", JVCI 2013,
    section 3.1). Bright objects with texture lose to the flat sky. Quarters of an odd side share
    its middle row or column, so that all images of a batch are cut alike.

    Args:
        hazy: P, [0,1].
        smallest: side in pixels below which no region is cut, at least 1.

    Returns:
        A, [0,1].

    Raises:
        ValueError: smallest is below 1.
    """
    if smallest < 1:
        raise ValueError(f"smallest must be at least 1, got {smallest}")
    region = hazy
    while min(region.shape[2:]) >= 2 * smallest:
        height, width = region.shape[2:]
        h, w = (height + 1) // 2, (width + 1) // 2
        quarters = torch.stack(
            [
                region[:, :, top : top + h, left : left + w]
                for top in (0, height - h)
                for left in (0, width - w)
            ],
            dim=1,
        )
        mean = quarters.mean(dim=(3, 4), keepdim=True)
        deviation = (quarters - mean).square().mean(dim=(3, 4)).sqrt()
        best = (mean[..., 0, 0] - deviation).sum(dim=2).argmax(dim=1)
        region = quarters[torch.arange(len(best), device=best.device), best]
    colours = region.flatten(2)
    return _as_airlight(_colour_at(colours, (1 - colours).square().sum(dim=1).argmin(dim=1)))


def _colours_at_largest(
    score: Float[Tensor, "b 1 h w"], image: Float[Tensor, "b 3 h w"], fraction: float
) -> Float[Tensor, "b 3 n"]:
    """The colours of the pixels with the largest scores."""
    flat = score.flatten(1)
    count = max(1, round(fraction * flat.shape[1]))
    index = flat.topk(count, dim=1).indices
    return image.flatten(2).gather(2, index.unsqueeze(1).expand(-1, 3, -1))


def _colour_at(colours: Float[Tensor, "b 3 n"], index: Tensor) -> Float[Tensor, "b 3"]:
    return colours.gather(2, index.view(-1, 1, 1).expand(-1, 3, 1)).squeeze(2)


def _as_airlight(colour: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 1 1"]:
    return colour[:, :, None, None]


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
