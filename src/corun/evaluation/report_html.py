"""A report as one HTML file that asks nobody for anything: tables, sortable scores, pictures."""

from __future__ import annotations

import base64
import html
import io
import math
from pathlib import Path

from PIL import Image

from corun.evaluation.published import published_for, sources_of
from corun.evaluation.report import Cell, MetricFacts, Report
from corun.evaluation.report_text import PAIRED, PLACES, number, remarks
from corun.pictures.colours import read_eight_bit

THUMBNAIL = 320
"""Longer side of the embedded pictures, pixels."""

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #8884; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid; }
.first { font-weight: 700; } .second { text-decoration: underline; }
.interval, .failed { font-size: .8em; opacity: .75; }
.failed { color: #c22; opacity: 1; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; margin: .5rem 0 1.5rem; }
figure { margin: 0; } figcaption { font-size: .8em; max-width: 20rem; }
.scroll { overflow-x: auto; max-height: 36rem; overflow-y: auto; }
.scroll thead th { position: sticky; top: 0; background: Canvas; }
"""

_SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = table.querySelectorAll("thead th");
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const rising = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = row => {
      const text = row.cells[column].dataset.value;
      return text === undefined ? row.cells[column].textContent : (text === "" ? NaN : +text);
    };
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = value(a), y = value(b);
      if (typeof x === "string") return rising ? x.localeCompare(y) : y.localeCompare(x);
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return rising ? x - y : y - x;
    });
    table.tBodies[0].append(...rows);
  }));
}
"""


def html_report(report: Report, *, published: bool = False, pictures: int = 24) -> str:
    """The whole page.

    Args:
        report: what to show.
        published: also the numbers of papers, apart from what was measured.
        pictures: photos shown per data set, the first ones; 0 for none.
    """
    parts = ["<h1>Dehazing, measured</h1>"]
    for dataset, photos in report.datasets.items():
        columns = report.columns(dataset)
        parts.append(f"<h2>{_text(dataset)} ({len(photos)} photos)</h2>")
        parts.append(_summary(report, dataset, columns))
        parts += _classes(report, dataset)
        if published:
            parts.append(_published(report, dataset, columns))
        parts.append(_significance(report, dataset, columns))
        parts.append(_per_photo(report, dataset))
        parts.append(_pictures(report, dataset, pictures))
    parts.append(_list("Failed, and counted in no mean", report.problems))
    parts.append(_list("Notes", report.notes))
    parts.append(_provenance(report))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Dehazing, measured</title>'
        f"<style>{_STYLE}</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<script>{_SCRIPT}</script></body></html>\n"
    )


def embedded(path: Path, side: int = THUMBNAIL) -> str:
    """A picture as a data URL, JPEG, scaled down."""
    image = Image.fromarray(read_eight_bit(path)[0])
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _summary(report: Report, dataset: str, columns: list[MetricFacts]) -> str:
    head = "".join(f'<th title="{_text(f.summary)}">{_text(f.heading)}</th>' for f in columns)
    rows = []
    for method, cells in report.table(dataset).items():
        shown = "".join(_cell(cells.get(facts.name), facts) for facts in columns)
        rows.append(f"<tr><td>{_text(method)}</td>{shown}</tr>")
    return (
        f"<table><thead><tr><th>method</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
        "</table><p>Mean over the photos and its 95 % bootstrap interval. Bold is best, underlined "
        f"second best, {PLACES}.</p>"
    )


def _cell(cell: Cell | None, facts: MetricFacts) -> str:
    if cell is None:
        return "<td>–</td>"
    kind = {1: ' class="first"', 2: ' class="second"'}.get(cell.place, "")
    text = f"<span{kind}>{number(cell.value, facts.decimals)}</span>"
    if not math.isnan(cell.interval.low):
        low, high = (number(value, facts.decimals) for value in cell.interval)
        text += f'<br><span class="interval">{low} … {high}</span>'
    remark = remarks(cell, facts.decimals)
    if remark:
        text += f'<br><span class="failed">{_text(remark)}</span>'
    return f"<td>{text}</td>"


def _classes(report: Report, dataset: str) -> list[str]:
    """A table of AP by class for each metric that has classes."""
    tables = []
    for facts, classes, parts in report.class_tables(dataset):
        head = "".join(f"<th>{_text(label)}</th>" for label in classes)
        rows = []
        for method, own in parts.items():
            shown = "".join(
                f"<td>{number(own.get(label, math.nan), facts.decimals)}</td>" for label in classes
            )
            rows.append(f"<tr><td>{_text(method)}</td>{shown}</tr>")
        tables.append(
            f"<h3>AP of each class, {_text(facts.heading)}</h3><table><thead><tr><th>method</th>"
            f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )
    return tables


