"""Any no-reference metric of pyiqa as image quality, if the user has installed it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from corun.errors import ConfigurationError, WeightsError
from corun.judges.protocols import Scores, cut_blocks
from corun.networks.fingerprint import fingerprint, values_fingerprint

KNOWN_RANGES = {"musiq": (0.0, 100.0), "clipiqa": (0.0, 1.0)}
"""(worst, best) of metrics whose scale is fixed by what they were trained on."""


class PyiqaQuality:
    """Q = (v − worst)/(best − worst), clamped to [0,1], v the metric's value.

    Args:
        metric: its name in pyiqa; the paper uses ``musiq``.
        value_range: (worst, best): the values that become 0 and 1; without, the one of
            :data:`KNOWN_RANGES`.

    Raises:
        ConfigurationError: pyiqa is not installed, knows no such metric, the metric needs a
            reference, its range is not known, or the range is upside down.
        WeightsError: the metric's own weights cannot be loaded.
    """

    def __init__(self, metric: str, value_range: tuple[float, float] | None = None) -> None:
        try:
            import pyiqa
        except ImportError as error:
            raise ConfigurationError(
                "evaluators.quality: pyiqa is not installed; it is not part of any extra because "
                "of its licence: pip install pyiqa, or set kind: embedded"
            ) from error
        value_range = value_range or KNOWN_RANGES.get(metric)
        if value_range is None:
            raise ConfigurationError(
                f"evaluators.quality.range: give [worst, best] of {metric}; it is not known here"
            )
        if value_range[0] == value_range[1]:
            raise ConfigurationError("evaluators.quality.range: worst and best are the same")
        if metric not in pyiqa.list_models():
            raise ConfigurationError(f"evaluators.quality.metric: pyiqa has no metric {metric!r}")
        try:
            self._metric: Any = pyiqa.create_metric(metric)
        except (OSError, RuntimeError, ValueError) as error:
            raise WeightsError(
                f"pyiqa's {metric}: its weights cannot be loaded ({error}); fetch them once where "
                "there is a network, pyiqa keeps them in its cache"
            ) from error
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
        """Q of pictures, and of their blocks as pictures of their own."""
        blocks, (rows, columns) = cut_blocks(image.clamp(0, 1), block)
        return Scores(
            self._scaled(self._metric(image.clamp(0, 1))),
            self._scaled(self._metric(blocks)).view(len(image), 1, rows, columns),
        )

    def to(self, device: torch.device) -> PyiqaQuality:
        """Move to a device, in place."""
        self._metric.to(device)
        return self

    def _scaled(self, values: Tensor) -> Tensor:
        worst, best = self._range
        return ((values.float().flatten() - worst) / (best - worst)).clamp(0, 1)
