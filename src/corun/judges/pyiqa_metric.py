"""Metrics of the package pyiqa, where the user installed it: NIMA, MUSIQ, PAQ2PIQ, CLIP-IQA …

pyiqa is not a dependency: its licence is non-commercial and its requirements are heavy. It is
imported only when one of its metrics is asked for, and it fetches its own weights.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from corun.errors import ConfigurationError, WeightsError
from corun.judges.facts import JUDGES
from corun.judges.protocols import Scores, cut_blocks, in_chunks
from corun.networks.fingerprint import fingerprint, values_fingerprint

CHUNK = 8
"""Pictures, or blocks, that a metric sees at a time. MUSIQ enlarges each to 224 and 384 pixels and
holds about 40 MB for it: 0.3 GB, and not the 6 GB of the 162 blocks of two photos at once."""


def pyiqa_installed() -> bool:
    """Whether the package is there; it is not imported to find out."""
    return importlib.util.find_spec("pyiqa") is not None


def pyiqa_version() -> str:
    """Of the installed package."""
    try:
        return importlib.metadata.version("pyiqa")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def open_metric(name: str) -> Any:
    """A metric of pyiqa with its weights, on the processor.

    Raises:
        ConfigurationError: pyiqa is not installed, or has no such metric.
        WeightsError: its weights cannot be fetched.
    """
    pyiqa = _import_pyiqa(name)
    _require(name, pyiqa.list_models())
    try:
        with redirect_stdout(sys.stderr):  # it prints what it loads; results go where that would
            return pyiqa.create_metric(name, device=torch.device("cpu"))
    except (OSError, RuntimeError, ValueError) as error:  # no network, or a file lacks in its cache
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"pyiqa cannot get the weights of {name} ({reason}); run it once with network access, "
            "it keeps them in its cache"
        ) from error


def facts_in_pyiqa(name: str) -> Mapping[str, Any]:
    """What pyiqa says of a metric: ``metric_mode`` (FR or NR), ``lower_better``, ``score_range``.

    Raises:
        ConfigurationError: pyiqa is not installed, or has no such metric.
    """
    _import_pyiqa(name)
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    _require(name, DEFAULT_CONFIGS)
    facts: Mapping[str, Any] = DEFAULT_CONFIGS[name]
    return facts


class PyiqaQuality:
    """Q = (v − worst)/(best − worst), clamped to [0,1], v the metric's value.

    Args:
        metric: its name in pyiqa; the paper uses ``musiq``.
        value_range: (worst, best): the values that become 0 and 1; without, those of the table
            of judges.

    Raises:
        ConfigurationError: pyiqa is not installed, knows no such metric, the metric needs a
            reference, its range is not known, or the range is upside down.
        WeightsError: the metric's own weights cannot be loaded.
    """

    def __init__(self, metric: str, value_range: tuple[float, float] | None = None) -> None:
        _import_pyiqa(metric)
        if value_range is None and metric in JUDGES:
            value_range = JUDGES[metric].scale
        if value_range is None:
            raise ConfigurationError(
                f"evaluators.quality.range: give [worst, best] of {metric}; it is not known here"
            )
        if value_range[0] == value_range[1]:
            raise ConfigurationError("evaluators.quality.range: worst and best are the same")
        self._metric = open_metric(metric)
        mode, lower = self._metric.metric_mode, bool(self._metric.lower_better)
        if mode != "NR":
            raise ConfigurationError(
                f"evaluators.quality.metric: {metric} compares with a reference; real photos have "
                "none, so choose a no-reference metric"
            )
        if lower != (value_range[1] < value_range[0]):
            direction = "lower" if lower else "higher"
            raise ConfigurationError(
                f"evaluators.quality.range: {metric} is better when {direction}"
                f", but {list(value_range)} says the opposite; give the worst value first"
            )
        self.name = f"pyiqa {metric} {values_fingerprint(fingerprint(self._metric), value_range)}"
        self._range = value_range

    @torch.no_grad()
    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """Q of pictures, and of their blocks as pictures of their own, :data:`CHUNK` at a time."""
        pictures = image.clamp(0, 1)
        blocks, (rows, columns) = cut_blocks(pictures, block)
        of_blocks = in_chunks(self._quality, blocks, CHUNK)
        return Scores(
            in_chunks(self._quality, pictures, CHUNK), of_blocks.view(len(image), 1, rows, columns)
        )

    def to(self, device: torch.device) -> PyiqaQuality:
        """Move to a device, in place."""
        self._metric.to(device)
        return self

    def _quality(self, pictures: Tensor) -> Tensor:
        worst, best = self._range
        values: Tensor = self._metric(pictures).float().flatten()
        return ((values - worst) / (best - worst)).clamp(0, 1)


def _import_pyiqa(name: str) -> Any:
    try:
        import pyiqa
    except ImportError as error:
        raise ConfigurationError(
            f"{name} is computed by pyiqa, which is not installed or cannot be imported "
            f"({error}); install it with: pip install pyiqa (its licence is non-commercial)"
        ) from error
    return pyiqa


def _require(name: str, known: Any) -> None:
    if name not in known:
        raise ConfigurationError(
            f"pyiqa has no metric {name!r}; pyiqa.list_models() lists those it has"
        )
