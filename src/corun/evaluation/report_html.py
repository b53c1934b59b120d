"""A report as one HTML file that asks nobody for anything: tables, sortable scores, pictures."""

from __future__ import annotations

import base64
import html
import io
import math
from pathlib import Path

from PIL import Image

from corun.evaluation.report import Report
from corun.evaluation.report_tables import (
    PAIRED,
    PLACES,
    Entry,
    Table,
    class_tables,
    number,
    published_table,
    significance_table,
    summary_table,
)
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
        parts.append(f"<h2>{_text(dataset)} ({len(photos)} photos)</h2>")
        parts.append(
            f"{_table(summary_table(report, dataset))}<p>Mean over the photos and its 95 % "
            f"bootstrap interval. Bold is best, underlined second best, {PLACES}.</p>"
        )
        for facts, table in class_tables(report, dataset):
            parts.append(f"<h3>AP of each class, {_text(facts.heading)}</h3>{_table(table)}")
        if published and (table := published_table(report, dataset)).rows:
            parts.append(f"<h3>Published, not measured here</h3>{_table(table)}")
        if (table := significance_table(report, dataset)).rows:
            title = f"{PAIRED} (p corrected by Holm)"
            parts.append(f"<details><summary>{title}</summary>{_table(table)}</details>")
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


def _table(table: Table) -> str:
    heads = "".join(
        f'<th title="{_text(h.summary)}">{_text(h.text)}</th>'
        if h.summary
        else f"<th>{_text(h.text)}</th>"
        for h in table.heads
    )
    rows = "".join(f"<tr>{''.join(map(_entry, row))}</tr>" for row in table.rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _entry(entry: Entry) -> str:
    kind = {1: ' class="first"', 2: ' class="second"'}.get(entry.place)
    text = _text(entry.text) if kind is None else f"<span{kind}>{_text(entry.text)}</span>"
    if entry.interval is not None:
        text += '<br><span class="interval">{} … {}</span>'.format(*entry.interval)
    if entry.remark:
        text += f'<br><span class="failed">{_text(entry.remark)}</span>'
    return f"<td>{text}</td>"


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