def _published(report: Report, dataset: str, columns: list[MetricFacts]) -> str:
    known = published_for(report.names_of(dataset), [facts.name for facts in columns])
    if not known:
        return ""
    head = "".join(f"<th>{_text(facts.heading)}</th>" for facts in columns)
    rows = []
    for method, scores in known.items():
        shown = "".join(
            f"<td>{scores[f.name].value:g}</td>" if f.name in scores else "<td>–</td>"
            for f in columns
        )
        source = _text(sources_of(scores))
        rows.append(f"<tr><td>{_text(method)}</td>{shown}<td>{source}</td></tr>")
    return (
        "<h3>Published, not measured here</h3><table><thead><tr><th>method</th>"
        f"{head}<th>source</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _significance(report: Report, dataset: str, columns: list[MetricFacts]) -> str:
    rows = []
    for facts in columns:
        for (first, second), c in report.comparisons(dataset, facts.name).items():
            if c.photos:
                low, high = (number(value, facts.decimals) for value in c.interval)
                rows.append(
                    f"<tr><td>{_text(facts.name)}</td><td>{_text(first)} − {_text(second)}</td>"
                    f"<td>{number(c.difference, facts.decimals)}</td><td>{low} … {high}</td>"
                    f"<td>{c.p_value:.2g}</td><td>{c.photos}</td></tr>"
                )
    if not rows:
        return ""
    heads = ("metric", "methods", "difference", "95 %", "p", "photos")
    return (
        f"<details><summary>{PAIRED} (p corrected by Holm)</summary><table>"
        f"<thead><tr>{''.join(f'<th>{h}</th>' for h in heads)}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></details>"
    )


def _per_photo(report: Report, dataset: str) -> str:
    used = {s.metric for s in report.scores if s.dataset == dataset}
    columns = [facts for facts in report.metrics if facts.name in used]
    if not columns:
        return ""
    known = {(s.photo, s.method, s.metric): s for s in report.scores if s.dataset == dataset}
    heads = ["photo", "method", *(facts.heading for facts in columns)]
    head = "".join(f'<th><button type="button">{_text(h)}</button></th>' for h in heads)
    rows = []
    for photo in report.datasets[dataset]:
        for method in report.methods:
            cells = []
            for facts in columns:
                score = known.get((photo, method, facts.name))
                if score is None or score.value is None:
                    why = "" if score is None else f' title="{_text(score.problem)}"'
                    cells.append(f'<td data-value=""{why}>–</td>')
                else:
                    sortable = "Infinity" if math.isinf(score.value) else repr(score.value)
                    cells.append(
                        f'<td data-value="{sortable}">{number(score.value, facts.decimals)}</td>'
                    )
            rows.append(f"<tr><td>{_text(photo)}</td><td>{_text(method)}</td>{''.join(cells)}</tr>")
    return (
        '<h3>Each photo</h3><div class="scroll"><table class="sortable"><thead><tr>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _pictures(report: Report, dataset: str, most: int) -> str:
    by_method = report.pictures.get(dataset, {})
    parts = []
    for photo in report.datasets[dataset][:most]:
        shown = []
        for method in report.methods:
            path = Path(by_method.get(method, {}).get(photo, ""))
            if path.is_file():
                shown.append(
                    f'<figure><img loading="lazy" alt="{_text(photo)}, {_text(method)}" '
                    f'src="{embedded(path)}"><figcaption>{_text(method)}</figcaption></figure>'
                )
        if shown:
            parts.append(f'<h4>{_text(photo)}</h4><div class="row">{"".join(shown)}</div>')
    return "<h3>Pictures</h3>" + "".join(parts) if parts else ""


def _list(title: str, lines: tuple[str, ...]) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if lines else ""


def _provenance(report: Report) -> str:
    rows = []
    for key, value in report.provenance.items():
        text = (
            "; ".join(f"{inner} {v}" for inner, v in value.items())
            if isinstance(value, dict)
            else str(value)
        )
        rows.append(f"<tr><td>{_text(key)}</td><td>{_text(text)}</td></tr>")
    return f"<h2>Made with</h2><table><tbody>{''.join(rows)}</tbody></table>" if rows else ""


def _text(value: str) -> str:
    return html.escape(value, quote=True)
