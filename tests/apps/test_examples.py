"""The examples run as they stand, and do what they say."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_dehaze_folder(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLES / "dehaze_folder.py"))
    example["main"](photos, tmp_path / "clear", "dcp")
    assert {path.name for path in (tmp_path / "clear").iterdir()} == {"a.jpg", "b.png", "c.tif"}
    assert "notes.txt: not a picture" in capsys.readouterr().err


def test_own_network(photos: Path, tmp_path: Path) -> None:
    example = runpy.run_path(str(EXAMPLES / "own_network.py"))
    example["main"](photos / "b.png", tmp_path / "clear.png")
    with Image.open(tmp_path / "clear.png") as image:
        clear = np.asarray(image)
    assert clear.shape == (24, 32, 3)
    assert clear.min() < 10
    assert clear.max() > 245


def test_known_haze(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLES / "known_haze.py"))
    example["main"]("dcp", 48, 64)
    rows = capsys.readouterr().out.splitlines()[1:]
    numbers = np.array([[float(entry) for entry in row.split()] for row in rows])
    assert (np.diff(numbers[:, 1]) < 0).all()  # thicker haze is farther from the truth
    assert (numbers[:, 3] > numbers[:, 1]).all()  # and undoing the known haze is nearer
