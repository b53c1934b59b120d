"""Scenes that leave [0, 1], brought back without cutting tones off or turning hues."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

WHITE_RANGE = (0.9, 1.0)
"""Least channel of P between which the photo itself takes over from the model."""
SHADOW, HIGHLIGHT = 0.1, 0.18
"""Values nearer than this to black and to white are compressed instead of cut off."""


def within_range(
    J: Float[Tensor, "b 3 h w"], photo: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """J' of J, for the photo P of which J was made.

    J' fades into P as the least channel of P goes from 0.9 to 1: clouds and lamps would take the
    tint of the haze as well, but nothing tells what these are like without haze.

    Division by T takes the darkest tones below 0. With s = 0.1, J' < s becomes s·exp(J'/s − 1),
    which has value and slope s and 1 at s and never reaches 0; but no brighter than P by that.
    In the same way a largest channel above 0.82 stays below 1, but by that no darker than that of
    P. The hue stays: lightness is half way between what a factor for all three channels makes of it
    and that of an equally light grey, so that saturation gives as well.

    Args:
        J: RGB.
        photo: P, RGB, [0,1].
    """
    low, high = WHITE_RANGE
    white = ((photo.amin(1, keepdim=True) - low) / (high - low)).clamp(0, 1)
    J = torch.maximum(J, torch.minimum(_compressed(J, SHADOW), photo))
    return torch.lerp(_highlights_compressed(J, photo), photo, white)


def _compressed(scene: Float[Tensor, "b c h w"], end: float) -> Float[Tensor, "b c h w"]:
    """s·exp(J/s − 1) below s, J from there on."""
    return torch.where(scene < end, end * torch.exp(scene.clamp(max=end) / end - 1), scene)


def _highlights_compressed(
    J: Float[Tensor, "b 3 h w"], photo: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """J with its hues, its largest channel compressed, but only as far as to that of the photo.

    What the other channels lose is half lightness and half saturation.
    """
    start = 1 - HIGHLIGHT
    largest, lightness = J.amax(1, keepdim=True), J.mean(1, keepdim=True)
    most = 1 - _compressed(1 - largest, HIGHLIGHT)
    paler = 1 - _compressed(1 - lightness, HIGHLIGHT)
    kept = (paler + lightness * most / largest.clamp_min(start)) / 2
    share = (most - kept) / (largest - lightness).clamp_min(1e-6)
    below = torch.maximum(most, torch.minimum(largest, photo.amax(1, keepdim=True)))
    part = ((largest - below) / (largest - most).clamp_min(1e-6)).clamp(0, 1)
    return torch.where(largest > start, torch.lerp(J, kept + share * (J - lightness), part), J)
