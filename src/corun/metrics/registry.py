"""The table of metrics: what each measures, which way is better, and what it needs.

``METRICS`` is data. :func:`load_metric` turns an entry and the user's files into a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from corun.errors import ConfigurationError, WeightsError
from corun.files import checksum

Picture = UInt8[np.ndarray, "h w 3"]
ScoreFunction = Callable[[np.ndarray, np.ndarray | None], float]
"""(picture, reference or None) → score; both RGB, 0–255, (h,w,3)."""
Kind = Literal["no-reference", "full-reference", "guard"]
Needs = Literal["nothing", "input", "target"]


@dataclass(frozen=True)
class NeededFile:
    """A file that the user keeps on disk, because it may not be part of this package."""

    key: str
    """Its name in the mapping of files."""
    what: str
    """What it is and how to get it, for the error message."""


@dataclass(frozen=True)
class Metric:
    """The facts of one metric."""

    name: str
    title: str
    kind: Kind
    better: Literal["lower", "higher", "neither"]
    score_range: str
    source: str
    version: str
    """Raised when the number for the same file changes: caches are keyed by it."""
    build: Callable[[Mapping[str, Path]], tuple[ScoreFunction, str]]
    """From local files to the function and the name of the implementation that was chosen."""
    needs: Needs = "nothing"
    """What the score compares with: the hazy input, or the true clear scene."""
    least: int = 1
    """Pixels that height and width must have at least."""
    infinite_is_best: bool = False
    """Whether +∞ is a score (PSNR of equal pictures) and no failure."""
    downloads: bool = False
    """Whether its package may fetch weights from the network when it is first used."""
    files: tuple[NeededFile, ...] = ()
    """Files without which it cannot be computed (see ``build`` for substitutes)."""


@dataclass(frozen=True)
class LoadedMetric:
    """A metric ready to score."""

    metric: Metric
    implementation: str
    """Which implementation and weights: for reports."""
    version: str
    """The metric's version with the checksums of its files: for cache keys."""
    score: ScoreFunction


def metric_named(name: str) -> Metric:
    """The entry of a metric; ``pyiqa:NAME`` is any metric of the package pyiqa.

    Raises:
        ConfigurationError: there is no such metric; the message lists those there are.
    """
    if name.startswith("pyiqa:"):
        from corun.metrics.pyiqa_metrics import pyiqa_metric

        return pyiqa_metric(name.removeprefix("pyiqa:"))
    metrics = all_metrics()
    if name not in metrics:
        raise ConfigurationError(
            f"no metric is called {name!r}; choose from {', '.join(metrics)} or pyiqa:NAME"
        )
    return metrics[name]


def all_metrics() -> dict[str, Metric]:
    """Every metric by name, in the order of reports."""
    from corun.metrics.table import METRICS

    return {metric.name: metric for metric in METRICS}


def load_metric(name: str, files: Mapping[str, Path | str] | None = None) -> LoadedMetric:
    """Make a metric ready.

    Args:
        name: of the table, or ``pyiqa:NAME``.
        files: local weights by the keys that the metrics' ``files`` state.

    Raises:
        ConfigurationError: there is no such metric.
        WeightsError: a file it needs is not given, or is missing or of another kind.
        MissingExtraError: a package it needs is not installed.
    """
    metric = metric_named(name)
    given = {key: Path(path) for key, path in (files or {}).items()}
    score, implementation = metric.build(given)
    sums = [checksum(given[file.key])[:12] for file in metric.files if file.key in given]
    return LoadedMetric(
        metric=metric,
        implementation=implementation,
        version="+".join([metric.version, implementation, *sums]),
        score=score,
    )


def needed_file(metric: str, file: NeededFile, files: Mapping[str, Path]) -> Path:
    """The path of a needed file.

    Raises:
        WeightsError: it is not given or not there; the message says how to get it.
    """
    if file.key not in files:
        raise WeightsError(f"{metric} needs the file {file.key}: {file.what}")
    path = files[file.key]
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; {metric} needs it as {file.key}: {file.what}")
    return path
