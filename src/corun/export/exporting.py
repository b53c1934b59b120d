"""One call from a model to a checked file for another program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import CorunError, ExportError, one_line
from corun.export.brought_part import BroughtPart
from corun.export.exported import Exported, Facts, facts_about, require_place, write_files
from corun.export.onnx_graphs import (
    OPSET,
    onnx_file,
    onnx_graph,
    require_onnx,
    with_facts,
    with_half_weights,
)
from corun.export.openvino_models import openvino_model, require_openvino
from corun.export.parity import (
    Differences,
    Size,
    check_sizes,
    differences,
    picture_of,
    require_close,
)
from corun.export.parts import Part, PartName, part_of
from corun.export.programs import torch_program
from corun.export.quantisation import calibration_pictures, with_whole_numbers
from corun.export.scores import Beside, scores_beside
from corun.networks.adapted import load_any
from corun.networks.checkpoints import LoadedNetwork
from corun.networks.corun import CORUN
from corun.networks.planar import layers_as_written

FormatName = Literal["onnx", "openvino", "torch-export"]
PrecisionName = Literal["float32", "float16", "int8"]

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
"""What the name of a file must end in, by format."""
PRECISIONS: tuple[str, ...] = get_args(PrecisionName)


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how close it is.

    Attributes:
        path: the file (OpenVINO has a .bin of the same name beside it).
        format: one of :data:`SUFFIXES`.
        part: ``"whole"`` or ``"stages"``.
        precision: one of :data:`PRECISIONS`.
        opset: of the ONNX graph, or None for torch-export.
        size: of all files, bytes.
        differences: from torch, by the size of the batch.
        facts: what the file says about itself.
        scores: in 8 bits, mean scores of the clear photos in torch and in the file, by metric.
    """

    path: Path
    format: str
    part: str
    precision: str
    opset: int | None
    size: int
    differences: dict[Size, Differences]
    facts: Facts
    scores: dict[str, Beside]


def export_model(
    model: str | Path | nn.Module,
    path: Path | str,
    *,
    format: FormatName = "onnx",  # noqa: A002
    part: PartName = "whole",
    precision: PrecisionName = "float32",
    photos: Path | str | None = None,
    overwrite: bool = False,
    trust: bool = False,
    report: Callable[[Size, Differences], None] | None = None,
) -> ExportReport:
    """Write a network for other programs, once it is shown to do the same as torch.

    Args:
        model: a name of ``corun models``, a weights file, hf://owner/repository/file, or a network;
            one that is no CORUN goes whole, in float32 or float16, if its code can be traced.
        path: where to; it ends in .onnx, .xml (a .bin comes beside it) or .pt2.
        format: for ONNX Runtime and others, for OpenVINO, or for ``torch.export.load``.
        part: ``"whole"``, a picture of any size to its clear picture; or ``"stages"``, a working
            picture to the maps that clear the photo.
        precision: ``"float32"``; ``"float16"``, weights stored by half and widened at load, the
            computation in float32; ``"int8"`` (not for torch-export), dense convolutions in 8 bits.
        photos: a folder of hazy photos, for int8.
        overwrite: replace an existing file.
        trust: see :func:`corun.load`.
        report: called after each checked batch.

    Raises:
        ExportError: no such format, part or precision; the name does not fit; the network has no
            such part or cannot be traced; the check failed (nothing is written then); the file
            cannot be written.
        MissingExtraError: what the format needs is not installed.
        WeightsError: the model cannot be loaded.
        DataError: there is no such folder of photos.
        ImageFileError: a photo cannot be read.
    """
    path = Path(path)
    _require_possible(path, format, precision, photos, overwrite)
    loaded = _loaded(model, trust)
    exported_part = part_of(loaded.network, part, loaded.name)
    network = exported_part.network
    pictures = []
    if precision == "int8" and photos is not None:
        if not isinstance(network, CORUN):
            raise ExportError(f"{loaded.name}: int8 is for CORUN networks; use --precision float16")
        pictures = calibration_pictures(Path(photos), network.config)
    facts = facts_about(loaded, network, part, precision, exported_part.multiple)
    try:
        exported = _made(exported_part, format, precision, facts, pictures)
    except Exception as error:  # of torch's exporters, which meet the code of others
        if isinstance(network, CORUN) or isinstance(error, CorunError):
            raise
        raise ExportError(
            f"{loaded.name}: its code cannot be exported for pictures of any size "
            f"({one_line(error)[:300]}); rewrite what branches on sizes"
        ) from error
    found: dict[Size, Differences] = {}
    for size in check_sizes(exported_part):
        found[size] = differences(exported_part, exported.run, picture_of(size, pictures))
        if report is not None:
            report(size, found[size])
    require_close(found, precision, str(path))
    scores = scores_beside(exported_part, exported.run, pictures) if pictures else {}
    write_files(path, exported.files)
    return ExportReport(
        path=path,
        format=format,
        part=part,
        precision=precision,
        opset=None if format == "torch-export" else OPSET,
        size=sum(len(content) for content in exported.files.values()),
        differences=found,
        facts=facts,
        scores=scores,
    )


def _require_possible(
    path: Path, file_format: str, precision: str, photos: Path | str | None, overwrite: bool
) -> None:
    """Refuse at once what would fail after minutes."""
    if file_format not in SUFFIXES:
        raise ExportError(f"{file_format}: no such format; the formats are {', '.join(SUFFIXES)}")
    if precision not in PRECISIONS:
        raise ExportError(
            f"{precision}: no such precision; the precisions are {', '.join(PRECISIONS)}"
        )
    if precision == "int8" and file_format == "torch-export":
        raise ExportError(f"{path}: torch-export has no int8; use --format onnx or openvino")
    if precision == "int8" and photos is None:
        raise ExportError(f"{path}: int8 is calibrated on photos; add --photos DIR")
    if precision != "int8" and photos is not None:
        raise ExportError(f"{photos}: photos are for --precision int8 only; leave them out")
    suffix = SUFFIXES[file_format]
    if path.suffix != suffix:
        raise ExportError(f"{path}: the name of an {file_format} file must end in {suffix}")
    if path.exists() and not overwrite:
        raise ExportError(f"{path}: exists already; add --overwrite")
    require_place(path)
    if file_format != "torch-export":
        require_onnx()
    if file_format == "openvino":
        require_openvino()


def _loaded(model: str | Path | nn.Module, trust: bool) -> LoadedNetwork:
    if isinstance(model, nn.Module):
        return LoadedNetwork(model.eval(), "custom")
    return load_any(model, trust=trust)


def _made(
    part: Part,
    file_format: str,
    precision: str,
    facts: Facts,
    pictures: list[Float[Tensor, "1 3 h w"]],
) -> Exported:
    half = precision == "float16"
    if file_format == "torch-export":
        return torch_program(part, facts, half=half)
    if precision == "int8" and not isinstance(part, BroughtPart):
        with layers_as_written():  # which stay in float32 is known by their weights
            model = onnx_graph(part)
        model = with_whole_numbers(model, part, pictures)
    else:
        model = onnx_graph(part)
    if file_format == "openvino":
        return openvino_model(model, part, facts, half=half)
    if half:
        model = with_half_weights(model, part)
    return onnx_file(with_facts(model, facts), part)
