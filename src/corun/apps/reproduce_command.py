"""`corun reproduce paper`: the paper's tables, measured where the data are at hand."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corun.apps import options
from corun.apps.command_group import CorunGroup
from corun.apps.evaluate_commands import name_and_file
from corun.apps.exit_status import FAILED, complain
from corun.errors import ConfigurationError, escaped

if TYPE_CHECKING:
    from corun.evaluation.report import Report

reproduce_app = typer.Typer(cls=CorunGroup, no_args_is_help=True, help="Published tables.")


@reproduce_app.command("paper")
def paper(
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "-m", "--method", metavar="LABEL=SOURCE", help="As of corun evaluate; repeat for more."
        ),
    ] = None,
    rtts: Annotated[Path | None, typer.Option(metavar="DIR", help="RESIDE RTTS.")] = None,
    fattal: Annotated[Path | None, typer.Option(metavar="DIR", help="Fattal's photos.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Results, scores, reports.")
    ] = Path("paper"),
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=FILE", help="Weights a metric needs; see corun evaluate."),
    ] = None,
    detector: Annotated[str | None, typer.Option(metavar="FILE.onnx", help="For mAP.")] = None,
    nima: Annotated[bool, typer.Option("--nima", help="Let pyiqa fetch NIMA's weights.")] = False,
    long_side: Annotated[
        int | None, typer.Option(min=16, help="Scale photos down to this longer side first.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Photos of each data set.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    trust: options.Trust = False,
) -> None:
    """Print the paper's tables of real photos; measure what can be measured here.

    Each cell is measured (here), published (in the paper) or impossible, and says why. Without
    photos nothing is measured.
    """
    from corun.evaluation.methods import parse_method
    from corun.evaluation.paper_tables import TABLES, as_markdown, fill, unready_metrics
    from corun.evaluation.plan import DatasetChoice, Plan
    from corun.evaluation.report_files import write_report
    from corun.evaluation.runner import evaluate
    from corun.files import write_atomically
    from corun.networks.registry import MODELS

    chosen = methods or [name for name, card in MODELS.items() if card.trained]
    parsed = [parse_method(text, trust=trust) for text in ("hazy input=input", *chosen)]
    labels = [method.label for method in parsed]
    files = dict(map(name_and_file, weights or []))
    lacking = unready_metrics(files, detector=detector is not None, downloads=nima)
    folders = {"rtts": rtts, "fattal": fattal}
    for name, folder in folders.items():
        if folder is not None and not folder.is_dir():
            raise ConfigurationError(f"--{name} {folder}: no such folder")
    sets = [DatasetChoice(name, name, folder) for name, folder in folders.items() if folder]
    names = tuple(dict.fromkeys(m for table in TABLES for m in table.metrics if m not in lacking))
    report: Report | None = None
    if sets and names:
        plan = Plan(
            methods=tuple(parsed),
            datasets=tuple(sets),
            metrics=names,
            output=output,
            long_side=long_side,
            jobs=jobs,
            limit=limit,
            detector=detector,
            files=files,
        )
        report = evaluate(plan, command="corun " + shlex.join(sys.argv[1:]))
        write_report(report, plan.output, published=True)
    tables = [as_markdown(table.title, fill(table, labels, report, lacking)) for table in TABLES]
    print("\n".join(tables), end="")
    if report is None:
        return
    write_atomically(output / "paper.md", "\n".join(tables))
    print("\n" + escaped(str(output / "paper.md")))
    for problem in report.problems:
        complain(problem)
    if report.problems:
        raise typer.Exit(FAILED)
