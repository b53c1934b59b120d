"""`corun evaluate` and `corun figure` as a person calls them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluation_pictures import save_levels
from typer.testing import CliRunner

from corun.apps.cli import app
from corun.evaluation import scoring

RUNNER = CliRunner()


def run(*words: object) -> tuple[int, str]:
    done = RUNNER.invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_a_comparison_and_its_figures(pairs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    status, text = run(
        *("evaluate", "-m", "input", "-m", "DCP=dcp", "-d", f"pairs={pairs}", "-o", output),
        *("--metrics", "brightness,contrast,hue-shift", "--jobs", 1),
    )
    assert status == 0
    assert "brightness" in text
    assert "hue-shift ↓" in text
    assert str(output / "report.html") in text
    assert "DCP" in (output / "report.md").read_text()
    assert "corun" in (output / "report.json").read_text()

    grid = tmp_path / "grid.png"
    assert run("figure", "grid", output, "-o", grid, "--photo", "p1", "--inset", "auto")[0] == 0
    assert grid.read_bytes().startswith(b"\x89PNG")
    scatter = tmp_path / "scatter.pdf"
    axes = ("--x", "contrast", "--y", "brightness")
    assert run("figure", "scatter", output, "-o", scatter, *axes)[0] == 0
    assert scatter.read_bytes().startswith(b"%PDF")


def test_failures_are_told_and_the_status_says_so(pairs: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    save_levels(theirs / "p0.png", np.zeros((30, 40, 3), np.uint8))
    status, text = run(
        *("evaluate", "-m", theirs, "-d", f"pairs={pairs}", "-o", tmp_path / "out"),
        *("--metrics", "brightness", "--jobs", 1),
    )
    assert status == 1
    assert "corun: theirs, pairs/p1: p1: no result of that name" in text
    assert "0.000 (2 failed)" in text


def test_metrics_are_listed_with_what_they_need() -> None:
    status, text = run("evaluate", "--list-metrics")
    assert status == 0
    assert "brisque: BRISQUE" in text
    assert "needs brisque_model, brisque_range" in text
    assert "map-coco: mAP over IoU 0.50 to 0.95, 101 points (COCO) (Lin et al., ECCV 2014)" in text
    assert "higher is better; needs --detector" in text


def test_nothing_is_downloaded_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(scoring, "pyiqa_installed", lambda: True)
    real = scoring.load_metric

    def load(name: str, files: object) -> object:
        asked.append(name)
        return real(name, files)

    monkeypatch.setattr(scoring, "load_metric", load)
    scoring._loaded.cache_clear()
    names, lacking = scoring.default_metrics({}, detector=False)
    assert "brightness" in names
    assert not {"nima", "musiq", "paq2piq", "clipiqa", "brisque"} & {*names, *asked}
    assert any(line.startswith("nima is left out: pyiqa may have to download") for line in lacking)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--metrics", "brisque"), "BRISQUE needs the file brisque_model"),
        (("--metrics", "beauty"), "no metric is called 'beauty'"),
        (("--metrics", "map-voc"), "give the detector too"),
        (("--sizes", "guess"), "--sizes guess: give refuse, resize"),
        (("--weights", "brisque_model=/none"), "of a file that is there"),
        (("--truth", "x=/none"), "of a file that is there"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    pairs: Path, tmp_path: Path, words: tuple[str, str], said: str
) -> None:
    status, text = run(
        *("evaluate", "-m", "input", "-d", f"pairs={pairs}", "-o", tmp_path / "out"), *words
    )
    assert status == 1
    assert said in text
    assert len(text.strip().splitlines()) == 1
