"""`corun evaluate`: methods × data sets × metrics to tables and one report."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from corun.apps.command_group import FAILED, complain
from corun.errors import ConfigurationError

HELP = """Compare methods on data sets: make results, score them, write tables and a report.

A METHOD is LABEL=SOURCE or SOURCE: input, a model's name, a weights file (.safetensors, .pth,
.onnx), spandrel:FILE, command:'prog {input} {output}', or a folder of results. Data are NAME=DIR,
LABEL:NAME=DIR or DIR; NAME is one of `corun data list`. A second run goes on where the first
stopped. The exit status is 1 where something failed.
"""


def _list_metrics(wanted: bool) -> bool:
    if wanted:
        from corun.evaluation.scoring import known_metrics

        print("\n".join(known_metrics()))
        raise typer.Exit
    return wanted


def evaluate(
    methods: Annotated[
        list[str], typer.Option("-m", "--method", metavar="METHOD", help="Repeat for more.")
    ],
    data: Annotated[
        list[str], typer.Option("-d", "--data", metavar="NAME=DIR", help="Repeat for more.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Results, scores, reports.")
    ],
    metrics: Annotated[
        str, typer.Option(help="Names with commas; all that can be computed by default.")
    ] = "",
    long_side: Annotated[
        int | None,
        typer.Option(min=16, help="Scale photos down to this longer side first; the tables: 640."),
    ] = None,
    sizes: Annotated[
        str, typer.Option(help="Results of another size than the input: refuse or resize.")
    ] = "refuse",
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Photos of each data set.")] = None,
    detector: Annotated[
        str | None, typer.Option(metavar="FILE.onnx", help="For AP; or package.module:function.")
    ] = None,
    detector_layout: Annotated[str, typer.Option(help="auto, yolox or yolov8.")] = "auto",
    truth: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=FILE.json", help="COCO boxes of a data set without VOC XML."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=FILE", help="Weights a metric needs; see --list-metrics."),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Show papers' numbers beside, marked as such.")
    ] = False,
    pictures: Annotated[int, typer.Option(min=0, help="Photos shown in the HTML.")] = 24,
    list_metrics: Annotated[
        bool,
        typer.Option(
            "--list-metrics",
            callback=_list_metrics,
            is_eager=True,
            help="Print the metrics and the files they need.",
        ),
    ] = False,
) -> None:
    """Compare methods on data sets."""
    from rich.console import Console

    from corun.evaluation.report_files import write_report
    from corun.evaluation.report_text import rich_class_tables, rich_table
    from corun.evaluation.runner import evaluate as run

    plan = _plan(
        methods,
        data,
        output,
        metrics,
        long_side,
        sizes,
        jobs,
        limit,
        detector,
        detector_layout,
        truth or [],
        weights or [],
    )
    with _Bar() as bar:
        report = run(plan, command="corun " + shlex.join(sys.argv[1:]), progress=bar)
    files = write_report(report, output, published=published, pictures=pictures)
    for dataset in report.datasets:
        for table in (rich_table(report, dataset), *rich_class_tables(report, dataset)):
            # a table cut to a narrow terminal would hide digits; the terminal may wrap it instead
            width = max(Console().width, Console(width=1000).measure(table).maximum)
            Console(highlight=False, width=width).print(table)
    for problem in report.problems:
        complain(problem)
    print("\n".join(str(path) for path in files))
    if report.problems:
        raise typer.Exit(FAILED)


def _plan(
    methods: list[str],
    data: list[str],
    output: Path,
    metrics: str,
    long_side: int | None,
    sizes: str,
    jobs: int | None,
    limit: int | None,
    detector: str | None,
    layout: str,
    truth: list[str],
    weights: list[str],
) -> Any:
    from dataclasses import replace
    from typing import cast, get_args

    from corun.evaluation.methods import parse_method
    from corun.evaluation.plan import Plan, parse_dataset
    from corun.evaluation.prepared_pictures import SizeRule
    from corun.evaluation.scoring import default_metrics
    from corun.metrics.detection_models import DetectorLayout

    _one_of("--sizes", sizes, get_args(SizeRule))
    _one_of("--detector-layout", layout, get_args(DetectorLayout))
    boxes = {label: Path(file) for label, file in map(_pair, truth)}
    sets = [parse_dataset(text) for text in data]
    sets = [replace(entry, truth=boxes.pop(entry.label, None)) for entry in sets]
    if boxes:
        raise ConfigurationError(f"--truth {next(iter(boxes))}: no data set of that label")
    files = {name: Path(file) for name, file in map(_pair, weights)}
    names = tuple(name.strip() for name in metrics.split(",") if name.strip())
    if not names:
        names, lacking = default_metrics(files, detector=detector is not None)
        for line in lacking:
            complain(line)
    return Plan(
        methods=tuple(parse_method(text) for text in methods),
        datasets=tuple(sets),
        metrics=names,
        output=output,
        long_side=long_side,
        sizes=cast("SizeRule", sizes),
        jobs=jobs or min(8, os.cpu_count() or 1),
        limit=limit,
        detector=detector,
        layout=cast("DetectorLayout", layout),
        files=files,
    )


def _pair(text: str) -> tuple[str, str]:
    from corun.evaluation.methods import existing

    name, separator, file = text.partition("=")
    if not separator or existing(file) is None:
        raise ConfigurationError(f"{text}: write NAME=FILE, of a file that is there")
    return name, file


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{option} {value}: give {', '.join(allowed)}")


class _Bar:
    """A line for each kind of work, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Shows how far something is."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)
