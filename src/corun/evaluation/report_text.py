"""A report as a terminal table, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from corun.evaluation.published import published_for, sources_of
from corun.evaluation.report import Cell, MetricFacts, Report

PAIRED = "Paired differences by sign flips, of AP by bootstrap draws shared by both"
"""How methods are compared."""
PLACES = "among methods with a score for every photo that any of them has one for"
"""Who is ranked."""
PLACES_MARKDOWN = f"**best** and *second best* {PLACES}"


def number(value: float, decimals: int) -> str:
    """A value as tables show it; a dash for none."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return "–" if math.isnan(value) else f"{value:.{decimals}f}"


def remarks(cell: Cell, decimals: int) -> str:
    """What one has to know of a mean: which photos made it infinite, which it lacks; or ""."""
    parts = []
    if 0 < cell.infinite < cell.scored:
        parts.append(f"{cell.infinite} ∞, the others {number(cell.finite_mean, decimals)}")
    if cell.failed:
        parts.append(f"{cell.failed} failed")
    return "; ".join(parts)


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
        columns = report.columns(dataset)
        lines += [f"## {dataset} ({len(photos)} photos)", ""]
        lines.append("| method | " + " | ".join(f.heading for f in columns) + " |")
        lines.append("|---|" + "---|" * len(columns))
        for method, cells in report.table(dataset).items():
            shown = [_markdown_cell(cells.get(f.name), f) for f in columns]
            lines.append(f"| {_escaped(method)} | " + " | ".join(shown) + " |")
        lines += ["", f"Mean over the photos and 95 % bootstrap interval; {PLACES_MARKDOWN}."]
        lines += _class_lines(report, dataset)
        if published:
            lines += _published_lines(report, dataset, columns)
        lines += _significance_lines(report, dataset, columns)
        lines.append("")
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
        columns = report.columns(dataset)
        arrows = {"lower": r" $\downarrow$", "higher": r" $\uparrow$", "neither": ""}
        heads = [_latex_escaped(f.name) + arrows[f.direction] for f in columns]
        body = []
        for method, cells in report.table(dataset).items():
            shown = [_latex_cell(cells.get(f.name), f) for f in columns]
            body.append(" & ".join([_latex_escaped(method), *shown]) + r" \\")
        caption = (
            f"{_latex_escaped(dataset)}, {len(photos)} photos: means and 95\\,\\% bootstrap "
            f"intervals. Best in bold, second best underlined, {PLACES}."
        )
        blocks.append(_latex_table(caption, heads, body))
        for facts, classes, parts in report.class_tables(dataset):
            body = [
                " & ".join(
                    [
                        _latex_escaped(method),
                        *(_latex_number(own.get(c, math.nan), facts.decimals) for c in classes),
                    ]
                )
                + r" \\"
                for method, own in parts.items()
            ]
            caption = f"{_latex_escaped(dataset)}: AP of each class, {_latex_escaped(facts.name)}."
            blocks.append(_latex_table(caption, [_latex_escaped(c) for c in classes], body))
    return "\n\n".join(blocks) + "\n"


def rich_table(report: Report, dataset: str) -> Any:
    """A `rich.table.Table`; the best is bold, the second best underlined."""
    from rich.table import Table
    from rich.text import Text

    columns = report.columns(dataset)
    # as Text, since a label may look like markup
    title = Text(f"{dataset} ({len(report.datasets[dataset])} photos)")
    table = Table(title=title, box=None)
    table.add_column("method", no_wrap=True)
    for facts in columns:
        table.add_column(Text(facts.heading), justify="right", no_wrap=True)
    for method, cells in report.table(dataset).items():
        row = [Text(method)]
        for facts in columns:
            cell = cells.get(facts.name)
            text = "–" if cell is None else number(cell.value, facts.decimals)
            if cell is not None and (remark := remarks(cell, facts.decimals)):
                text += f" ({remark})"
            style = {1: "bold green", 2: "underline"}.get(0 if cell is None else cell.place, "")
            row.append(Text(text, style=style))
        table.add_row(*row)
    return table


