"""Statistics of natural scenes: normalised luminance and the shapes of its distributions.

Divide a photo's luminance by its local contrast and what is left is close to Gaussian noise if the
photo is natural, and is not if it is blurred, compressed or noisy (Ruderman 1994). BRISQUE
(Mittal, Moorthy and Bovik, TIP 2012) and NIQE (Mittal, Soundararajan and Bovik, SPL 2013) measure
how far it departs, by the parameters of generalised Gaussians fitted to it and to products of
neighbours. Both share what is here.

Letters: b pictures, h height, w width, k fits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.statistics.filters import Border, extend, gaussian_window, halve, smooth_inside

NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (-1, 1))
"""(down, right) shifts of the four products of neighbours: →, ↓, ↘, ↗."""

_MIDDLE = 128.0
"""The grey level that sums are taken around."""

_ROUNDING_NOISE = 1e-9
"""A difference from the local mean below this is not contrast but rounding; see normalise()."""

_CACHED_PIXELS = 2**19
"""One map of so many pixels in single precision is 2 MiB."""

_SHAPES = (0.2, 10.0, 0.001)
"""First, last and step of the shapes that the published fits try."""


class NormalisedLuminance(NamedTuple):
    """Luminance relative to its neighbourhood."""

    coefficients: Tensor
    """(x − μ)/(σ + 1), (b,h,w), unitless; about −4 to 4."""
    deviation: Tensor
    """σ, the local standard deviation, (b,h,w), in grey levels (0 to 127)."""


class SignedMoments(NamedTuple):
    """Means over samples, told apart by sign: all that the fits need to know."""

    absolute: Tensor
    """mean |x|."""
    square: Tensor
    """mean x²."""
    left_square: Tensor
    """mean x² over x < 0; 0 if there are none."""
    right_square: Tensor
    """mean x² over x > 0; 0 if there are none."""


class AsymmetricFit(NamedTuple):
    """An asymmetric generalised Gaussian distribution (AGGD)."""

    shape: Tensor
    """α, unitless, in [0.2, 10]; 2 is Gaussian."""
    left: Tensor
    """σ_l, the standard deviation of the negative side."""
    right: Tensor
    """σ_r, the standard deviation of the positive side."""


def luminance(image: Float[Tensor, "b 3 h w"], *, rounded: bool = True) -> Float[Tensor, "b h w"]:
    """Luminance in grey levels, as MATLAB's ``rgb2gray`` of 8-bit pictures.

    Y = 255·(0.298936 R + 0.587043 G + 0.114021 B).

    Args:
        image: RGB, sRGB-encoded, [0,1].
        rounded: to whole grey levels, which the published statistics suppose; without, Y has a
            gradient.

    Returns:
        Grey levels, [0,255], in the dtype of the picture.
    """
    red, green, blue = (0.298936021293775, 0.587043074451121, 0.114020904255103)
    grey = image[:, 1] * (255 * green)
    grey = torch.add(grey, image[:, 0], alpha=255 * red)
    grey = torch.add(grey, image[:, 2], alpha=255 * blue)
    return (grey + 0.5).floor() if rounded else grey


def halve_grey(grey: Float[Tensor, "b h w"]) -> Float[Tensor, "b hh hw"]:
    """MATLAB's ``imresize(grey, 0.5)``, exact in single precision for whole grey levels.

    The weights are multiples of 1/256 and levels less 128 have 8 bits: the sums fit in 24.
    """
    return halve(grey - _MIDDLE) + _MIDDLE


def normalise(
    grey: Float[Tensor, "b h w"], *, border: Border, snap: bool = True
) -> NormalisedLuminance:
    """Mean-subtracted, contrast-normalised luminance (MSCN coefficients).

    (x − μ)/(σ + 1), with μ and σ² = |E[x²] − μ²| under a 7×7 Gaussian window of σ = 7/6 pixels.

    The fits count signs of x − μ, which in a smooth sky is a millionth of x: μ is computed in
    double precision whatever the dtype. In a region of one value x − μ is 0, but its rounding error
    is not and has a sign, so differences below 1e-9 are set to 0, and a picture with a burnt-out
    sky gets the same score on every machine.

    Args:
        grey: luminance in grey levels, [0,255].
        border: what lies outside; BRISQUE was published with zeros, NIQE with the nearest value.
        snap: set such differences to 0.

    Returns:
        In the dtype of ``grey``.
    """
    window = gaussian_window()
    # less 128, squares have two bits more to spare
    padded = extend(grey - _MIDDLE, len(window) // 2, border, outside=-_MIDDLE)
    centred = grey - _MIDDLE
    difference = (centred - smooth_inside(padded.double(), window)).to(grey.dtype)
    if snap:
        difference = F.hardshrink(difference, _ROUNDING_NOISE)
    mean = centred - difference
    variance = torch.addcmul(smooth_inside(padded * padded, window), mean, mean, value=-1)
    # the gradient of a root is infinite at 0
    deviation = variance.abs().clamp(min=1e-12).sqrt()
    return NormalisedLuminance(difference / (deviation + 1), deviation)


def shifted_product(
    coefficients: Float[Tensor, "*k h w"], shift: tuple[int, int]
) -> Float[Tensor, "*k h w"]:
    """Each value times its neighbour ``shift`` (down, right) before it; the edges wrap around."""
    return coefficients * coefficients.roll(shift, (-2, -1))


def neighbour_products(coefficients: Float[Tensor, "*k h w"]) -> list[Float[Tensor, "*k h w"]]:
    """The four products of :data:`NEIGHBOURS`, from one wrapped copy instead of four."""
    height, width = coefficients.shape[-2:]
    maps = coefficients.reshape(-1, 1, height, width)
    around = F.pad(maps, (1, 1, 1, 1), mode="circular")
    around = around.view(*coefficients.shape[:-2], height + 2, width + 2)
    return [
        coefficients * around[..., 1 - down : 1 - down + height, 1 - right : 1 - right + width]
        for down, right in NEIGHBOURS
    ]


def signed_moments(samples: Float[Tensor, "*k h w"]) -> SignedMoments:
    """The moments of each map, in double precision (shape *k)."""
    return moments_of(signed_sums(samples), samples.shape[-2] * samples.shape[-1])


def unsigned_sums(samples: Float[Tensor, "*k h w"]) -> Float[Tensor, "*k 2"]:
    """Σ|x| and ‖x‖₂ of each map, in its dtype: all that a symmetric fit needs."""
    flat = samples.flatten(-2)
    return torch.stack((flat.abs().sum(-1), torch.linalg.vector_norm(flat, dim=-1)), -1)


def signed_sums(samples: Float[Tensor, "*k h w"]) -> Float[Tensor, "*k 6"]:
    """Sums and norms of each map x, of max(x, 0) and of the sign of x, one pass each.

    In the dtype of the samples. What follows from them costs as many short operations for one map
    as for all, so callers gather the sums of many maps and ask :func:`moments_of` once.
    """
    flat = samples.flatten(-2)
    parts = (flat, flat.clamp(min=0), flat.sign())
    # a norm is the one reduction of products that needs no map of products
    norms = [torch.linalg.vector_norm(part, dim=-1) for part in parts]
    return torch.stack([*(part.sum(-1) for part in parts), *norms], -1)


def moments_of(sums: Float[Tensor, "*k 6"], count: int | Tensor) -> SignedMoments:
    """The moments, in double precision, from :func:`signed_sums` of maps of ``count`` samples."""
    total, right_total, balance, norm, right_norm, sign_norm = sums.double().unbind(-1)
    square, right_square, signs = norm**2, right_norm**2, (sign_norm**2).round()
    left, right = (signs - balance) / 2, (signs + balance) / 2
    return SignedMoments(
        (2 * right_total - total) / count,
        square / count,
        # where there are none the difference of the sums is rounding
        torch.where(left > 0, (square - right_square).clamp(min=0) / left, 0.0),
        torch.where(right > 0, right_square / right, 0.0),
    )


def fit_symmetric(
    absolute: Float[Tensor, "*k"], square: Float[Tensor, "*k"]
) -> Float[Tensor, "*k"]:
    """The shape α of a generalised Gaussian of mean 0, by matching moments.

    ρ(α) = Γ(1/α)Γ(3/α)/Γ(2/α)² = E[x²]/E[|x|]² (Sharifi and Leon-Garcia 1995), on the published
    grid α = 0.2, 0.201 … 10. Where all samples are 0 there is no shape: NaN.
    """
    return _invert(_tables()[0], square / absolute**2)


def fit_asymmetric(moments: SignedMoments) -> AsymmetricFit:
    """The AGGD of samples, by matching moments (Lasmar, Stitou and Berthoumieu 2009).

    γ̂ = σ_l/σ_r, R̂ = E[|x|]²/E[x²]·(γ̂³+1)(γ̂+1)/(γ̂²+1)², and α solves 1/ρ(α) = R̂ on the published
    grid. Where all samples are 0, or none is positive, there is no shape: NaN.
    """
    left, right = moments.left_square.sqrt(), moments.right_square.sqrt()
    ratio = left / right
    asymmetry = (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    target = moments.absolute**2 / moments.square * asymmetry
    return AsymmetricFit(_invert(_tables()[1], target), left, right)


def mean_of(fit: AsymmetricFit) -> Float[Tensor, "*k"]:
    """η = (β_r − β_l)·Γ(2/α)/Γ(1/α), the mean of an AGGD, with β = σ·√(Γ(1/α)/Γ(3/α))."""
    scale = scale_of(fit.shape)
    ratio = torch.exp(torch.lgamma(2 / fit.shape) - torch.lgamma(1 / fit.shape))
    return (fit.right - fit.left) * scale * ratio


def scale_of(shape: Float[Tensor, "*k"]) -> Float[Tensor, "*k"]:
    """√(Γ(1/α)/Γ(3/α)): what turns a standard deviation into a scale β."""
    return torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)


@lru_cache(maxsize=1)
def _tables() -> tuple[Tensor, Tensor, Tensor]:
    """ρ on the grid, falling; 1/ρ, rising; and the grid."""
    first, last, step = _SHAPES
    count = round((last - first) / step) + 1
    shapes = first + step * torch.arange(count, dtype=torch.float64)
    log_rho = torch.lgamma(1 / shapes) + torch.lgamma(3 / shapes) - 2 * torch.lgamma(2 / shapes)
    return torch.exp(log_rho), torch.exp(-log_rho), shapes


def _invert(table: Tensor, target: Tensor) -> Tensor:
    """The grid point whose table value is nearest to the target; NaN stays NaN."""
    shapes = _tables()[2]
    rising = table if table[-1] > table[0] else table.flip(0)
    grid = shapes if table[-1] > table[0] else shapes.flip(0)
    rising, grid = rising.to(target.device), grid.to(target.device)
    wanted = target.detach().nan_to_num(0.0)
    above = torch.searchsorted(rising, wanted.contiguous()).clamp(1, len(rising) - 1)
    nearer = (wanted - rising[above - 1] > rising[above] - wanted).long()
    shape = grid[above - 1 + nearer]
    return torch.where(target.isnan(), torch.nan, shape)


def cache_sized(pictures: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
    """A batch in parts whose maps stay in a processor's cache from one pass to the next.

    The statistics are many short passes over a few maps; a part of half a million pixels runs
    twice as fast as ten times as many at once. Other devices get the batch whole.
    """
    if pictures.device.type != "cpu":
        return (pictures,)
    pixels = pictures.shape[-1] * pictures.shape[-2]
    return torch.split(pictures, max(1, _CACHED_PIXELS // pixels))
