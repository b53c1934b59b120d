"""`corun export`: a model as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from corun.apps import options

if TYPE_CHECKING:
    from corun.export.exporting import FormatName, PrecisionName
    from corun.export.parity import Differences, Size
    from corun.export.parts import PartName

HELP = (
    "Write a model as a file for other programs.\n\n"
    "The file holds at any height, width and batch, and is checked against torch at four sizes; "
    "what fails its check is not written.\n\n"
    "corun export corun-lite -o lite.onnx\n\n"
    "corun export corun-lite -o lite.xml --format openvino --precision float16"
)


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name of `corun models`, a weights file, or hf://owner/repository/file.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to: .onnx, .xml or .pt2.")
    ],
    file_format: Annotated[
        str, typer.Option("--format", help="onnx, openvino or torch-export.")
    ] = "onnx",
    part: Annotated[
        str,
        typer.Option(
            help="whole: a picture of any size to the clear picture; "
            "stages: a working picture to coefficient maps."
        ),
    ] = "whole",
    precision: Annotated[
        str,
        typer.Option(
            help="float32; float16 (weights stored by half, computed in float32); "
            "int8 (dense convolutions in 8 bits)."
        ),
    ] = "float32",
    photos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Hazy photos that int8 is calibrated and checked on."),
    ] = None,
    overwrite: options.Overwrite = False,
    trust: options.Trust = False,
) -> None:
    """Write a model as a file for other programs."""
    from corun.export.exporting import export_model

    def show(size: Size, found: Differences) -> None:
        each = ", ".join(f"{name} {value:.1e}" for name, value in found.greatest.items())
        scene = f"; scene mean {found.scene_mean:.1e}, 99.9 % below {found.scene_most:.1e}"
        print(f"{size}: {each}" + (scene if precision == "int8" else ""), flush=True)

    print("greatest differences from torch, batch x height x width:", flush=True)
    made = export_model(
        model,
        output,
        format=cast("FormatName", file_format),
        part=cast("PartName", part),
        precision=cast("PrecisionName", precision),
        photos=photos,
        overwrite=overwrite,
        trust=trust,
        report=show,
    )
    if made.scores:
        each = ", ".join(f"{n} {s.reference:.3f} {s.exported:.3f}" for n, s in made.scores.items())
        print(f"scores of the clear photos, torch's and the file's: {each}")
    opset = "" if made.opset is None else f", opset {made.opset}"
    print(
        f"{model} -> {made.path} ({made.format}, {made.part}, {made.precision}{opset}, "
        f"{made.size / 1e6:.1f} MB)"
    )
