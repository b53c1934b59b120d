"""Scoring of a saved file by several metrics, with every failure named."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from corun.errors import CorunError, is_out_of_memory, one_line
from corun.metrics.pictures import read_picture
from corun.metrics.registry import LoadedMetric


@dataclass(frozen=True)
class PictureScores:
    """The scores of one file."""

    path: Path
    scores: Mapping[str, float] = field(default_factory=dict)
    """Numbers by metric; finite but for metrics whose entry says that ∞ is a score."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why a metric has no number, by metric; one line that names the file."""


def score_picture(
    path: Path, metrics: Iterable[LoadedMetric], reference: Path | None = None
) -> PictureScores:
    """Score one saved picture; failures are recorded, not raised."""
    metrics = list(metrics)
    names = [metric.metric.name for metric in metrics]
    try:
        picture = read_picture(path)
        compared = None
        if reference is not None and any(m.metric.needs != "nothing" for m in metrics):
            compared = read_picture(reference)
    except CorunError as error:
        return PictureScores(path, failures=dict.fromkeys(names, str(error)))
    scores: dict[str, float] = {}
    failures: dict[str, str] = {}
    for name, metric in zip(names, metrics, strict=True):
        result = _one_score(path, metric, picture, compared)
        if isinstance(result, str):
            failures[name] = result
        else:
            scores[name] = result
    return PictureScores(path, scores, failures)


def _one_score(
    path: Path, metric: LoadedMetric, picture: np.ndarray, reference: np.ndarray | None
) -> float | str:
    """The number, or why there is none."""
    if reference is not None and metric.metric.needs != "nothing":
        (height, width), (needed_height, needed_width) = picture.shape[:2], reference.shape[:2]
        if (height, width) != (needed_height, needed_width):
            return (
                f"{path}: is {width}×{height} and its {metric.metric.needs} is "
                f"{needed_width}×{needed_height}; resize one of them first"
            )
    least, title = metric.metric.least, metric.metric.title
    if min(picture.shape[:2]) < least:
        size = f"{picture.shape[1]}×{picture.shape[0]}"
        return f"{path}: is {size}, and {title} needs at least {least}×{least} pixels"
    try:
        value = metric.score(picture, reference)
    except (ValueError, CorunError) as error:
        return f"{path}: {one_line(error)}"
    except Exception as error:  # metrics are others' code: one that breaks must not hide the rest
        if is_out_of_memory(error):
            return f"{path}: not enough memory for {title}; use fewer --jobs, or a smaller picture"
        return f"{path}: {title} failed ({type(error).__name__}: {one_line(error)})"
    best = metric.metric.infinite_is_best and value == math.inf
    if not math.isfinite(value) and not best:
        if (picture == picture[0, 0]).all():
            return f"{path}: is of one colour, for which {title} has no score"
        return f"{path}: {title} is {value}, which is no score; look at the picture"
    return value
