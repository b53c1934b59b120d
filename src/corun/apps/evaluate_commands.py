"""`corun evaluate`: methods × data sets × metrics to tables and one report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corun.apps import options
from corun.apps.exit_status import FAILED, INTERRUPTED, complain
from corun.errors import ConfigurationError, escaped
from corun.files import same_name

if TYPE_CHECKING:
    from corun.evaluation.plan import DatasetChoice
    from corun.evaluation.report import Report

HELP = """Compare methods on data sets: make results, score them, write tables and a report.

A METHOD is LABEL=SOURCE or SOURCE: input, a model's name, a weights file (.safetensors, .pth,
.onnx), spandrel:FILE, MODULE:CLASS:FILE, command:'prog {input} {output}', or a folder of results.
Data are NAME=DIR or LABEL:NAME=DIR, NAME one of `corun data list`, or a plain folder, LABEL=DIR or
DIR. A second run goes on where the first stopped. The exit status is 1 where something failed.
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
    trust: options.Trust = False,
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
    from typing import cast, get_args

    from corun.apps.progress_bar import ProgressBar
    from corun.dehazing.devices import usable_threads
    from corun.evaluation.methods import parse_method
    from corun.evaluation.output_folder import held
    from corun.evaluation.plan import Plan
    from corun.evaluation.prepared_pictures import SizeRule
    from corun.evaluation.report_files import write_report
    from corun.evaluation.runner import evaluate as run
    from corun.evaluation.scoring import default_metrics
    from corun.metrics.detection_models import DetectorLayout

    _one_of("--sizes", sizes, get_args(SizeRule))
    _one_of("--detector-layout", detector_layout, get_args(DetectorLayout))
    files = dict(map(name_and_file, weights or []))
    names = tuple(name.strip() for name in metrics.split(",") if name.strip())
    datasets = _datasets(data, truth or [])
    made = tuple(parse_method(text, trust=trust) for text in methods)
    if not names:
        names, lacking = default_metrics(files, detector=detector is not None)
        for line in lacking:
            complain(line)
    plan = Plan(
        methods=made,
        datasets=datasets,
        metrics=names,
        output=output,
        long_side=long_side,
        sizes=cast("SizeRule", sizes),
        jobs=jobs or min(8, usable_threads()),
        limit=limit,
        detector=detector,
        layout=cast("DetectorLayout", detector_layout),
        files=files,
    )
    try:
        with held(output):
            with ProgressBar() as bar:
                report = run(plan, command="corun " + shlex.join(sys.argv[1:]), progress=bar.show)
            written = write_report(report, output, published=published, pictures=pictures)
    except KeyboardInterrupt:
        complain("interrupted; what is done is kept, and the same command goes on")
        raise typer.Exit(INTERRUPTED) from None
    _print_tables(report)
    for problem in report.problems:
        complain(problem)
    print("\n".join(escaped(str(path)) for path in written))
    if report.problems:
        raise typer.Exit(FAILED)


def _print_tables(report: Report) -> None:
    from rich.console import Console

    from corun.evaluation.report_text import rich_class_tables, rich_table

    for dataset in report.datasets:
        for table in (rich_table(report, dataset), *rich_class_tables(report, dataset)):
            # a table cut to a narrow terminal would hide digits; the terminal may wrap it instead
            width = max(Console().width, Console(width=1000).measure(table).maximum)
            Console(highlight=False, width=width).print(table)


def _datasets(data: list[str], truth: list[str]) -> tuple[DatasetChoice, ...]:
    from dataclasses import replace

    from corun.evaluation.plan import parse_dataset

    boxes = {escaped(same_name(label)): file for label, file in map(name_and_file, truth)}
    sets = [parse_dataset(text) for text in data]
    sets = [replace(entry, truth=boxes.pop(entry.label, None)) for entry in sets]
    if boxes:
        raise ConfigurationError(f"--truth {next(iter(boxes))}: no data set of that label")
    return tuple(sets)


def name_and_file(text: str) -> tuple[str, Path]:
    """``NAME=FILE``.

    Raises:
        ConfigurationError: it is not of that form, or there is no such file.
    """
    from corun.evaluation.methods import existing

    name, separator, file = text.partition("=")
    found = existing(file)
    if not separator or found is None:
        raise ConfigurationError(f"{text}: write NAME=FILE, of a file that is there")
    return name, found


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{option} {value}: give {', '.join(allowed)}")
