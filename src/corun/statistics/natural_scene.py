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
from jaxtyping import Float
from torch import Tensor

from corun.statistics.filters import Border, gaussian_window, smooth

NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (-1, 1))
"""(down, right) shifts of the four products of neighbours: →, ↓, ↘, ↗."""

_ROUNDING_NOISE = 1e-9
"""A difference from the local mean below this is not contrast but rounding; see normalise()."""

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

    Y = 255·(0.298936 R + 0.587043 G + 0.114021 B), in double precision if ``rounded``.

    Args:
        image: RGB, sRGB-encoded, [0,1].
        rounded: to whole grey levels, which the published statistics suppose; without, Y has a
            gradient and the dtype of the picture.

    Returns:
        Grey levels, [0,255].
    """
    weights = (0.298936021293775, 0.587043074451121, 0.114020904255103)
    levels = image.double() * 255 if rounded else image * 255
    if rounded:
        levels = levels.round()
    grey = sum(weight * levels[:, c] for c, weight in enumerate(weights))
    assert isinstance(grey, Tensor)
    return (grey + 0.5).floor() if rounded else grey


def normalise(
    grey: Float[Tensor, "b h w"], *, border: Border, snap: bool = True
) -> NormalisedLuminance:
    """Mean-subtracted, contrast-normalised luminance (MSCN coefficients).

    (x − μ)/(σ + 1), with μ and σ² = |E[x²] − μ²| under a 7×7 Gaussian window of σ = 7/6 pixels.

    In a region of one value x − μ is 0, but its rounding error is not, and has a sign; the fits
    count signs. So differences below 1e-9 are set to 0, and a picture with a burnt-out sky gets
    the same score on every machine.

    Args:
        grey: luminance in grey levels, [0,255]; double precision for published scores.
        border: what lies outside; BRISQUE was published with zeros, NIQE with the nearest value.
    """
    window = gaussian_window()
    mean = smooth(grey, window, border)
    variance = smooth(grey * grey, window, border) - mean * mean
    # the gradient of a root is infinite at 0
    deviation = variance.abs().clamp(min=1e-12).sqrt()
    difference = grey - mean
    if snap:
        difference = torch.where(difference.abs() < _ROUNDING_NOISE, 0.0, difference)
    return NormalisedLuminance(difference / (deviation + 1), deviation)


def shifted_product(
    coefficients: Float[Tensor, "*k h w"], shift: tuple[int, int]
) -> Float[Tensor, "*k h w"]:
    """Each value times its neighbour ``shift`` (down, right) before it; the edges wrap around."""
    return coefficients * coefficients.roll(shift, (-2, -1))


def signed_moments(samples: Float[Tensor, "*k h w"]) -> SignedMoments:
    """The moments of each map, in double precision (shape *k)."""
    right = samples.clamp(min=0)
    left = samples - right
    count = samples.shape[-1] * samples.shape[-2]
    right_square, left_square = _sum_of_squares(right), _sum_of_squares(left)
    absolute = _sum(right) - _sum(left)
    return SignedMoments(
        absolute / count,
        (right_square + left_square) / count,
        left_square / _count(left).clamp(min=1),
        right_square / _count(right).clamp(min=1),
    )


def fit_symmetric(moments: SignedMoments) -> Float[Tensor, "*k"]:
    """The shape α of a generalised Gaussian of mean 0, by matching moments.

    ρ(α) = Γ(1/α)Γ(3/α)/Γ(2/α)² = E[x²]/E[|x|]² (Sharifi and Leon-Garcia 1995), on the published
    grid α = 0.2, 0.201 … 10. Where all samples are 0 there is no shape: NaN.
    """
    return _invert(_tables()[0], moments.square / moments.absolute**2)


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


def _sum(maps: Tensor) -> Tensor:
    # rows first: short sums in the maps' precision, the long one in double
    return maps.sum(-1).sum(-1, dtype=torch.float64)


def _sum_of_squares(maps: Tensor) -> Tensor:
    rows: Tensor = torch.linalg.vecdot(maps, maps)
    return rows.sum(-1, dtype=torch.float64)


def _count(maps: Tensor) -> Tensor:
    return torch.count_nonzero(maps, (-2, -1)).double()


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
