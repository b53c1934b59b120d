"""The tables of a report, before anybody writes them as Markdown, LaTeX, HTML or on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from corun.evaluation.published import published_for, sources_of
from corun.evaluation.report import Cell, MetricFacts, Report

PAIRED = "Paired differences by sign flips, of AP by bootstrap draws shared by both"
"""How methods are compared."""
PLACES = "among methods with a score for every photo that any of them has one for"
"""Who is ranked."""
NOTHING = "–"


class Entry(NamedTuple):
    """One field of a table.

    Attributes:
        text: what it says.
        place: 1 for the best of its column, 2 for the second best, else 0.
        interval: the ends of the 95 % interval, where it has one.
        remark: what one has to know of a mean: which photos made it infinite, which it lacks.
        summary: of a head: what the metric measures.
    """

    text: str
    place: int = 0
    interval: tuple[str, str] | None = None
    remark: str = ""
    summary: str = ""


class Table(NamedTuple):
    """Heads, and rows of as many entries."""

    heads: list[Entry]
    rows: list[list[Entry]]


def summary_table(report: Report, dataset: str) -> Table:
    """The mean of every metric by method."""
    columns = report.columns(dataset)
    rows = [
        [Entry(method), *(_mean(cells.get(facts.name), facts) for facts in columns)]
        for method, cells in report.table(dataset).items()
    ]
    return Table(_heads("method", columns), rows)


def class_tables(report: Report, dataset: str) -> Iterator[tuple[MetricFacts, Table]]:
    """AP of each class by method, for each metric that has classes."""
    for facts, classes, parts in report.class_tables(dataset):
        rows = [
            [Entry(method)]
            + [Entry(number(own.get(label, math.nan), facts.decimals)) for label in classes]
            for method, own in parts.items()
        ]
        yield facts, Table([Entry("method"), *map(Entry, classes)], rows)


def published_table(report: Report, dataset: str) -> Table:
    """The numbers of papers for the report's metrics; no rows where none are known."""
    columns = report.columns(dataset)
    known = published_for(report.names_of(dataset), [facts.name for facts in columns])
    rows = []
    for method, scores in known.items():
        values = [f"{scores[f.name].value:g}" if f.name in scores else NOTHING for f in columns]
        rows.append([Entry(text) for text in (method, *values, sources_of(scores))])
    return Table([*_heads("method", columns), Entry("source")], rows)


def significance_table(report: Report, dataset: str) -> Table:
    """Every pair of methods by every metric; no rows where no photo is shared."""
    rows = []
    for facts in report.columns(dataset):
        for (first, second), c in report.comparisons(dataset, facts.name).items():
            if c.photos:
                low, high = (number(value, facts.decimals) for value in c.interval)
                difference = number(c.difference, facts.decimals)
                texts = (facts.name, f"{first} − {second}", difference, f"[{low}, {high}]")
                rows.append([Entry(t) for t in (*texts, f"{c.p_value:.2g}", str(c.photos))])
    heads = ("metric", "methods", "difference", "95 %", "p", "photos")
    return Table([Entry(head) for head in heads], rows)


def number(value: float, decimals: int) -> str:
    """A value as tables show it; a dash for none."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return NOTHING if math.isnan(value) else f"{value:.{decimals}f}"


def _heads(first: str, columns: list[MetricFacts]) -> list[Entry]:
    return [Entry(first), *(Entry(facts.heading, summary=facts.summary) for facts in columns)]


def _mean(cell: Cell | None, facts: MetricFacts) -> Entry:
    if cell is None:
        return Entry(NOTHING)
    remarks = []
    if 0 < cell.infinite < cell.scored:
        remarks.append(f"{cell.infinite} ∞, the others {number(cell.finite_mean, facts.decimals)}")
    if cell.failed:
        remarks.append(f"{cell.failed} failed")
    low, high = (number(value, facts.decimals) for value in cell.interval)
    return Entry(
        number(cell.value, facts.decimals),
        cell.place,
        None if math.isnan(cell.interval.low) else (low, high),
        "; ".join(remarks),
    )
