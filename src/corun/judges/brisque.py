"""BRISQUE: quality without a reference, from natural-scene statistics and a support vector machine.

Mittal, Moorthy and Bovik, "No-Reference Image Quality Assessment in the Spatial Domain" (TIP 2012).
The published machine is a pair of text files, ``allmodel`` (libsvm) and ``allrange`` (svm-scale),
in the release "BRISQUE_release.zip" of the Laboratory for Image and Video Engineering at the
University of Texas at Austin (live.ece.utexas.edu, Research, Quality). They are not part of this
package, and need no libsvm: a support vector regression is one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from corun.errors import WeightsError
from corun.statistics.natural_scene import (
    cache_sized,
    fit_asymmetric,
    fit_symmetric,
    halve_grey,
    luminance,
    mean_of,
    moments_of,
    neighbour_products,
    normalise,
    signed_sums,
    unsigned_sums,
)

FEATURES = 36
MIN_SIDE = 16
"""Smaller pictures have too few pixels for a distribution at half size."""

_HOW_TO_GET_IT = (
    "get 'allmodel' and 'allrange' from BRISQUE_release.zip of live.ece.utexas.edu "
    "(Research, Quality) and name them as brisque_model and brisque_range"
)


def brisque_features(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 36"]:
    """The 36 statistics: 18 at full size, 18 at half size.

    Of the normalised luminance: α and σ² of a generalised Gaussian; of each product of neighbours
    (→, ↓, ↘, ↗): α, η, σ_l² and σ_r² of an asymmetric one (paper, Table I). As published, the
    window meets zeros outside the picture, the products wrap around, and the second scale is
    MATLAB's bicubic reduction of the unrounded luminance.

    Args:
        pictures: RGB, sRGB-encoded, [0,1], of 8-bit files; at least 16×16 pixels.

    Returns:
        Features in double precision. NaN for a picture of one grey level: it has no distribution.

    Raises:
        ValueError: the pictures are too small.
    """
    height, width = pictures.shape[-2:]
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"BRISQUE needs pictures of at least {MIN_SIDE}×{MIN_SIDE} pixels, got {width}×{height}"
        )
    own, products, flat = map(torch.cat, zip(*map(_sums, cache_sized(pictures)), strict=True))
    halved = (height + 1) // 2 * ((width + 1) // 2)
    counts = torch.tensor([[height * width], [halved]], device=pictures.device)
    absolute, square = own[..., :1].double() / counts, own[..., 1:].double() ** 2 / counts
    fit = fit_asymmetric(moments_of(products, counts))
    of_products = torch.stack((fit.shape, mean_of(fit), fit.left**2, fit.right**2), -1)
    features = torch.cat((fit_symmetric(absolute, square), square, of_products.flatten(2)), -1)
    return torch.where(flat[:, None], torch.nan, features.flatten(1))


def _sums(pictures: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """Of both scales, the sums of the coefficients, (b, 2, 2), and of their products, (b, 2, 4, 6).

    And which pictures are flat: the zeros around one make a frame, whose statistics say nothing
    of the picture.
    """
    grey = luminance(pictures)
    darkest, lightest = torch.aminmax(grey.flatten(1), dim=1)
    flat = darkest == lightest
    own, products = [], []
    for scale in (grey, halve_grey(grey)):
        coefficients = normalise(scale, border="zero").coefficients
        own.append(unsigned_sums(coefficients))
        found = [signed_sums(product) for product in neighbour_products(coefficients)]
        products.append(torch.stack(found, 1))
    return torch.stack(own, 1), torch.stack(products, 1), flat


@dataclass(frozen=True)
class SupportVectorRegression:
    """f(x) = Σᵢ cᵢ·exp(−γ‖x̃ − vᵢ‖²) − ρ, x̃ = x scaled from its range to [lower, upper].

    A feature outside its range is scaled beyond [lower, upper], as svm-scale does.
    """

    coefficients: Tensor
    """cᵢ, (n,), double."""
    vectors: Tensor
    """vᵢ, (n, features), double."""
    gamma: float
    rho: float
    feature_range: Tensor
    """Least and greatest value of each feature, (features, 2), double."""
    lower: float
    upper: float

    def __call__(self, features: Float[Tensor, "b f"]) -> Float[Tensor, "b"]:
        """The prediction for each row."""
        low, high = self.feature_range.to(features).unbind(-1)
        scaled = self.lower + (self.upper - self.lower) * (features - low) / (high - low)
        vectors, weights = self.vectors.to(features), self.coefficients.to(features)
        # not torch.cdist, whose matrix form loses digits
        squares = (scaled[:, None, :] - vectors).square().sum(-1)
        return torch.exp(-self.gamma * squares) @ weights - self.rho


@dataclass(frozen=True)
class Brisque:
    """BRISQUE with a given machine. Lower is better; 0 to 100 on LIVE, and it may leave that range.

    Attributes:
        regression: from features to a score.
    """

    regression: SupportVectorRegression

    def __call__(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b"]:
        """Scores of RGB pictures in [0,1]; NaN for a picture of one grey level."""
        return self.regression(brisque_features(pictures))


def load_brisque(model: Path | str, feature_range: Path | str) -> Brisque:
    """Read the published machine.

    Args:
        model: libsvm's text file of an ε-SVR with a radial kernel ("allmodel").
        feature_range: svm-scale's text file ("allrange").

    Raises:
        WeightsError: a file is missing or is not of that form.
    """
    coefficients, vectors, header = _read_model(Path(model))
    low, high, bounds = _read_range(Path(feature_range))
    return Brisque(
        SupportVectorRegression(
            coefficients=coefficients,
            vectors=vectors,
            gamma=float(header["gamma"]),
            rho=float(header["rho"]),
            feature_range=torch.stack((low, high), -1),
            lower=bounds[0],
            upper=bounds[1],
        )
    )


def _read_lines(path: Path, what: str) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file; {_HOW_TO_GET_IT}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path}: cannot be read as {what}; {_HOW_TO_GET_IT}") from error


def _read_model(path: Path) -> tuple[Tensor, Tensor, dict[str, str]]:
    what = "libsvm's text model"
    lines = _read_lines(path, what)
    try:
        start = lines.index("SV")
        header = dict(line.split(None, 1) for line in lines[:start])
        if (header["svm_type"], header["kernel_type"]) != ("epsilon_svr", "rbf"):
            raise ValueError("not an epsilon_svr with an rbf kernel")
        float(header["gamma"]), float(header["rho"])
        rows = [line.split() for line in lines[start + 1 :] if line.strip()]
        if len(rows) != int(header["total_sv"]):
            raise ValueError(f"{len(rows)} support vectors of {header['total_sv']}")
        vectors = torch.zeros(len(rows), FEATURES, dtype=torch.float64)
        for row, fields in enumerate(rows):
            for field in fields[1:]:
                index, value = field.split(":")
                vectors[row, int(index) - 1] = float(value)
        coefficients = torch.tensor([float(fields[0]) for fields in rows], dtype=torch.float64)
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(f"{path}: not {what} of BRISQUE ({error}); {_HOW_TO_GET_IT}") from error
    return coefficients, vectors, header


def _read_range(path: Path) -> tuple[Tensor, Tensor, tuple[float, float]]:
    what = "svm-scale's ranges"
    lines = [line.split() for line in _read_lines(path, what) if line.strip()]
    try:
        if lines[0] != ["x"] or len(lines) != FEATURES + 2:
            raise ValueError(f"expected ranges of {FEATURES} features")
        lower, upper = (float(value) for value in lines[1])
        if [int(fields[0]) for fields in lines[2:]] != list(range(1, FEATURES + 1)):
            raise ValueError("the features are not numbered from 1")
        bounds = torch.tensor(
            [[float(value) for value in fields[1:3]] for fields in lines[2:]], dtype=torch.float64
        )
        low, high = bounds.unbind(-1)
    except (ValueError, IndexError) as error:
        raise WeightsError(f"{path}: not {what} of BRISQUE ({error}); {_HOW_TO_GET_IT}") from error
    return low, high, (lower, upper)
