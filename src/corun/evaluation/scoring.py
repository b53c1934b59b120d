"""The metrics of a comparison: those of the registry for pictures, AP for whole data sets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from corun.errors import CorunError
from corun.evaluation.detection_scores import DETECTION_METRICS, DETECTION_SUMMARIES
from corun.evaluation.report import MetricFacts
from corun.judges.pyiqa_metric import pyiqa_installed
from corun.metrics.registry import LoadedMetric, load_metric, metric_named
from corun.metrics.table import METRICS

Companion = Literal["input", "reference"]
"""What a metric may look at beside the result."""

_DECIMALS = {
    "brisque": 2,
    "niqe": 2,
    "psnr": 2,
    "ciede2000": 2,
    "colourfulness": 1,
    "hue-shift": 1,
    "crushed": 4,
    "clipped": 4,
}


def known_metrics() -> list[str]:
    """One line for each metric: its name, what it is, which way is better."""
    lines = [
        f"{metric.name}: {metric.title} ({metric.source}), {metric.score_range}, "
        + {"lower": "lower is better", "higher": "higher is better"}.get(metric.better, "no best")
        + (f"; needs {', '.join(file.key for file in metric.files)}" if metric.files else "")
        for metric in METRICS.values()
    ]
    lines.append("pyiqa:NAME: any metric of pyiqa, where that is installed")
    return lines + [
        f"{name}: {summary} ({source}), 0 to 1, higher is better; needs --detector"
        for name, (summary, source) in DETECTION_SUMMARIES.items()
    ]


def default_metrics(
    files: Mapping[str, Path], *, detector: bool
) -> tuple[tuple[str, ...], list[str]]:
    """What is scored when nobody says what: all that can be, without asking the network.

    Returns:
        Names, and a line for each metric that is left out, which says what it lacks.
    """
    names, lacking = [], []
    for name, metric in METRICS.items():
        # BRISQUE without its files is pyiqa's
        through_pyiqa = metric.downloads or (
            name == "brisque" and not any(file.key in files for file in metric.files)
        )
        if through_pyiqa and pyiqa_installed():
            lacking.append(
                f"{name} is left out: pyiqa may have to download its weights; name it in --metrics "
                "to allow that"
            )
            continue
        try:
            ready(name, files)
            names.append(name)
        except CorunError as error:
            lacking.append(f"{name} is left out: {error}")
    return (*names, *(DETECTION_METRICS if detector else ())), lacking


def facts_of(name: str, files: Mapping[str, Path]) -> MetricFacts:
    """What a report says about a metric.

    Raises:
        ConfigurationError: there is none of that name.
        WeightsError: it needs a file that is not given; the message says which, and where it is.
        MissingExtraError: it needs a package that is not installed.
    """
    loaded = ready(name, files)
    metric = loaded.metric
    summary = f"{metric.title}; {metric.source}; {metric.score_range}; {loaded.implementation}"
    return MetricFacts(name, loaded.version, metric.better, _DECIMALS.get(name, 3), summary)


def needs_of(name: str) -> Companion | None:
    """What a metric looks at beside the result."""
    needs: dict[str, Companion | None] = {
        "nothing": None,
        "input": "input",
        "target": "reference",
    }
    return needs[metric_named(name).needs]


def ready(name: str, files: Mapping[str, Path]) -> LoadedMetric:
    """A metric with its weights; each is loaded once in a process."""
    return _loaded(name, tuple(sorted(files.items())))


@lru_cache(maxsize=64)
def _loaded(name: str, files: tuple[tuple[str, Path], ...]) -> LoadedMetric:
    return load_metric(name, dict(files))
