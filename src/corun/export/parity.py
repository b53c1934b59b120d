"""The check of an exported part: the same pictures through it and through torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.errors import ExportError
from corun.export.brought_part import BroughtPart
from corun.export.exported import Run
from corun.export.parts import Part
from corun.physics.working_picture import working_size

GREATEST = {"float32": 1e-3, "float16": 3 / 255}
"""By how much any value of any output may differ, by precision."""
INT8_MEAN = 1 / 255
"""By how much the scene in 8 bits may differ on average."""
INT8_MOST = 4 / 255
"""By how much 99.9 % of the values of the scene in 8 bits may differ at most."""
MOST_OF_THEM = 0.999

BEYOND_THE_LIMIT = 1.3
"""Pixels of the picture above the working size, relative to it."""


class Size(NamedTuple):
    """Of a batch of pictures, pixels."""

    batch: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.batch}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Differences:
    """Between an exported part and torch, on one batch.

    Attributes:
        greatest: the greatest absolute difference of each output, in its own unit.
        scene_mean: the mean absolute difference of the clear picture, of 1.
        scene_most: the absolute difference that 99.9 % of its values stay below, of 1.
    """

    greatest: dict[str, float]
    scene_mean: float
    scene_most: float


def check_sizes(part: Part) -> list[Size]:
    """Four sizes: a single row, an odd one, a batch of two, one above the working size.

    For a part whose sides must be multiples they are the next multiples; the last is then a
    picture reduced to the working size.
    """
    if isinstance(part, BroughtPart):
        return [Size(*size) for size in part.check_sizes()]
    config = part.network.config
    m, limit = config.multiple, config.working_pixels
    if limit:
        height = math.ceil(math.sqrt(BEYOND_THE_LIMIT * limit * 0.75)) | 1
        width = math.ceil(height / 0.75) | 1
    else:
        height, width = 8 * m + 1, 11 * m + 3
    sizes = [Size(1, 1, m + 1), Size(1, 5 * m + 3, 7 * m + 5), Size(2, 4 * m, 6 * m - 1)]
    sizes.append(Size(1, height, width))
    if part.multiple == 1:
        return sizes
    padded = [Size(b, h + -h % m, w + -w % m) for b, h, w in sizes]
    reduced = working_size(height, width, limit, m)
    return padded if reduced is None else [*padded[:-1], Size(1, *reduced)]


def picture_of(size: Size, photos: list[Float[Tensor, "1 3 h w"]]) -> Float[Tensor, "b 3 h w"]:
    """A batch of a size: photos brought to it, or, without any, smooth colours with grain."""
    if photos:
        chosen = [photos[index % len(photos)] for index in range(size.batch)]
        resized = [
            F.interpolate(photo, size=size[1:], mode="bilinear", antialias=True) for photo in chosen
        ]
        return torch.cat(resized).clamp(0.0, 1.0)
    rng = np.random.default_rng(size)
    pictures = []
    for _ in range(size.batch):
        coarse = rng.uniform(0.1, 0.95, (6, 8, 3))
        smooth = cv2.resize(coarse, (size.width, size.height), interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 0.02, (size.height, size.width, 3))
        pictures.append(smooth.reshape(grain.shape) + grain)
    batch = np.stack(pictures).transpose(0, 3, 1, 2).clip(0, 1)
    return torch.from_numpy(np.ascontiguousarray(batch, np.float32))


def differences(part: Part, run: Run, picture: Float[Tensor, "b 3 h w"]) -> Differences:
    """Between what was exported and torch, on one batch."""
    with torch.no_grad():
        expected = part.reference(picture)
        results = run(picture)
        greatest = {
            name: _greatest(result, wanted)
            for name, result, wanted in zip(part.output_names, results, expected, strict=True)
        }
        scene = (part.scene(results, picture) - part.scene(expected, picture)).abs().flatten()
    # quantile takes no more than 16 million values
    most = float(np.quantile(scene.numpy(), MOST_OF_THEM))
    return Differences(greatest, float(scene.mean()), most)


def require_close(found: dict[Size, Differences], precision: str, name: str) -> None:
    """Refuse what is too far from torch.

    Args:
        found: differences by size.
        precision: of the export.
        name: of the file, for the message.

    Raises:
        ExportError: a limit is exceeded.
    """
    for size, difference in found.items():
        if precision == "int8":
            _require(name, size, "the scene's mean", difference.scene_mean, INT8_MEAN, _MORE_PHOTOS)
            what = "99.9 % of the scene"
            _require(name, size, what, difference.scene_most, INT8_MOST, _MORE_PHOTOS)
            continue
        remedy = _OTHER_VERSIONS if precision == "float32" else "export it with --precision float32"
        for output, value in difference.greatest.items():
            _require(name, size, output, value, GREATEST[precision], remedy)


_MORE_PHOTOS = "give other --photos, or export it with --precision float16"
_OTHER_VERSIONS = "try other versions of torch and of the runtime"


def _require(name: str, size: Size, what: str, value: float, limit: float, remedy: str) -> None:
    if not value <= limit:  # not a number is no agreement
        raise ExportError(
            f"{name}: not written, its check failed: {what} differs from torch by {value:.2g} at "
            f"{size}, more than {limit:.2g}; {remedy}"
        )


def _greatest(result: Tensor, wanted: Tensor) -> float:
    if result.shape != wanted.shape:
        return math.inf
    return float((result - wanted).abs().max())
