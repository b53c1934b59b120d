"""What a comparison found, as data: every score, every failure, the means and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from corun.evaluation.resampling import Comparison, Interval, bootstrap_mean, compare, holm

Direction = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class MetricFacts:
    """What a report says about a metric.

    Attributes:
        name: its key.
        version: of the code and weights that scored.
        direction: which is better.
        decimals: shown in tables.
        summary: one line: what it measures, its source.
    """

    name: str
    version: str
    direction: Direction
    decimals: int = 3
    summary: str = ""

    @property
    def heading(self) -> str:
        """Its name with an arrow towards the better."""
        return self.name + {"lower": " ↓", "higher": " ↑", "neither": ""}[self.direction]


@dataclass(frozen=True)
class Score:
    """One metric of one result; either a value or a problem."""

    dataset: str
    method: str
    photo: str
    metric: str
    value: float | None
    problem: str = ""


@dataclass(frozen=True)
class SetScore:
    """One metric of a method over a whole data set, such as mAP.

    Attributes:
        dataset: its label.
        method: its label.
        metric: its name.
        value: over the photos the method has a result for.
        interval: its 95 % bootstrap interval.
        photos: how many those are.
        parts: class → AP.
        missing: photos that should have counted and failed.
    """

    dataset: str
    method: str
    metric: str
    value: float
    interval: Interval
    photos: int
    parts: dict[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetComparison:
    """Two methods by a metric of whole data sets, on the photos both have."""

    dataset: str
    metric: str
    first: str
    second: str
    comparison: Comparison


@dataclass(frozen=True)
class Cell:
    """What a table shows for a method and a metric.

    Attributes:
        value: the mean over the photos that have a score; NaN without any, ∞ where one is ∞.
        interval: its 95 % bootstrap interval.
        scored: photos that have a score.
        failed: photos that have none.
        place: 1 for the best of the column, 2 for the second best, else 0. Only methods that have
            a score for every photo that any method has one for are placed: a mean over fewer
            photos, perhaps the easy ones, is no rival.
        infinite: photos whose score is ∞.
        finite_mean: the mean over the others; NaN without any.
    """

    value: float
    interval: Interval
    scored: int
    failed: int
    place: int = 0
    infinite: int = 0
    finite_mean: float = math.nan


@dataclass(frozen=True)
class Report:
    """A whole comparison.

    Attributes:
        methods: labels, in the order given.
        datasets: data set → its photos' names.
        metrics: facts, in the order given.
        scores: one for each photo, method and metric.
        set_scores: metrics of whole data sets.
        problems: what could not be made, read or scored, one line each.
        notes: what was done to results before scoring.
        pictures: data set → method → photo → the file that was scored.
        provenance: versions, checksums and the command.
        sources: data set → its name in the catalogue.
        set_comparisons: of every pair of methods by metrics of whole data sets.
    """

    methods: tuple[str, ...]
    datasets: dict[str, tuple[str, ...]]
    metrics: tuple[MetricFacts, ...]
    scores: tuple[Score, ...]
    set_scores: tuple[SetScore, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    set_comparisons: tuple[SetComparison, ...] = ()

    def values(self, dataset: str, method: str, metric: str) -> Float[np.ndarray, "n"]:
        """A method's scores in the order of the set's photos, NaN where there is none."""
        known = self._by_key
        return np.array(
            [
                known.get((dataset, method, photo, metric), math.nan)
                for photo in self.datasets[dataset]
            ],
            dtype=np.float64,
        )

    def names_of(self, dataset: str) -> tuple[str, ...]:
        """What a data set is called here and in the catalogue."""
        return tuple(dict.fromkeys((dataset, self.sources.get(dataset, dataset))))

    def columns(self, dataset: str) -> list[MetricFacts]:
        """The metrics that have a value on a data set."""
        used = {s.metric for s in self.scores if s.dataset == dataset}
        used |= {s.metric for s in self.set_scores if s.dataset == dataset}
        return [facts for facts in self.metrics if facts.name in used]

    def table(self, dataset: str) -> dict[str, dict[str, Cell]]:
        """Method → metric → cell; kept, because every form of the report asks for it."""
        return self._tables[dataset]

    def _table(self, dataset: str) -> dict[str, dict[str, Cell]]:
        whole = {(s.method, s.metric): s for s in self.set_scores if s.dataset == dataset}
        table: dict[str, dict[str, Cell]] = {method: {} for method in self.methods}
        for facts in self.columns(dataset):
            cells, failed = {}, {}
            for method in self.methods:
                of_set = whole.get((method, facts.name))
                if of_set is not None:
                    failed[method] = frozenset(of_set.missing)
                    lacking = len(of_set.missing)
                    cells[method] = Cell(of_set.value, of_set.interval, of_set.photos, lacking)
                    continue
                values = self.values(dataset, method, facts.name)
                photos = self.datasets[dataset]
                failed[method] = frozenset(photos[i] for i in np.flatnonzero(np.isnan(values)))
                cells[method] = _cell(values)
            nobody = frozenset[str].intersection(*failed.values())
            complete = {method for method, own in failed.items() if own == nobody}
            for method, cell in _placed(cells, facts.direction, complete).items():
                table[method][facts.name] = cell
        return table

    def class_tables(
        self, dataset: str
    ) -> Iterator[tuple[MetricFacts, tuple[str, ...], dict[str, dict[str, float]]]]:
        """For each metric that has classes: its facts, the classes, and method → class → AP."""
        for facts in self.metrics:
            parts = {
                s.method: s.parts
                for s in self.set_scores
                if s.dataset == dataset and s.metric == facts.name
            }
            classes = tuple(sorted({label for own in parts.values() for label in own}))
            if classes:
                yield facts, classes, parts

    def comparisons(self, dataset: str, metric: str) -> dict[tuple[str, str], Comparison]:
        """Every pair of methods on the photos both have, p-values corrected by Holm."""
        if (dataset, metric) not in self._compared:
            self._compared[dataset, metric] = self._compare(dataset, metric)
        return self._compared[dataset, metric]

    def _compare(self, dataset: str, metric: str) -> dict[tuple[str, str], Comparison]:
        pairs = [
            (first, second)
            for index, first in enumerate(self.methods)
            for second in self.methods[index + 1 :]
        ]
        whole = {
            (c.first, c.second): c.comparison
            for c in self.set_comparisons
            if (c.dataset, c.metric) == (dataset, metric)
        }
        if whole:
            pairs = list(whole)
            raw = list(whole.values())
        else:
            values = {method: self.values(dataset, method, metric) for method in self.methods}
            raw = [compare(values[first], values[second]) for first, second in pairs]
        corrected = holm([comparison.p_value for comparison in raw])
        return {
            pair: comparison._replace(p_value=p_value)
            for pair, comparison, p_value in zip(pairs, raw, corrected, strict=True)
        }

    def rows(self) -> Iterator[dict[str, object]]:
        """The table of every data set as flat rows."""
        for dataset in self.datasets:
            for method, cells in self.table(dataset).items():
                for metric, cell in cells.items():
                    yield {
                        "dataset": dataset,
                        "method": method,
                        "metric": metric,
                        "mean": plain(cell.value),
                        "low": plain(cell.interval.low),
                        "high": plain(cell.interval.high),
                        "scored": cell.scored,
                        "failed": cell.failed,
                        "infinite": cell.infinite,
                        "finite_mean": plain(cell.finite_mean),
                        "place": cell.place,
                    }

    @cached_property
    def _tables(self) -> dict[str, dict[str, dict[str, Cell]]]:
        return {dataset: self._table(dataset) for dataset in self.datasets}

    @cached_property
    def _compared(self) -> dict[tuple[str, str], dict[tuple[str, str], Comparison]]:
        return {}

    @cached_property
    def _by_key(self) -> Mapping[tuple[str, str, str, str], float]:
        return {
            (s.dataset, s.method, s.photo, s.metric): s.value
            for s in self.scores
            if s.value is not None
        }


def _cell(values: Float[np.ndarray, "n"]) -> Cell:
    """The mean of a method's scores, NaN where a photo failed."""
    good = values[~np.isnan(values)]
    finite = good[np.isfinite(good)]
    return Cell(
        value=float(good.mean()) if len(good) else math.nan,
        interval=bootstrap_mean(good),
        scored=len(good),
        failed=len(values) - len(good),
        infinite=len(good) - len(finite),
        finite_mean=float(finite.mean()) if len(finite) else math.nan,
    )


def _placed(
    cells: dict[str, Cell], direction: Direction, complete: Collection[str]
) -> dict[str, Cell]:
    """Marks the best and the second best of the complete ones; equal values share a place.

    Of infinite means the one with more infinite photos is better, then the one whose other photos
    are.
    """
    if direction == "neither":
        return cells
    sign = 1 if direction == "lower" else -1

    def level(cell: Cell) -> tuple[float, int, float]:
        rest = 0.0 if math.isnan(cell.finite_mean) else sign * cell.finite_mean
        return sign * cell.value, -cell.infinite, rest

    rivals = {m: level(c) for m, c in cells.items() if m in complete and not math.isnan(c.value)}
    places = {key: rank + 1 for rank, key in enumerate(sorted(set(rivals.values()))[:2])}
    return {
        method: replace(cell, place=places.get(rivals[method], 0) if method in rivals else 0)
        for method, cell in cells.items()
    }


def plain(value: float) -> float | str | None:
    """For JSON, which knows neither NaN nor infinity."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)
