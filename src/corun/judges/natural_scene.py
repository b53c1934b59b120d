"""Image quality from statistics of natural scenes, in NIQE's form, block by block.

Each block of a picture is described by features of its normalised luminance (Mittal, Soundararajan
and Bovik, "Making a Completely Blind Image Quality Analyzer", SPL 2013: the shapes of generalised
Gaussians fitted to it and to products of neighbours, at two scales) and, after IL-NIQE (Zhang,
Zhang and Bovik, TIP 2015), of its contrast and colour. The pristine model is the mean μ and
covariance Σ of the features over the *sharp* blocks of clear photos (as in NIQE: the quarter with
the most local contrast). That choice is what makes haze visible: each of these features moves one
way as haze thickens, and an average block of a clear photo is not yet at the clear end. The
distance of a block is

    d = √((f − μ)ᵀ Σ⁻¹ (f − μ) / k),   k features,

and that of a picture the same with the mean feature of its blocks. Then

    Q = 1 / (1 + (d/d₀)²),

with d₀ the median distance of the clear photos' blocks, or of the photos: an ordinary clear
photo has Q = ½.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.data.images import list_images, read_rgb
from corun.errors import (
    ConfigurationError,
    DataError,
    ImageFileError,
    WeightsError,
    system_errors_as,
    tell,
)
from corun.files import shipped, write_atomically
from corun.judges.protocols import Scores, block_count, cut_squares
from corun.networks.fingerprint import values_fingerprint
from corun.networks.reduction import pad_to_multiple
from corun.statistics.natural_scene import (
    NEIGHBOURS,
    SignedMoments,
    fit_asymmetric,
    fit_symmetric,
    luminance,
    normalise,
    shifted_product,
    signed_moments,
)

SMALLEST_BLOCK = 16
FEATURES = 2 * (2 + 4 * 3 + 1) + 4
CONTRAST = 14
"""Which feature is the local contrast at full size, by which sharp blocks are chosen."""
SHARP_SHARE = 0.25
SHRINKAGE = 0.1


def block_features(image: Float[Tensor, "b 3 h w"], block: int) -> Float[Tensor, "b n k"]:
    """Features of every block of a batch, row by row.

    Args:
        image: RGB, [0,1].
        block: side of the blocks, at least 16 pixels.

    Returns:
        For two scales: shape and log variance of the normalised luminance, of each of four
        products of neighbours the shape and the logs of both widths, and the log of the local
        contrast. Then the log of the whole block's contrast, the mean and log spread of the
        saturation, and the log of the mean dark channel.

    Raises:
        ConfigurationError: the block is too small for statistics.
    """
    if block < SMALLEST_BLOCK:
        raise ConfigurationError(
            f"block: statistics need blocks of at least {SMALLEST_BLOCK} pixels"
        )
    padded = pad_to_multiple(image.detach().float(), block)
    grey = luminance(padded, rounded=False)
    columns = []
    for scale in (1, 2):
        if scale == 2:
            grey = F.avg_pool2d(grey[:, None], 2)[:, 0]
        found = normalise(grey, border="replicate", snap=False)
        maps = [found.coefficients]
        maps += [shifted_product(found.coefficients, shift) for shift in NEIGHBOURS]
        moments = signed_moments(cut_squares(torch.stack(maps, 1), block // scale))
        products = SignedMoments(*(values[..., 1:] for values in moments))
        own = SignedMoments(*(values[..., :1] for values in moments))
        columns += [fit_symmetric(own.absolute, own.square), _log(own.square)]
        fit = fit_asymmetric(products)
        columns += [fit.shape, _log(fit.left.square()), _log(fit.right.square())]
        columns.append(_log(cut_squares(found.deviation[:, None], block // scale).mean((-1, -2))))
    colours = cut_squares(padded, block)  # b n 3 s s
    columns.append(_log(255 * colours.mean(2).flatten(2).std(2, keepdim=True)))
    highest, lowest = colours.amax(2).flatten(2), colours.amin(2).flatten(2)
    saturation = (highest - lowest) / (highest + 0.05)
    columns.append(saturation.mean(2, keepdim=True))
    columns.append((saturation.std(2, keepdim=True) + 0.02).log())
    columns.append((lowest.mean(2, keepdim=True) + 0.05).log())
    return torch.cat([column.float() for column in columns], -1).nan_to_num(0.0, 0.0, 0.0)


def _log(values: Tensor) -> Tensor:
    return (values + 1e-3).log()


@dataclass(frozen=True)
class PristineModel:
    """Statistics of clear photos at one block size.

    Attributes:
        block: side of the blocks, pixels.
        mean: μ of the features of sharp blocks, (k,).
        precision: Σ⁻¹, (k,k).
        block_scale: d₀ of blocks.
        picture_scale: d₀ of whole pictures.
    """

    block: int
    mean: Float[Tensor, " k"]
    precision: Float[Tensor, "k k"]
    block_scale: float
    picture_scale: float


def fit_pristine(features: Sequence[Float[Tensor, "_ k"]], block: int) -> PristineModel:
    """Fit the model to the block features of clear photos.

    Args:
        features: of each photo, its blocks' features.
        block: side of the blocks, pixels.

    Raises:
        DataError: fewer photos than 20.
    """
    if len(features) < 20:
        raise DataError(f"{len(features)} clear photos are too few for a pristine model; give 20")
    blocks = torch.cat(list(features)).double()
    contrast = blocks[:, CONTRAST]
    sharp = blocks[contrast >= contrast.quantile(1 - SHARP_SHARE)]
    mean, covariance = sharp.mean(0), torch.cov(sharp.T)
    # Shrunk towards its diagonal: thousands of blocks, but strongly correlated features.
    diagonal = torch.diag(covariance.diagonal() + 1e-6)
    precision = torch.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * diagonal)
    pictures = torch.stack([f.double().mean(0) for f in features])
    return PristineModel(
        block,
        mean.float(),
        precision.float(),
        float(distance(blocks, mean, precision).median()),
        float(distance(pictures, mean, precision).median()),
    )


def distance(
    features: Float[Tensor, "*n k"], mean: Float[Tensor, " k"], precision: Float[Tensor, "k k"]
) -> Float[Tensor, "*n"]:
    """d = √((f − μ)ᵀ Σ⁻¹ (f − μ)/k)."""
    offset = features - mean
    squared = ((offset @ precision) * offset).sum(-1) / offset.shape[-1]
    return squared.clamp(min=0).sqrt()


class NaturalSceneQuality:
    """The embedded quality evaluator.

    Args:
        models: one per block size; the nearest is used for another.
        name: what pools call it.
    """

    def __init__(self, models: Sequence[PristineModel], name: str = "natural-scene") -> None:
        self.models, self.name = tuple(models), name

    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """Q of pictures and of their blocks, in [0,1], without a gradient."""
        model = min(self.models, key=lambda m: abs(m.block - block))
        features = block_features(image, block)
        d = distance(features, model.mean, model.precision)
        whole = distance(features.mean(1), model.mean, model.precision)
        rows, columns = (block_count(side, block) for side in image.shape[-2:])
        return Scores(
            1 / (1 + (whole / model.picture_scale).square()),
            (1 / (1 + (d / model.block_scale).square())).view(-1, 1, rows, columns),
        )

    def to(self, device: torch.device) -> NaturalSceneQuality:
        """Move to a device, in place."""
        self.models = tuple(
            replace(m, mean=m.mean.to(device), precision=m.precision.to(device))
            for m in self.models
        )
        return self


def embedded_quality(path: Path | None = None) -> NaturalSceneQuality:
    """The shipped pristine model, or one of your own.

    Raises:
        WeightsError: the file is missing or of another layout.
    """
    models = load_models(shipped("quality.json") if path is None else path)
    numbers = [value for model in models for value in astuple(model)]
    return NaturalSceneQuality(models, f"natural-scene {values_fingerprint(*numbers)}")


def fit_folder(
    folder: Path, *, side: int = 320, block_sizes: Sequence[int] = (16, 32, 64), photos: int = 0
) -> list[PristineModel]:
    """Fit models to the central squares of a folder of clear photos.

    A photo that cannot be read is named on standard error and left out.

    Args:
        folder: clear photos.
        side: of the squares, pixels; a smaller photo is used whole.
        block_sizes: one model for each.
        photos: how many are used, evenly spread; 0 for all.

    Raises:
        DataError: the folder is missing or holds too few photos that can be read.
    """
    paths = list_images(folder)
    step = max(1, len(paths) // photos) if photos else 1
    features: dict[int, list[Tensor]] = {block: [] for block in block_sizes}
    for path in paths[::step]:
        try:
            photo = read_rgb(path)
        except ImageFileError as error:
            tell(f"skipped: {error}")
            continue
        top, left = (max(0, (length - side) // 2) for length in photo.shape[-2:])
        square = photo[None, :, top : top + side, left : left + side]
        for block in block_sizes:
            features[block].append(block_features(square, block)[0])
    return [fit_pristine(found, block) for block, found in features.items()]


def save_models(path: Path, models: Sequence[PristineModel], about: str) -> None:
    """Write models as numbers: JSON, six digits; the file is whole or not there.

    Raises:
        WeightsError: it cannot be written.
    """

    def digits(values: Tensor) -> list[float]:
        return [float(f"{v:.6g}") for v in values.flatten().tolist()]

    content = {
        "about": about,
        "features": FEATURES,
        "models": [
            {
                "block": m.block,
                "block_scale": m.block_scale,
                "picture_scale": m.picture_scale,
                "mean": digits(m.mean),
                # symmetric: the upper triangle tells all
                "precision": digits(m.precision[*torch.triu_indices(FEATURES, FEATURES)]),
            }
            for m in models
        ],
    }
    with system_errors_as(WeightsError, f"{path}: cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content) + "\n")


def load_models(path: Path) -> list[PristineModel]:
    """Read what :func:`save_models` wrote.

    Raises:
        WeightsError: the file is missing, damaged or of other features.
    """
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file; the pristine model comes with corun or is made by "
            "'corun fit quality'"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [_model(item) for item in content["models"]]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: not a pristine model of this version; make one with 'corun fit quality'"
        ) from error


def _model(item: dict[str, Any]) -> PristineModel:
    upper = torch.zeros(FEATURES, FEATURES)
    rows, columns = torch.triu_indices(FEATURES, FEATURES)
    upper[rows, columns] = torch.tensor(item["precision"])
    mean = torch.tensor(item["mean"])
    if len(mean) != FEATURES:
        raise ValueError(f"{len(mean)} features, not {FEATURES}")
    return PristineModel(
        int(item["block"]),
        mean,
        upper + upper.triu(1).T,
        float(item["block_scale"]),
        float(item["picture_scale"]),
    )
