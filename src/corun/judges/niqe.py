"""NIQE: quality without a reference and without opinions, as the distance from pristine photos.

Mittal, Soundararajan and Bovik, "Making a 'Completely Blind' Image Quality Analyzer" (IEEE Signal
Processing Letters, 2013). The published statistics of 125 pristine photos are a file of the user's
(``niqe_pris_params.npz``, or the same arrays in NIQE's MATLAB release); statistics of our own,
fitted to other photos, come with the package and give other numbers.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corun.errors import WeightsError
from corun.files import shipped
from corun.statistics.natural_scene import (
    SignedMoments,
    cache_sized,
    fit_asymmetric,
    halve_grey,
    luminance,
    mean_of,
    neighbour_products,
    normalise,
    scale_of,
    signed_moments,
)

BLOCK = 96
"""Side of a block in pixels, as published."""
FEATURES = 36

_HOW_TO_GET_IT = (
    "an .npz with mu_pris_param (1,36) and cov_pris_param (36,36), as basicsr ships it in "
    "metrics/niqe_pris_params.npz; the numbers are those of NIQE's release, modelparameters.mat"
)


@dataclass(frozen=True)
class PristineStatistics:
    """The multivariate Gaussian of block features of pristine photos."""

    mean: Tensor
    """(36,), double."""
    covariance: Tensor
    """(36,36), double."""


def niqe_features(
    pictures: Float[Tensor, "b 3 h w"], *, block: int = BLOCK
) -> Float[Tensor, "b n 36"]:
    """Statistics of every whole block, row by row.

    18 at full size and 18 at half size. Of the normalised luminance in a block: the α of an
    asymmetric generalised Gaussian and (β_l + β_r)/2; of each of four products of neighbours
    (which wrap around in the block): α, η, β_l, β_r. The window meets
    the nearest value outside the picture.

    Args:
        pictures: RGB, sRGB-encoded, [0,1], of 8-bit files; at least one block high and wide.
        block: side in pixels, even.

    Returns:
        Features in double precision, NaN where a block has no distribution.

    Raises:
        ValueError: the pictures hold no block.
    """
    height, width = pictures.shape[-2:]
    rows, columns = height // block, width // block
    if not rows * columns:
        raise ValueError(
            f"NIQE needs pictures of at least {block}×{block} pixels, got {width}×{height}"
        )
    whole = pictures[..., : rows * block, : columns * block]
    return torch.cat([_features(part, block) for part in cache_sized(whole)])


def _features(pictures: Float[Tensor, "b 3 h w"], block: int) -> Float[Tensor, "b n 36"]:
    """The features of pictures that are whole blocks."""
    grey = luminance(pictures)
    fine = normalise(grey, border="replicate")
    coarse = normalise(halve_grey(grey), border="replicate")
    scales = (
        _block_features(_cut(fine.coefficients, block)),
        _block_features(_cut(coarse.coefficients, block // 2)),
    )
    return torch.cat(scales, -1)


def _block_features(blocks: Float[Tensor, "b n s s"]) -> Float[Tensor, "b n 18"]:
    moments = [signed_moments(blocks)]
    moments += [signed_moments(product) for product in neighbour_products(blocks)]
    # one fit for all: (b, n, 5), the coefficients first
    fit = fit_asymmetric(
        SignedMoments(*(torch.stack(kind, -1) for kind in zip(*moments, strict=True)))
    )
    scale = scale_of(fit.shape)
    left, right = fit.left * scale, fit.right * scale
    own = torch.stack((fit.shape[..., 0], (left + right)[..., 0] / 2), -1)
    products = torch.stack((fit.shape, mean_of(fit), left, right), -1)[..., 1:, :]
    return torch.cat((own, products.flatten(-2)), -1)


def _cut(maps: Float[Tensor, "b h w"], side: int) -> Float[Tensor, "b n s s"]:
    """Blocks of maps whose sides are multiples of ``side``, row by row."""
    return maps.unfold(1, side, side).unfold(2, side, side).flatten(1, 2).contiguous()


def niqe(
    pictures: Float[Tensor, "b 3 h w"], pristine: PristineStatistics, *, block: int = BLOCK
) -> Float[Tensor, "b"]:
    """The distance of pictures from pristine photos. Lower is better; ≥ 0, usually 2 to 10.

    D = √((ν₁ − ν₂)ᵀ ((Σ₁ + Σ₂)/2)⁺ (ν₁ − ν₂)) (paper, Eq. 10), ν₂ and Σ₂ the mean and covariance
    of the picture's blocks, ⁺ the pseudo-inverse. As published, blocks with a NaN count in no
    covariance, and its other features in the mean.

    Args:
        pictures: RGB, sRGB-encoded, [0,1]; at least two blocks.
        pristine: ν₁ and Σ₁.
        block: side in pixels; that of the pristine statistics.

    Returns:
        NaN where fewer than two blocks of a picture have a distribution.

    Raises:
        ValueError: the pictures hold fewer than two blocks.
    """
    height, width = pictures.shape[-2:]
    if (height // block) * (width // block) < 2:
        raise ValueError(
            f"NIQE needs pictures of at least two blocks of {block}×{block} pixels, "
            f"got {width}×{height}"
        )
    features = niqe_features(pictures, block=block)
    whole = ~features.isnan().any(-1)
    count = whole.sum(-1)
    complete = torch.where(whole[..., None], features, 0.0)
    centre = complete.sum(1) / count[:, None]
    offsets = torch.where(whole[..., None], features - centre[:, None], 0.0)
    covariance = offsets.mT @ offsets / (count - 1).clamp(min=1)[:, None, None]
    pooled = (pristine.covariance.to(features) + covariance) / 2
    difference = pristine.mean.to(features) - features.nanmean(1)
    enough = (count >= 2) & difference.isfinite().all(-1)
    pooled = torch.where(enough[:, None, None], pooled, torch.eye(FEATURES, dtype=pooled.dtype))
    inverse = torch.linalg.pinv(pooled, hermitian=True)
    squared = torch.einsum("bi,bij,bj->b", difference, inverse, difference)
    return torch.where(enough, squared.clamp(min=0).sqrt(), math.nan)


def load_pristine_statistics(path: Path | str) -> PristineStatistics:
    """Read the published statistics.

    Raises:
        WeightsError: the file is missing or of another layout.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; NIQE needs {_HOW_TO_GET_IT}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean = torch.from_numpy(arrays["mu_pris_param"]).double().reshape(-1)
            covariance = torch.from_numpy(arrays["cov_pris_param"]).double()
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: not NIQE's statistics; give {_HOW_TO_GET_IT}") from error
    if mean.shape != (FEATURES,) or covariance.shape != (FEATURES, FEATURES):
        raise WeightsError(f"{path}: its arrays are not of 36 features; give {_HOW_TO_GET_IT}")
    return PristineStatistics(mean, covariance)


def embedded_statistics() -> PristineStatistics:
    """Our own fit, to 640 clear photos of streets and landscapes; needs no file."""
    return load_pristine_statistics(shipped("niqe.npz"))
