"""Scoring of saved files: pictures × metrics, with every failure named."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from corun.errors import CorunError, DataError, DeviceError
from corun.metrics.pictures import read_picture
from corun.metrics.registry import LoadedMetric, load_metric


@dataclass(frozen=True)
class PictureScores:
    """The scores of one file."""

    path: Path
    scores: Mapping[str, float] = field(default_factory=dict)
    """Numbers by metric; finite but for metrics whose entry says that ∞ is a score."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why a metric has no number, by metric; one line that names the file."""


@dataclass(frozen=True)
class ScoreTable:
    """The scores of files, in the order they were given."""

    metrics: tuple[str, ...]
    pictures: tuple[PictureScores, ...]
    implementations: Mapping[str, str]
    """Which implementation computed each metric."""

    def mean(self, metric: str) -> float:
        """The mean over the files that have a score; NaN if none has. See also ``failures``."""
        values = [row.scores[metric] for row in self.pictures if metric in row.scores]
        return math.fsum(values) / len(values) if values else math.nan

    def failures(self) -> list[str]:
        """Every failure, one line each."""
        return [
            f"{metric}: {reason}"
            for row in self.pictures
            for metric, reason in row.failures.items()
        ]


def score_files(
    paths: Sequence[Path | str],
    metrics: Sequence[str],
    files: Mapping[str, Path | str] | None = None,
    *,
    references: Mapping[Path | str, Path | str] | None = None,
    jobs: int = 1,
) -> ScoreTable:
    """Score saved pictures.

    Args:
        paths: PNGs or other 8-bit pictures.
        metrics: names of the table, or ``pyiqa:NAME``.
        files: local weights by key, e.g. ``{"brisque_model": ..., "brisque_range": ...}``.
        references: for metrics that compare, the input or target of each path.
        jobs: processes; each loads the metrics once.

    Returns:
        One row per path. A file that cannot be read, and a metric that fails or is not a number,
        is in ``failures`` and in no mean.

    Raises:
        ConfigurationError: there is no such metric.
        WeightsError: a metric's file is not given, missing or of another kind.
        DataError: a metric compares and a path has no reference.
        MissingExtraError: a metric's package is not installed.
    """
    wanted = [Path(path) for path in paths]
    pairs = {Path(key): Path(value) for key, value in (references or {}).items()}
    loaded = [load_metric(name, files) for name in metrics]
    comparing = [metric.metric.name for metric in loaded if metric.metric.needs != "nothing"]
    for path in wanted:
        if comparing and path not in pairs:
            raise DataError(
                f"{path}: has no reference, and {comparing[0]} compares; "
                "give the pictures to compare with, or leave that metric out"
            )
    tasks = [(path, pairs.get(path)) for path in wanted]
    if jobs > 1 and len(tasks) > 1:
        rows = tuple(_score_in_processes(tasks, tuple(metrics), files or {}, jobs))
    else:
        rows = tuple(score_picture(path, loaded, reference) for path, reference in tasks)
    return ScoreTable(
        metrics=tuple(metrics),
        pictures=rows,
        implementations={
            name: metric.implementation for name, metric in zip(metrics, loaded, strict=True)
        },
    )


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
    try:
        value = metric.score(picture, reference)
    except (ValueError, CorunError) as error:
        return f"{path}: {' '.join(str(error).split())}"
    except Exception as error:  # metrics are others' code: one that breaks must not hide the rest
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return f"{path}: {metric.metric.title} failed ({reason})"
    best = metric.metric.infinite_is_best and value == math.inf
    if not math.isfinite(value) and not best:
        return f"{path}: {metric.metric.title} is {value}, which is no score; look at the picture"
    return value


_worker_metrics: list[LoadedMetric] = []
"""The metrics of this worker process, loaded once when it starts."""


def _start_worker(names: tuple[str, ...], files: Mapping[str, Path | str]) -> None:
    import torch

    torch.set_num_threads(1)  # one process per core is faster than several threads in each
    _worker_metrics[:] = [load_metric(name, files) for name in names]


def _score_task(task: tuple[Path, Path | None]) -> PictureScores:
    return score_picture(task[0], _worker_metrics, task[1])


def _score_in_processes(
    tasks: Sequence[tuple[Path, Path | None]],
    names: tuple[str, ...],
    files: Mapping[str, Path | str],
    jobs: int,
) -> Iterator[PictureScores]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # a forked child of a process with torch threads can hang
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_start_worker, initargs=(names, dict(files))
        ) as pool:
            yield from pool.map(_score_task, tasks)
    except BrokenProcessPool as error:
        raise DeviceError(
            "a worker process died, which mostly means too little memory; use fewer jobs"
        ) from error
