"""What judges say of a part in 8 bits, beside what they say of it in torch."""

from __future__ import annotations

import statistics
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corun.errors import MissingExtraError
from corun.export.exported import Run
from corun.export.parts import Part
from corun.metrics.registry import LoadedMetric, load_metric

JUDGES = ("fade", "niqe-embedded", "brightness", "crushed")
"""Metrics that need no file: haze that is left, naturalness, and what both can be gamed by."""


class Beside(NamedTuple):
    """Mean score over photos, in the metric's own unit.

    Attributes:
        reference: of the part in torch.
        exported: of the file.
    """

    reference: float
    exported: float


def scores_beside(
    part: Part, run: Run, photos: list[Float[Tensor, "1 3 h w"]]
) -> dict[str, Beside]:
    """Scores of the clear photos in torch and in the file, each rounded to 8 bits.

    Args:
        part: that was exported.
        run: the file's.
        photos: at the sizes that the part takes, RGB in [0,1].

    Returns:
        By name of :data:`JUDGES`; without those whose package is not installed, and of a metric
        only the photos that it has a score for.
    """
    judges = [judge for name in JUDGES if (judge := _installed(name)) is not None]
    found: dict[str, list[Beside]] = {judge.metric.name: [] for judge in judges}
    for photo in photos:
        with torch.no_grad():
            wanted = _eight_bits(part.scene(part.reference(photo), photo))
            made = _eight_bits(part.scene(run(photo), photo))
        for judge in judges:
            with suppress(ValueError):  # too small for it, or of one colour
                pair = Beside(judge.score(wanted, None), judge.score(made, None))
                found[judge.metric.name].append(pair)
    return {
        name: Beside(*map(statistics.fmean, zip(*pairs, strict=True)))
        for name, pairs in found.items()
        if pairs
    }


def _installed(name: str) -> LoadedMetric | None:
    try:
        return load_metric(name)
    except MissingExtraError:
        return None


def _eight_bits(scene: Float[Tensor, "1 3 h w"]) -> np.ndarray:
    """(h,w,3) of 0–255, as a saved picture has it."""
    return (scene[0].clamp(0, 1) * 255).round().permute(1, 2, 0).contiguous().numpy()
