"""Guards: plain measures that tell when a haze score was bought with darkness or false colour.

Every function takes RGB, sRGB-encoded, [0,1], and returns one double per picture.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from corun.metrics.colour import srgb_to_lab

CRUSHED_LEVEL = 0
"""A sample at this level of 255 or below has lost its shadow detail."""
CLIPPED_LEVEL = 255
"""A sample at this level of 255 or above has lost its highlight detail."""
GREY_CHROMA = 5.0
"""Pixels with less CIELAB chroma have no hue to shift."""


def mean_brightness(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b"]:
    """The mean of all samples of all three channels, [0,1]. Neither end is good."""
    return pictures.mean((1, 2, 3), dtype=torch.float64)


def contrast(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b"]:
    """Root-mean-square contrast: the standard deviation of luma over the pixels, [0, 0.5].

    Luma is 0.299 R + 0.587 G + 0.114 B (BT.601). Haze lowers it; too much is as bad.
    """
    weights = pictures.new_tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    luma = torch.einsum("bchw,c->bhw", pictures.double(), weights)
    return luma.flatten(1).std(1, correction=0)


def colourfulness(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b"]:
    """M = σ + 0.3 μ over the opponent colours (Hasler and Süsstrunk, SPIE 2003, Eq. for M̂⁽³⁾).

    rg = R − G, yb = ½(R + G) − B, σ = √(σ_rg² + σ_yb²), μ = √(μ_rg² + μ_yb²), samples in 0–255.
    0 is grey; 15 slightly, 33 moderately, 45 averagely, 59 quite, 82 highly colourful.
    """
    red, green, blue = (pictures.double() * 255).flatten(2).unbind(1)
    opponents = torch.stack((red - green, (red + green) / 2 - blue), -1)
    deviation = opponents.var(1, correction=0).sum(-1).sqrt()
    offset = opponents.mean(1).square().sum(-1).sqrt()
    return deviation + 0.3 * offset


def crushed_fraction(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b"]:
    """The share of samples (pixel × channel) that are 0 of 255, [0,1]. Lower is better."""
    return _share(pictures <= (CRUSHED_LEVEL + 0.5) / 255)


def clipped_fraction(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b"]:
    """The share of samples (pixel × channel) that are 255 of 255, [0,1]. Lower is better."""
    return _share(pictures >= (CLIPPED_LEVEL - 0.5) / 255)


def hue_shift(
    pictures: Float[Tensor, "b 3 h w"], inputs: Float[Tensor, "b 3 _ _"]
) -> Float[Tensor, "b"]:
    """How far the hues have turned from the input's, in degrees, [0,180]. Lower is better.

    The mean over the pixels of |Δh|, the angle between the CIELAB (a, b) of result and input,
    weighted by √(C_result·C_input) so that nearly grey pixels, whose hue is noise, do not count;
    pixels with less than 5 units of chroma in either count nothing. Haze removal scales chroma and
    should keep hue. 0 if the input has no colour that could turn; NaN if it has and the result has
    none where it had: a picture turned to grey has not kept its hues.

    Raises:
        ValueError: the two are of different sizes.
    """
    if pictures.shape != inputs.shape:
        raise ValueError(
            f"result {tuple(pictures.shape)} and input {tuple(inputs.shape)} differ in size"
        )
    result, before = (srgb_to_lab(image)[:, 1:] for image in (pictures, inputs))
    chroma, chroma_before = result.norm(dim=1), before.norm(dim=1)
    cross = result[:, 0] * before[:, 1] - result[:, 1] * before[:, 0]
    angle = torch.atan2(cross, (result * before).sum(1)).abs() * (180 / torch.pi)
    coloured = (chroma >= GREY_CHROMA) & (chroma_before >= GREY_CHROMA)
    weight = torch.where(coloured, (chroma * chroma_before).sqrt(), 0.0)
    shift = (weight * angle).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-12)
    had_colour = (chroma_before >= GREY_CHROMA).any(2).any(1)
    lost = had_colour & ~coloured.any(2).any(1)
    return torch.where(lost, torch.nan, shift)


def _share(mask: Tensor) -> Tensor:
    return mask.flatten(1).double().mean(1)
