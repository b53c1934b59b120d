"""The C++ example, compiled and run where ONNX Runtime's headers and library are at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from corun.export import ExportReport
from corun.networks.corun import CORUN

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "cpp"


@pytest.fixture(scope="module")
def dehaze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("needs cmake and a C++ compiler")
    folder = tmp_path_factory.mktemp("build")
    given = os.environ.get("ONNXRUNTIME_ROOT")
    found = subprocess.run(
        ["cmake", "-S", SOURCE, "-B", folder], capture_output=True, text=True, check=False
    )
    if found.returncode and not given and "ONNX Runtime was not found" in found.stderr:
        pytest.skip("needs ONNX Runtime's C++ headers and library; set ONNXRUNTIME_ROOT")
    assert found.returncode == 0, found.stderr
    built = subprocess.run(
        ["cmake", "--build", folder, "--config", "Release"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    assert "warning" not in built.stdout + built.stderr
    return next(path for path in folder.rglob("dehaze*") if path.suffix in ("", ".exe"))


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    texts = [str(word) for word in words]
    return subprocess.run(texts, capture_output=True, text=True, check=False)


def test_it_clears_a_picture(
    dehaze: Path, whole_onnx: ExportReport, cells: CORUN, tmp_path: Path
) -> None:
    hazy = np.random.default_rng(0).integers(0, 256, (45, 67, 3), np.uint8)
    content = b"P6 # a comment\n67\n# another\n45 255\n" + hazy.tobytes()
    (tmp_path / "hazy.ppm").write_bytes(content)
    done = run(dehaze, whole_onnx.path, tmp_path / "hazy.ppm", tmp_path / "clear.ppm")
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = cells.explained(torch.from_numpy(hazy).permute(2, 0, 1)[None] / 255)
    with Image.open(tmp_path / "clear.ppm") as image:
        clear = np.asarray(image)
    scene = expected.scene[0].clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(clear / 255 - scene).max() <= 0.51 / 255
    said = [float(entry) for entry in done.stdout.removeprefix("airlight ").split(",")]
    np.testing.assert_allclose(said, expected.airlight.flatten(), atol=1e-4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"P5\n2 2\n255\n" + bytes(4), "not a binary PPM"),
        (b"P6\n2 two\n", "header is damaged"),
        (b"P6\n2 2\n255\n" + bytes(11), "ends before its last row"),
        (b"P6\n60000 60000\n255\n", "ends before its last row"),
        (b"P6\n0 2\n255\n", "not between 1 and 65536"),
        (b"P6\n2 2\n65535\n" + bytes(24), "8 bits"),
        (b"", "not a binary PPM"),
    ],
)
def test_a_damaged_picture_is_one_line_and_nothing_written(
    dehaze: Path, whole_onnx: ExportReport, tmp_path: Path, content: bytes, words: str
) -> None:
    source = tmp_path / "hazy.ppm"
    source.write_bytes(content)
    done = run(dehaze, whole_onnx.path, source, tmp_path / "clear.ppm")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{source}: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["hazy.ppm"]


def test_what_is_no_graph_is_named(dehaze: Path, tmp_path: Path) -> None:
    (tmp_path / "hazy.ppm").write_bytes(b"P6\n2 2\n255\n" + bytes(12))
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    done = run(dehaze, tmp_path / "no.onnx", tmp_path / "hazy.ppm", tmp_path / "clear.ppm")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'no.onnx'}: ")
    assert not (tmp_path / "clear.ppm").exists()
