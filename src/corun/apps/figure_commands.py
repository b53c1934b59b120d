"""`corun figure`: the pictures of a paper, PNG or PDF, the same bytes each time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corun.apps import options
from corun.apps.command_group import CorunGroup
from corun.apps.exit_status import require_new
from corun.errors import ConfigurationError, escaped
from corun.files import same_name

figure_app = typer.Typer(
    cls=CorunGroup,
    no_args_is_help=True,
    help="Comparison grids, stages, density maps, detections, scatter plots; PNG or PDF.",
)
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help=".png or .pdf.")]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Of one size.")]
ReportFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Of corun evaluate.")]


@figure_app.command("grid")
def grid(
    folder: ReportFolder,
    output: Output,
    data: Annotated[str | None, typer.Option(help="Data set; the first without.")] = None,
    photo: Annotated[list[str] | None, typer.Option(help="Rows; repeat for more.")] = None,
    inset: Annotated[
        list[str] | None,
        typer.Option(help="auto, or LEFT,TOP,SIDE in shares of the picture; repeat for more."),
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Rows of photos, columns of methods, with zoomed insets."""
    from corun.errors import DataError
    from corun.evaluation.figures.comparison_grid import Place, comparison_grid, parse_place
    from corun.evaluation.report_files import load_report

    report = load_report(folder)
    chosen = data or next(iter(report.datasets))
    if chosen not in report.datasets:
        raise DataError(f"{chosen}: not in the report; it has {', '.join(report.datasets)}")
    pictures = report.pictures.get(chosen, {})
    names = list(map(same_name, photo or report.datasets[chosen][:4]))
    for name in names:
        if name not in report.datasets[chosen]:
            raise DataError(f"{name}: no photo of {chosen}")
    rows = [
        (name, {m: Path(own[name]) for m, own in pictures.items() if name in own}) for name in names
    ]
    insets = inset or []
    places: list[Place] | Literal["auto"] = (
        "auto" if insets == ["auto"] else [parse_place(text) for text in insets]
    )
    _refuse_input(output, [path for _, own in rows for path in own.values()])
    require_new(output, overwrite)
    _save(comparison_grid(rows, report.methods, insets=places), output, overwrite)


@figure_app.command("scatter")
def scatter(
    folder: ReportFolder,
    output: Output,
    x: Annotated[str, typer.Option(help="Metric along the horizontal axis.")] = "fade",
    y: Annotated[str, typer.Option(help="Metric along the vertical axis.")] = "brightness",
    data: Annotated[str | None, typer.Option(help="Data set; the first without.")] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Two metrics against each other."""
    from corun.evaluation.figures.score_scatter import score_scatter
    from corun.evaluation.report_files import load_report

    require_new(output, overwrite)
    report = load_report(folder)
    _save(score_scatter(report, data or next(iter(report.datasets)), x, y), output, overwrite)


@figure_app.command("stages")
def stages(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A hazy photo.")],
    output: Output,
    model: Annotated[str, typer.Option(help="A model's name or weights file.")] = "corun-lite",
    overwrite: options.Overwrite = False,
) -> None:
    """J and T of each unfolding stage."""
    from corun.data.images import read_rgb
    from corun.evaluation.figures.picture_figures import stages_figure
    from corun.networks.checkpoints import load_network
    from corun.networks.corun import CORUN

    _refuse_input(output, [image])
    require_new(output, overwrite)
    network = load_network(model).network
    if not isinstance(network, CORUN):
        raise ConfigurationError(f"{model}: has no stages; give a CORUN")
    _save(stages_figure(network, read_rgb(image)[None]), output, overwrite)


@figure_app.command("density")
def density(images: Images, output: Output, overwrite: options.Overwrite = False) -> None:
    """Pictures above their FADE haze-density maps."""
    from corun.evaluation.figures.picture_figures import density_figure
    from corun.pictures.colours import read_colours

    _refuse_input(output, images)
    require_new(output, overwrite)
    shown = {escaped(str(path)): read_colours(path) for path in images}
    _save(density_figure(shown), output, overwrite)


@figure_app.command("detections")
def detections(
    images: Images,
    output: Output,
    detector: Annotated[str, typer.Option(metavar="FILE.onnx", help="The detector.")],
    overwrite: options.Overwrite = False,
) -> None:
    """What a detector finds in each picture, such as before and after."""
    import numpy as np

    from corun.evaluation.figures.picture_figures import detection_figure
    from corun.metrics.detection_models import load_detector
    from corun.pictures.colours import read_colours

    _refuse_input(output, images)
    require_new(output, overwrite)
    loaded = load_detector(detector)
    pictures = {escaped(str(path)): read_colours(path) for path in images}
    found = {
        name: loaded(np.ascontiguousarray((picture * 255).round().astype(np.uint8)))
        for name, picture in pictures.items()
    }
    _save(detection_figure(pictures, found), output, overwrite)


def _refuse_input(output: Path, inputs: list[Path]) -> None:
    """A figure never takes the place of what it shows."""
    if output.resolve() in {path.resolve() for path in inputs}:
        raise ConfigurationError(f"{output}: is shown in the figure; name another file with -o")


def _save(figure: Any, output: Path, overwrite: bool) -> None:
    from corun.evaluation.figures.figure_files import save_figure

    print(escaped(str(save_figure(figure, output, overwrite=overwrite))))