def rich_class_tables(report: Report, dataset: str) -> list[Any]:
    """A `rich.table.Table` for each metric that has classes."""
    from rich.table import Table
    from rich.text import Text

    tables = []
    for facts, classes, parts in report.class_tables(dataset):
        table = Table(title=Text(f"{dataset}: {facts.name} of each class"), box=None)
        table.add_column("method", no_wrap=True)
        for label in classes:
            table.add_column(Text(label), justify="right", no_wrap=True)
        for method, own in parts.items():
            shown = [Text(number(own.get(c, math.nan), facts.decimals)) for c in classes]
            table.add_row(Text(method), *shown)
        tables.append(table)
    return tables


def _markdown_cell(cell: Cell | None, facts: MetricFacts) -> str:
    if cell is None or math.isnan(cell.value):
        return "–" if cell is None or not cell.failed else f"– ({cell.failed} failed)"
    text = number(cell.value, facts.decimals)
    text = {1: f"**{text}**", 2: f"*{text}*"}.get(cell.place, text)
    if not math.isnan(cell.interval.low):
        low, high = (number(v, facts.decimals) for v in cell.interval)
        text += f" [{low}, {high}]"
    remark = remarks(cell, facts.decimals)
    return text + (f" ({remark})" if remark else "")


def _latex_cell(cell: Cell | None, facts: MetricFacts) -> str:
    if cell is None:
        return "--"
    text = _latex_number(cell.value, facts.decimals)
    text = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(cell.place, text)
    if not math.isnan(cell.interval.low):
        low, high = (_latex_number(v, facts.decimals) for v in cell.interval)
        text += rf" {{\scriptsize [{low}, {high}]}}"
    remark = remarks(cell, facts.decimals).replace("∞", r"$\infty$")
    return text + (rf" {{\scriptsize ({remark})}}" if remark else "")


def _latex_number(value: float, decimals: int) -> str:
    text = number(value, decimals)
    return {"–": "--", "∞": r"$\infty$", "−∞": r"$-\infty$"}.get(text, text)


def _latex_table(caption: str, heads: list[str], body: list[str]) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{l{'r' * len(heads)}}}",
            r"\toprule",
            " & ".join(["method", *heads]) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _class_lines(report: Report, dataset: str) -> list[str]:
    lines = []
    for facts, classes, parts in report.class_tables(dataset):
        lines += ["", f"AP of each class, {facts.heading}:", ""]
        lines.append("| method | " + " | ".join(_escaped(label) for label in classes) + " |")
        lines.append("|---|" + "---|" * len(classes))
        for method, own in parts.items():
            shown = [number(own.get(label, math.nan), facts.decimals) for label in classes]
            lines.append(f"| {_escaped(method)} | " + " | ".join(shown) + " |")
    return lines


def _published_lines(report: Report, dataset: str, columns: list[MetricFacts]) -> list[str]:
    known = published_for(report.names_of(dataset), [facts.name for facts in columns])
    if not known:
        return []
    lines = ["", "Published, not measured here:", ""]
    lines.append("| method | " + " | ".join(f.heading for f in columns) + " | source |")
    lines.append("|---|" + "---|" * (len(columns) + 1))
    for method, scores in known.items():
        shown = [f"{scores[f.name].value:g}" if f.name in scores else "–" for f in columns]
        source = _escaped(sources_of(scores))
        lines.append(f"| {_escaped(method)} | " + " | ".join(shown) + f" | {source} |")
    return lines


def _significance_lines(report: Report, dataset: str, columns: list[MetricFacts]) -> list[str]:
    lines = []
    for facts in columns:
        for (first, second), c in report.comparisons(dataset, facts.name).items():
            if c.photos == 0:
                continue
            low, high = (number(v, facts.decimals) for v in c.interval)
            lines.append(
                f"| {facts.name} | {_escaped(first)} − {_escaped(second)} | "
                f"{number(c.difference, facts.decimals)} | [{low}, {high}] | {c.p_value:.2g} | "
                f"{c.photos} |"
            )
    if not lines:
        return []
    head = ["", f"{PAIRED} (p corrected by Holm within a metric):", ""]
    head += ["| metric | methods | difference | 95 % | p | photos |", "|---|---|---|---|---|---|"]
    return head + lines


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
}
