"""What a comparison found, as data: every score, every failure, the means and how sure they are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
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
    """One metric of a method over a whole data set, such as mAP."""

    dataset: str
    method: str
    metric: str
    value: float
    interval: Interval
    photos: int
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """What a table shows for a method and a metric.

    Attributes:
        value: the mean over the photos that have a score; NaN without any.
        interval: its 95 % bootstrap interval.
        scored: photos that have a score.
        failed: photos that have none.
        place: 1 for the best of the column, 2 for the second best, else 0.
    """

    value: float
    interval: Interval
    scored: int
    failed: int
    place: int = 0


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
        """Method → metric → cell."""
        if dataset not in self._tables:
            self._tables[dataset] = self._table(dataset)
        return self._tables[dataset]

    def _table(self, dataset: str) -> dict[str, dict[str, Cell]]:
        whole = {(s.method, s.metric): s for s in self.set_scores if s.dataset == dataset}
        table: dict[str, dict[str, Cell]] = {method: {} for method in self.methods}
        for facts in self.columns(dataset):
            cells = {}
            for method in self.methods:
                of_set = whole.get((method, facts.name))
                if of_set is not None:
                    failed = len(self.datasets[dataset]) - of_set.photos
                    cells[method] = Cell(of_set.value, of_set.interval, of_set.photos, failed)
                    continue
                values = self.values(dataset, method, facts.name)
                good = values[~np.isnan(values)]
                mean = float(good.mean()) if len(good) else math.nan
                cells[method] = Cell(mean, bootstrap_mean(good), len(good), len(values) - len(good))
            for method, cell in _placed(cells, facts.direction).items():
                table[method][facts.name] = cell
        return table

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
                        "mean": _plain(cell.value),
                        "low": _plain(cell.interval.low),
                        "high": _plain(cell.interval.high),
                        "scored": cell.scored,
                        "failed": cell.failed,
                        "place": cell.place,
                    }

    def to_json(self) -> str:
        """The whole report as JSON text; missing values are null."""
        content = asdict(self)
        content["set_scores"] = [
            {
                **asdict(s),
                "value": _plain(s.value),
                "interval": [_plain(v) for v in s.interval],
                "parts": {key: _plain(value) for key, value in s.parts.items()},
            }
            for s in self.set_scores
        ]
        content["table"] = list(self.rows())
        content["significance"] = [
            {
                "dataset": dataset,
                "metric": facts.name,
                "first": first,
                "second": second,
                "difference": _plain(c.difference),
                "low": _plain(c.interval.low),
                "high": _plain(c.interval.high),
                "p_value": _plain(c.p_value),
                "photos": c.photos,
            }
            for dataset in self.datasets
            for facts in self.columns(dataset)
            for (first, second), c in self.comparisons(dataset, facts.name).items()
            if c.photos
        ]
        return json.dumps(content, indent=1, ensure_ascii=False)

    @cached_property
    def _tables(self) -> dict[str, dict[str, dict[str, Cell]]]:
        """Kept, because every form of the report asks for them."""
        return {}

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


def read_report(path: Path) -> Report:
    """Reads what `Report.to_json` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Report(
        methods=tuple(content["methods"]),
        datasets={name: tuple(photos) for name, photos in content["datasets"].items()},
        metrics=tuple(MetricFacts(**facts) for facts in content["metrics"]),
        scores=tuple(Score(**score) for score in content["scores"]),
        set_scores=tuple(
            SetScore(
                **{
                    **score,
                    "value": _number(score["value"]),
                    "interval": Interval(*(_number(v) for v in score["interval"])),
                    "parts": {key: _number(value) for key, value in score["parts"].items()},
                }
            )
            for score in content["set_scores"]
        ),
        problems=tuple(content["problems"]),
        notes=tuple(content["notes"]),
        pictures=content["pictures"],
        provenance=content["provenance"],
        sources=content["sources"],
    )


def _placed(cells: dict[str, Cell], direction: Direction) -> dict[str, Cell]:
    """Marks the best and the second best; equal values share a place."""
    if direction == "neither":
        return cells
    sign = 1 if direction == "lower" else -1
    levels = sorted({sign * cell.value for cell in cells.values() if not math.isnan(cell.value)})
    places = {level: rank + 1 for rank, level in enumerate(levels[:2])}
    return {
        method: Cell(
            cell.value, cell.interval, cell.scored, cell.failed, places.get(sign * cell.value, 0)
        )
        for method, cell in cells.items()
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value
