"""A report as a terminal table, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from corun.evaluation.report import Report
from corun.evaluation.report_tables import (
    PAIRED,
    PLACES,
    Entry,
    Table,
    class_tables,
    published_table,
    significance_table,
    summary_table,
)


def scores_csv(report: Report) -> str:
    """One row per photo, method and metric; a failure has a problem in place of a value."""
    return _csv(
        ["dataset", "method", "photo", "metric", "value", "problem"],
        [
            [
                s.dataset,
                s.method,
                s.photo,
                s.metric,
                "" if s.value is None else repr(s.value),
                s.problem,
            ]
            for s in report.scores
        ],
    )


def table_csv(report: Report) -> str:
    """One row per data set, method and metric: mean, interval, counts, place."""
    rows = list(report.rows())
    if not rows:
        return ""
    return _csv(list(rows[0]), [["" if v is None else v for v in row.values()] for row in rows])


def classes_csv(report: Report) -> str:
    """One row per data set, method, metric and class: AP; only a head without detection."""
    return _csv(
        ["dataset", "method", "metric", "class", "value"],
        [
            [s.dataset, s.method, s.metric, label, "" if math.isnan(value) else repr(value)]
            for s in report.set_scores
            for label, value in s.parts.items()
        ],
    )


def markdown(report: Report, *, published: bool = False) -> str:
    """The tables, their significance, the failures and where it all comes from."""
    lines: list[str] = []
    for dataset, photos in report.datasets.items():
        lines += [f"## {dataset} ({len(photos)} photos)"]
        lines += _markdown_table("", summary_table(report, dataset))
        places = f"**best** and *second best* {PLACES}"
        lines += ["", f"Mean over the photos and 95 % bootstrap interval; {places}."]
        for facts, table in class_tables(report, dataset):
            lines += _markdown_table(f"AP of each class, {facts.heading}:", table)
        if published:
            table = published_table(report, dataset)
            lines += _markdown_table("Published, not measured here:", table)
        title = f"{PAIRED} (p corrected by Holm within a metric):"
        lines += [*_markdown_table(title, significance_table(report, dataset)), ""]
    lines += _section("Failed, and counted in no mean", report.problems)
    lines += _section("Notes", report.notes)
    lines += _section(
        "Made with", tuple(f"{key}: {value}" for key, value in _flat(report.provenance))
    )
    return "\n".join(lines).rstrip() + "\n"


def latex(report: Report) -> str:
    """One booktabs table per data set."""
    blocks = []
    for dataset, photos in report.datasets.items():
        name = _latex_escaped(dataset)
        caption = (
            f"{name}, {len(photos)} photos: means and 95\\,\\% bootstrap "
            f"intervals. Best in bold, second best underlined, {PLACES}."
        )
        blocks.append(_latex_table(caption, summary_table(report, dataset)))
        for facts, table in class_tables(report, dataset):
            caption = f"{name}: AP of each class, {_latex_escaped(facts.name)}."
            blocks.append(_latex_table(caption, table))
    return "\n\n".join(blocks) + "\n"


def rich_table(report: Report, dataset: str) -> Any:
    """A `rich.table.Table`; the best is bold, the second best underlined."""
    title = f"{dataset} ({len(report.datasets[dataset])} photos)"
    return _rich(title, summary_table(report, dataset))


def rich_class_tables(report: Report, dataset: str) -> list[Any]:
    """A `rich.table.Table` for each metric that has classes."""
    return [
        _rich(f"{dataset}: {facts.name} of each class", table)
        for facts, table in class_tables(report, dataset)
    ]


def _rich(title: str, content: Table) -> Any:
    from rich.table import Table as RichTable
    from rich.text import Text

    # as Text, since a label may look like markup
    table = RichTable(title=Text(title), box=None)
    for index, head in enumerate(content.heads):
        table.add_column(Text(head.text), justify="right" if index else "left", no_wrap=True)
    for row in content.rows:
        table.add_row(
            *(
                Text(
                    entry.text + (f" ({entry.remark})" if entry.remark else ""),
                    style={1: "bold green", 2: "underline"}.get(entry.place, ""),
                )
                for entry in row
            )
        )
    return table


def _markdown_table(title: str, table: Table) -> list[str]:
    """Its lines after an empty one and its title; none where it has no rows."""
    if not table.rows:
        return []
    lines = [*(("", title) if title else ()), ""]
    lines.append("| " + " | ".join(_escaped(head.text) for head in table.heads) + " |")
    lines.append("|" + "---|" * len(table.heads))
    return lines + ["| " + " | ".join(map(_markdown_entry, row)) + " |" for row in table.rows]


def _markdown_entry(entry: Entry) -> str:
    text = _escaped(entry.text)
    text = {1: f"**{text}**", 2: f"*{text}*"}.get(entry.place, text)
    if entry.interval is not None:
        text += " [{}, {}]".format(*entry.interval)
    return text + (f" ({entry.remark})" if entry.remark else "")


def _latex_table(caption: str, table: Table) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.heads) - 1)}}}",
            r"\toprule",
            " & ".join(_latex_escaped(head.text) for head in table.heads) + r" \\",
            r"\midrule",
            *(" & ".join(map(_latex_entry, row)) + r" \\" for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_entry(entry: Entry) -> str:
    text = _latex_escaped(entry.text)
    text = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(entry.place, text)
    if entry.interval is not None:
        text += r" {{\scriptsize [{}, {}]}}".format(*map(_latex_escaped, entry.interval))
    return text + (rf" {{\scriptsize ({_latex_escaped(entry.remark)})}}" if entry.remark else "")


def _section(title: str, lines: tuple[str, ...]) -> list[str]:
    return [f"## {title}", "", *(f"- {line}" for line in lines), ""] if lines else []


def _flat(entries: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in entries.items():
        flat += (
            _flat(value, f"{prefix}{key} ") if isinstance(value, dict) else [(prefix + key, value)]
        )
    return flat


def _csv(head: list[str], rows: list[list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _latex_escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


_LATEX = {
    **{letter: "\\" + letter for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    **{"–": "--", "−": "$-$", "∞": r"$\infty$", "↓": r"$\downarrow$", "↑": r"$\uparrow$"},
}
