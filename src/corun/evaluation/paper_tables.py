"""The paper's tables of real photos, each cell with where its number comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corun.errors import CorunError
from corun.evaluation.published import published_scores
from corun.evaluation.report import Report
from corun.evaluation.scoring import ready

PAPER = "Fang et al."
"""How the sources of the paper's numbers begin in `published_scores.json`."""

State = Literal["measured", "published", "impossible"]


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        dataset: our name of its photos.
        title: what it shows.
        metrics: its columns, by our names.
    """

    dataset: str
    title: str
    metrics: tuple[str, ...]


TABLES = (
    PaperTable("rtts", "RTTS, 4322 photos: haze and quality", ("fade", "brisque", "nima")),
    PaperTable("fattal", "Fattal's photos: haze and quality", ("fade", "brisque", "nima")),
    PaperTable("rtts", "RTTS: detection in the results, mAP of 5 classes", ("map-voc",)),
)
BETTER = {"fade": "FADE ↓", "brisque": "BRISQUE ↓", "nima": "NIMA ↑", "map-voc": "mAP ↑"}


@dataclass(frozen=True)
class PaperCell:
    """One number of a table.

    Attributes:
        state: measured here, printed in the paper, or neither.
        value: the number; None where there is none.
        why: where measured, over how many photos; else everything that stands in the way.
    """

    state: State
    value: float | None
    why: tuple[str, ...]


def unready_metrics(
    files: Mapping[str, Path], *, detector: bool, downloads: bool
) -> dict[str, str]:
    """Why a metric of the paper cannot be computed here, by its name; those that can are left out.

    Args:
        files: weights that metrics need, by the keys the registry states.
        detector: whether one is at hand.
        downloads: whether pyiqa may fetch the weights of NIMA.
    """
    lacking = {}
    if not detector:
        lacking["map-voc"] = "mAP needs a detector: --detector FILE.onnx (the paper's is YOLOv3)"
    for name in ("fade", "brisque", "nima"):
        if name == "nima" and not downloads:
            lacking[name] = "NIMA is pyiqa's, which may download weights: --nima allows that"
            continue
        try:
            ready(name, files)
        except CorunError as error:
            lacking[name] = str(error)
    return lacking


def paper_rows(table: PaperTable, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """The rows of a table by method, those of the paper first, with what the paper prints."""
    rows: dict[str, dict[str, float]] = {"hazy input": {}}
    for score in published_scores():
        theirs = score.dataset == table.dataset and score.source.startswith(PAPER)
        if theirs and score.metric in table.metrics:
            rows.setdefault(score.method, {})[score.metric] = score.value
    return rows | {method: rows.get(method, {}) for method in methods}


def fill(
    table: PaperTable,
    methods: Sequence[str],
    report: Report | None,
    lacking: Mapping[str, str],
) -> dict[str, dict[str, PaperCell]]:
    """Method → metric → cell.

    Args:
        table: which of `TABLES`.
        methods: labels of the methods at hand.
        report: what was measured; its data sets are named as the tables'.
        lacking: of `unready_metrics`.
    """
    there = report is not None and table.dataset in report.datasets
    measured = report.table(table.dataset) if report is not None and there else {}
    rows = {}
    for method, printed in paper_rows(table, methods).items():
        cells = {}
        for metric in table.metrics:
            found = measured.get(method, {}).get(metric)
            if found is not None and found.scored:
                failed = f", {found.failed} failed" if found.failed else ""
                why: tuple[str, ...] = (f"measured over {found.scored} photos{failed}",)
                cells[metric] = PaperCell("measured", found.value, why)
                continue
            why = _why(table, metric, lacking, there=there, method=method, methods=methods)
            value = printed.get(metric)
            cells[metric] = PaperCell("impossible" if value is None else "published", value, why)
        rows[method] = cells
    return rows


def as_markdown(title: str, rows: Mapping[str, Mapping[str, PaperCell]]) -> str:
    """A table with the state of each cell, and numbered below it why."""
    metrics = list(next(iter(rows.values())))
    reasons: list[str] = []
    lines = [
        f"**{title}**",
        "",
        "| method | " + " | ".join(BETTER[metric] for metric in metrics) + " |",
        "|---|" + "---|" * len(metrics),
    ]
    for method, cells in rows.items():
        texts = []
        for cell in cells.values():
            reasons += [why for why in cell.why if why not in reasons]
            numbers = ",".join(str(n) for n, why in enumerate(reasons, 1) if why in cell.why)
            value = "" if cell.value is None else f"{cell.value:.3f} "
            texts.append(f"{value}{cell.state} [{numbers}]")
        lines.append(f"| {method} | " + " | ".join(texts) + " |")
    return "\n".join([*lines, "", *(f"[{n}] {why}" for n, why in enumerate(reasons, 1)), ""])


def _why(
    table: PaperTable,
    metric: str,
    lacking: Mapping[str, str],
    *,
    there: bool,
    method: str,
    methods: Sequence[str],
) -> tuple[str, ...]:
    reasons = []
    if method not in ("hazy input", *methods):
        reasons.append(f"{method} is not at hand: -m '{method}=FILE' or, of its results, '=DIR'")
    if not there:
        reasons.append(f"the photos are not at hand: --{table.dataset} DIR")
    if metric in lacking:
        reasons.append(lacking[metric])
    return tuple(reasons) or ("every photo failed",)
