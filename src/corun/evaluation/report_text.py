"""A report as a terminal table, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from corun.evaluation.published import published_for
from corun.evaluation.report import Cell, MetricFacts, Report


def number(value: float, decimals: int) -> str:
    """A value as tables show it; a dash for none."""
    return "–" if math.isnan(value) else f"{value:.{decimals}f}"


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
        lines += ["", "Mean over the photos and 95 % bootstrap interval; **best**, *second best*."]
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
        blocks.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    rf"\caption{{{_latex_escaped(dataset)}, {len(photos)} photos. "
                    r"Best in bold, second best underlined.}",
                    rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
                    r"\toprule",
                    " & ".join(["method", *heads]) + r" \\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
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
            if cell is not None and cell.failed:
                text += f" ({cell.failed} failed)"
            style = {1: "bold green", 2: "underline"}.get(0 if cell is None else cell.place, "")
            row.append(Text(text, style=style))
        table.add_row(*row)
    return table


def _markdown_cell(cell: Cell | None, facts: MetricFacts) -> str:
    if cell is None or math.isnan(cell.value):
        return "–" if cell is None or not cell.failed else f"– ({cell.failed} failed)"
    text = number(cell.value, facts.decimals)
    text = {1: f"**{text}**", 2: f"*{text}*"}.get(cell.place, text)
    if not math.isnan(cell.interval.low):
        low, high = (number(v, facts.decimals) for v in cell.interval)
        text += f" [{low}, {high}]"
    return text + (f" ({cell.failed} failed)" if cell.failed else "")


def _latex_cell(cell: Cell | None, facts: MetricFacts) -> str:
    if cell is None or math.isnan(cell.value):
        return "--"
    text = number(cell.value, facts.decimals)
    return {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(cell.place, text)


def _published_lines(report: Report, dataset: str, columns: list[MetricFacts]) -> list[str]:
    known = published_for(report.names_of(dataset), [facts.name for facts in columns])
    if not known:
        return []
    lines = ["", "Published, not measured here:", ""]
    lines.append("| method | " + " | ".join(f.heading for f in columns) + " | source |")
    lines.append("|---|" + "---|" * (len(columns) + 1))
    for method, scores in known.items():
        shown = [f"{scores[f.name].value:g}" if f.name in scores else "–" for f in columns]
        first = next(iter(scores.values()))
        source = _escaped(f"{first.source} ({first.setting})")
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
    head = ["", "Paired differences (sign flips, p corrected by Holm within a metric):", ""]
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
    for plain in "&%$#_{}":
        text = text.replace(plain, "\\" + plain)
    return text
