"""Metrics by name: from an entry of the table and the user's files to a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from corun.errors import ConfigurationError, WeightsError
from corun.files import checksum
from corun.judges.facts import Metric, NeededFile
from corun.judges.pyiqa_metric import facts_in_pyiqa, open_metric, pyiqa_installed, pyiqa_version
from corun.metrics import full_reference, guards
from corun.metrics.pictures import as_tensor
from corun.metrics.table import METRICS

ScoreFunction = Callable[[np.ndarray, np.ndarray | None], float]
"""(picture, reference or None) → score; both RGB, 0–255, (h,w,3)."""
Function = Callable[..., Tensor]
"""(pictures) or (pictures, references), RGB in [0,1], (b,3,h,w) → scores."""
Files = Mapping[str, Path]
PYIQA = "pyiqa:"

_PLAIN: dict[str, Function] = {
    "brightness": guards.mean_brightness,
    "contrast": guards.contrast,
    "colourfulness": guards.colourfulness,
    "crushed": guards.crushed_fraction,
    "clipped": guards.clipped_fraction,
    "hue-shift": guards.hue_shift,
    "psnr": full_reference.psnr,
    "ssim": full_reference.ssim,
    "ms-ssim": full_reference.ms_ssim,
    "ciede2000": full_reference.ciede2000,
}


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
    if name.startswith(PYIQA):
        facts = facts_in_pyiqa(name.removeprefix(PYIQA))
        compares = facts.get("metric_mode") == "FR"
        return Metric(
            name=name,
            title=name.removeprefix(PYIQA),
            kind="full-reference" if compares else "no-reference",
            better="lower" if facts.get("lower_better", False) else "higher",
            score_range=str(facts.get("score_range", "not stated")),
            source="pyiqa",
            needs="target" if compares else "nothing",
        )
    if name not in METRICS:
        raise ConfigurationError(
            f"no metric is called {name!r}; choose from {', '.join(METRICS)} or pyiqa:NAME"
        )
    return METRICS[name]


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
    function, implementation = _function_of(metric, given)
    sums = [checksum(given[file.key])[:12] for file in metric.files if file.key in given]
    return LoadedMetric(
        metric=metric,
        implementation=implementation,
        version="+".join([metric.version, implementation, *sums]),
        score=partial(_score, function, compares=metric.needs != "nothing"),
    )


def _score(
    function: Function, picture: np.ndarray, reference: np.ndarray | None, *, compares: bool
) -> float:
    pictures = [as_tensor(picture)]
    if compares:
        if reference is None:
            raise ValueError("this metric compares with a reference picture, and none was given")
        pictures.append(as_tensor(reference))
    with torch.no_grad():
        return float(function(*pictures).flatten()[0])


def _function_of(metric: Metric, files: Files) -> tuple[Function, str]:
    """The function, and which implementation and weights it is."""
    if metric.name in _PLAIN:
        return _PLAIN[metric.name], "corun"
    if metric.downloads or metric.name.startswith(PYIQA):
        return _of_pyiqa(metric.name.removeprefix(PYIQA))
    return _WITH_WEIGHTS[metric.name](metric, files)


def _of_pyiqa(name: str) -> tuple[Function, str]:
    return open_metric(name), f"pyiqa {pyiqa_version()} {name}"


def _fade(metric: Metric, files: Files) -> tuple[Function, str]:
    from corun.judges.fade import FadeDensity

    judge = FadeDensity()
    return judge.values, f"fade-python {judge.name.split()[1]}"


def _brisque(metric: Metric, files: Files) -> tuple[Function, str]:
    if not any(file.key in files for file in metric.files) and pyiqa_installed():
        return _of_pyiqa("brisque")
    from corun.judges.brisque import load_brisque

    return load_brisque(*_needed(metric, files)), "corun, published SVR"


def _hazdesnet(metric: Metric, files: Files) -> tuple[Function, str]:
    from corun.judges.hazdesnet import load_hazdesnet

    network = load_hazdesnet(*_needed(metric, files))
    return network.mean_density, "corun, published weights"


def _niqe(metric: Metric, files: Files) -> tuple[Function, str]:
    from corun.judges.niqe import load_pristine_statistics, niqe

    statistics = load_pristine_statistics(*_needed(metric, files))
    return partial(niqe, pristine=statistics), "corun, published statistics"


def _niqe_embedded(metric: Metric, files: Files) -> tuple[Function, str]:
    from corun.judges.niqe import embedded_statistics, niqe

    return partial(niqe, pristine=embedded_statistics()), "corun, embedded statistics"


def _lpips(metric: Metric, files: Files) -> tuple[Function, str]:
    from corun.metrics.lpips import load_lpips

    return load_lpips(*_needed(metric, files)), "corun, AlexNet 0.1"


_WITH_WEIGHTS: dict[str, Callable[[Metric, Files], tuple[Function, str]]] = {
    "fade": _fade,
    "brisque": _brisque,
    "hazdesnet": _hazdesnet,
    "niqe": _niqe,
    "niqe-embedded": _niqe_embedded,
    "lpips": _lpips,
}


def _needed(metric: Metric, files: Files) -> list[Path]:
    """The paths of a metric's files.

    Raises:
        WeightsError: one is not given or not there; the message says how to get it.
    """
    return [_present(metric.title, file, files) for file in metric.files]


def _present(title: str, file: NeededFile, files: Files) -> Path:
    if file.key not in files:
        raise WeightsError(f"{title} needs the file {file.key}: {file.what}")
    path = files[file.key]
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; {title} needs it as {file.key}: {file.what}")
    return path
