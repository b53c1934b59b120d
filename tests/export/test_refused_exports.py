"""What cannot be exported is said in one line, at once, and leaves nothing behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from corun.apps.cli import app
from corun.errors import ExportError, MissingExtraError, WeightsError
from corun.export import export_model, exporting, parity
from corun.export.exported import Exported
from corun.export.parity import Differences, Size, check_sizes, require_close
from corun.export.parts import StagesPart, WholePart
from corun.networks.corun import CORUN


def quick(path: Path) -> dict[str, object]:
    """The quickest export there is."""
    return {"path": path / "stages.pt2", "format": "torch-export", "part": "stages"}


def test_what_fails_its_check_is_not_left_behind(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parity.GREATEST, "float32", -1.0)
    output = tmp_path / "stages.pt2"
    arguments = ["export", weights, "-o", output, "--format", "torch-export", "--part", "stages"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"corun: {output}: not written, its check failed: gain differs")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_check_keeps_the_file_that_was_there(
    cells: CORUN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        exporting,
        "_made",
        lambda part, *_: Exported({".onnx": b"new"}, lambda x: tuple(y + 1 for y in part(x))),
    )
    path = tmp_path / "there.onnx"
    path.write_bytes(b"before")
    with pytest.raises(ExportError, match="its check failed"):
        export_model(cells, path, overwrite=True)
    assert path.read_bytes() == b"before"
    with pytest.raises(ExportError, match="exists already; add --overwrite"):
        export_model(cells, path)


def test_the_command_prints_the_differences(weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "stages.pt2"
    arguments = ["export", weights, "-o", output, "--format", "torch-export", "--part", "stages"]
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[1:5]] == ["1x4x8", "1x24x36", "2x16x24", "1x40x48"]
    assert all("gain" in line and "airlight" in line for line in lines[1:5])
    assert lines[5].startswith(f"{weights} -> {output} (torch-export, stages, float32, ")
    assert [path.name for path in output.parent.iterdir()] == ["stages.pt2"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "coreml"}, "coreml: no such format; the formats are onnx, openvino, torch"),
        ({"precision": "bf16"}, "bf16: no such precision; the precisions are float32, float16"),
        ({"part": "half"}, "half: no such part; the parts are whole, stages"),
        ({"format": "onnx"}, "must end in .onnx"),
        ({"precision": "int8"}, "torch-export has no int8; use --format onnx"),
        ({"precision": "int8", "format": "onnx"}, "add --photos DIR"),
        ({"photos": "photos"}, "photos are for --precision int8 only"),
    ],
)
def test_impossible_wishes_are_named(
    cells: CORUN, tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        export_model(cells, **{**quick(tmp_path), **changed})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class Branching(torch.nn.Module):
    """Of a picture's mean depends what it does, which no graph can say."""

    def forward(self, hazy: torch.Tensor) -> torch.Tensor:
        return hazy if float(hazy.mean()) > 0.5 else hazy / 2


def test_networks_of_others_go_whole_and_without_branches(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="has no stages, which are CORUN's"):
        export_model(Branching(), **quick(tmp_path))
    whole = {**quick(tmp_path), "part": "whole"}
    with pytest.raises(ExportError, match="cannot be exported for pictures of any size") as caught:
        export_model(Branching(), **whole)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WeightsError, match="neither a model's name nor a file"):
        export_model("nothing", **quick(tmp_path))


def test_a_folder_without_photos(weights: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ExportError, match="holds no photo"):
        export_model(weights, tmp_path / "a.onnx", precision="int8", photos=empty)


@pytest.mark.parametrize(
    ("package", "file_format", "extra"),
    [("onnxscript", "onnx", "export"), ("openvino", "openvino", "openvino")],
)
def test_a_missing_extra_is_answered_with_its_install_line(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    file_format: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    suffix = exporting.SUFFIXES[file_format]
    with pytest.raises(MissingExtraError) as caught:
        export_model(weights, tmp_path / f"m{suffix}", format=file_format)
    line = f"{package} is not installed; install it with: pip install 'corun-dehaze[{extra}]'"
    assert str(caught.value) == line


def test_a_folder_that_cannot_be_made(cells: CORUN, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"cannot be written .*; choose another place with -o"):
        export_model(cells, **quick(tmp_path / "file"))


def test_the_check_has_an_odd_size_a_batch_and_one_above_the_working_size(
    cells: CORUN, plain: CORUN
) -> None:
    for network in (cells, plain):
        sizes = check_sizes(WholePart(network))
        assert len(set(sizes)) == 4
        assert any(size.height % 2 and size.width % 2 for size in sizes)
        assert any(size.batch == 2 for size in sizes)
        multiple = network.config.multiple
        for size in check_sizes(StagesPart(network)):
            assert size.height % multiple == size.width % multiple == 0
    largest = check_sizes(WholePart(cells))[-1]
    assert largest.height * largest.width > cells.config.working_pixels


def test_limits_of_eight_bits_are_of_the_scene() -> None:
    size = Size(1, 2, 3)
    close = Differences({"scene": 1.0}, 0.9 / 255, 3.9 / 255)
    require_close({size: close}, "int8", "a.onnx")
    with pytest.raises(ExportError, match=r"the scene's mean differs .* by 0.0055 at 1x2x3"):
        require_close({size: Differences({}, 1.4 / 255, 0.0)}, "int8", "a.onnx")
    with pytest.raises(ExportError, match=r"99.9 % of the scene differs .* give other --photos"):
        require_close({size: Differences({}, 0.0, 4.1 / 255)}, "int8", "a.onnx")
    with pytest.raises(ExportError, match="differs from torch by nan"):
        require_close({size: Differences({"scene": float("nan")}, 0, 0)}, "float32", "a.onnx")


def test_a_wrong_shape_is_no_agreement(cells: CORUN) -> None:
    part = WholePart(cells)
    found = parity.differences(
        part, lambda x: (*part(x)[:2], torch.zeros(1)), torch.rand(1, 3, 8, 8)
    )
    assert found.greatest["airlight"] == float("inf")
