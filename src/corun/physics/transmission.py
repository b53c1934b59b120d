"""From depth to transmission: conventions, Beer–Lambert attenuation, patchy density.

Depth here is *normalised distance* d: unitless, [0,1], larger = farther, 1 = the farthest point of
the picture (the sky). Files hold other things; :func:`normalise_depth` is the one place where they
are turned. β is the scattering coefficient per unit of normalised distance.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

DepthConvention = Literal["distance", "inverse"]


def normalise_depth(
    depth: Float[Tensor, "b 1 h w"],
    *,
    convention: DepthConvention,
    clip: float = 0.0,
    inverse_offset: float = math.inf,
) -> Float[Tensor, "b 1 h w"]:
    """Turn a depth map of any unit into d in [0,1], larger = farther, for each image by itself.

    With v = (depth − low)/(high − low), low and high the image's own extremes:

    - ``"distance"`` (larger = farther): d = v;
    - ``"inverse"`` (disparity, inverse depth: larger = nearer): d = f·(1−v)/(v+f), the normalised
      reciprocal of v + f. f, ``inverse_offset``, is near/(far − near) in distances: 0.05 where the
      farthest point is 21 times as far as the nearest. Relative inverse depth, as networks predict
      it, does not determine f; f = ∞, the default, is its mirror image d = 1 − v.

    Args:
        depth: raw values, any unit. Infinity is the farthest point of a distance map. NaN, −∞ and
            images without a finite value have no order to normalise and give NaN; ``read_depth``
            refuses them.
        convention: what the file holds. There is no default: a wrong guess puts the haze in front.
        clip: fraction of the pixels, at each end, that may fall outside [low, high] and are
            clamped; [0, 0.5). Outliers of a stereo rig otherwise eat the whole range.
        inverse_offset: f, > 0; used by ``"inverse"`` only.

    Returns:
        d, unitless, [0,1]. A constant map holds no depth; it gives d = 0 everywhere.

    Raises:
        ValueError: an argument is out of range, or the convention is unknown.
    """
    if convention not in ("distance", "inverse"):
        raise ValueError(f"depth convention must be 'distance' or 'inverse', got {convention!r}")
    if not 0 <= clip < 0.5:
        raise ValueError(f"clip must be in [0, 0.5), got {clip}")
    if not inverse_offset > 0:
        raise ValueError(f"inverse_offset must be above 0, got {inverse_offset}")
    flat = depth.flatten(1)
    finite = torch.isfinite(flat)
    largest_finite = torch.where(finite, flat, torch.full_like(flat, -math.inf)).amax(1, True)
    flat = torch.where(flat == math.inf, largest_finite, flat)
    low, high = _extremes(flat, clip)
    span = high - low
    constant = span <= 0
    v = (flat - low) / torch.where(constant, torch.ones_like(span), span)
    v = v.clamp(0, 1)
    if convention == "distance":
        d = v
    elif math.isinf(inverse_offset):
        d = 1 - v
    else:
        d = inverse_offset * (1 - v) / (v + inverse_offset)
    return torch.where(constant, torch.zeros_like(d), d).reshape(depth.shape)


def depth_to_transmission(
    depth: Float[Tensor, "b 1 h w"],
    beta: Float[Tensor, "#b 1 #h #w"] | float,
) -> Float[Tensor, "b 1 h w"]:
    """t = exp(−2·β·d), Beer–Lambert attenuation along the line of sight.

    The factor 2 is that of RIDCP's synthesis (Wu et al., CVPR 2023), with which its range
    β ~ U(0.2, 2.8) is stated: at d = 1 the transmission goes from 0.67 down to 0.004.

    Args:
        depth: d, normalised distance, unitless, [0,1], larger = farther.
        beta: β ≥ 0, per unit of normalised distance: one number, (B,1,1,1), or a (B,1,H,W) map for
            haze of uneven density.

    Returns:
        t, unitless, in (0,1].
    """
    return torch.exp(-2 * beta * depth)


def density_field(
    batch: int,
    height: int,
    width: int,
    *,
    generator: torch.Generator,
    strength: Float[Tensor, "#b 1 1 1"] | float = 0.5,
    cells: int = 3,
    octaves: int = 3,
    stretch: float = 2.0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "b 1 h w"]:
    """A smooth random multiplier of β for patchy haze: m = exp(s·g)/mean(exp(s·g)).

    g is a sum of ``octaves`` layers of bicubically interpolated normal noise, each twice as fine
    and half as strong as the one before, standardised to mean 0 and variance 1 over the image. So m
    is positive, smooth, log-normal, has mean 1 over each image, and s = 0 gives 1 everywhere. The
    optical depth of a line of sight is an integral of density, hence a multiplier of β·d.

    Args:
        batch: number of images, each with a field of its own.
        height: rows, at least 1.
        width: columns, at least 1.
        generator: the only source of randomness; a generator on the CPU gives the same field
            (up to rounding) on every device.
        strength: s ≥ 0, the standard deviation of log m; a number or (B,1,1,1).
        cells: patches of the coarsest layer along the short side, at least 1. Their size is
            relative to the image: the field looks alike at every resolution.
        octaves: number of layers, at least 1.
        stretch: how much wider than tall the patches are, > 0; haze lies in layers.
        device: where the field is returned.
        dtype: floating dtype of the field.

    Returns:
        m, unitless, > 0, mean 1 over each image.

    Raises:
        ValueError: a size, cells, octaves or stretch is out of range.
    """
    if min(batch, height, width, cells, octaves) < 1 or not stretch > 0:
        raise ValueError(
            "batch, height, width, cells and octaves must be at least 1 and stretch above 0, got "
            f"{batch}, {height}, {width}, {cells}, {octaves}, {stretch}"
        )
    short = min(height, width)
    field = torch.zeros(batch, 1, height, width, device=device, dtype=torch.float32)
    for octave in range(octaves):
        frequency = cells * 2**octave
        rows = max(2, round(frequency * height / short) + 1)
        columns = max(2, round(frequency * width / (short * stretch)) + 1)
        noise = torch.randn(batch, 1, rows, columns, generator=generator, device=generator.device)
        layer = F.interpolate(
            noise.to(device), size=(height, width), mode="bicubic", align_corners=False
        )
        field = field + layer * 0.5**octave
    mean = field.mean(dim=(2, 3), keepdim=True)
    deviation = (field - mean).square().mean(dim=(2, 3), keepdim=True).sqrt()
    standard = (field - mean) / deviation.clamp(min=1e-6)
    density = torch.exp(standard * strength)
    return (density / density.mean(dim=(2, 3), keepdim=True)).to(dtype)


def _extremes(
    values: Float[Tensor, "b n"], clip: float
) -> tuple[Float[Tensor, "b 1"], Float[Tensor, "b 1"]]:
    """The lowest and highest value of each row, leaving out a fraction ``clip`` at each end."""
    if clip == 0:
        return values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    count = values.shape[1]
    skipped = min(int(clip * count), (count - 1) // 2)
    low = values.kthvalue(1 + skipped, dim=1, keepdim=True).values
    high = values.kthvalue(count - skipped, dim=1, keepdim=True).values
    return low, high
