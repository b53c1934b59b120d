"""Figures: the same bytes twice, insets where the methods differ, and detections as drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_pictures import save_levels
from PIL import Image

from corun.errors import ConfigurationError, DataError
from corun.evaluation.figures.comparison_grid import (
    Place,
    _most_different,
    comparison_grid,
    parse_place,
)
from corun.evaluation.figures.figure_files import save_figure
from corun.evaluation.figures.picture_figures import (
    density_figure,
    detection_figure,
    stages_figure,
)
from corun.evaluation.figures.score_scatter import score_scatter
from corun.evaluation.report import MetricFacts, Report, Score
from corun.metrics.detection import Detections
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig

pytest.importorskip("matplotlib", reason="needs matplotlib")
RNG = np.random.default_rng(8)


def rows_of(tmp_path: Path) -> list[tuple[str, dict[str, Path]]]:
    base = RNG.integers(60, 120, (36, 48, 3)).astype(np.uint8)
    changed = base.copy()
    changed[20:30, 30:40] = 250
    return [
        (
            "street",
            {
                "hazy": save_levels(tmp_path / "a.png", base),
                "ours": save_levels(tmp_path / "b.png", changed),
            },
        ),
        ("field", {"hazy": save_levels(tmp_path / "c.png", base[:, ::-1].copy())}),
    ]


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_the_same_grid_is_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    rows = rows_of(tmp_path)
    first, second = (
        save_figure(
            comparison_grid(rows, ["hazy", "ours"], insets="auto"),
            tmp_path / f"{k}{suffix}",
            dpi=60,
        )
        for k in range(2)
    )
    assert first.read_bytes() == second.read_bytes()
    if suffix == ".png":
        with Image.open(first) as image:
            assert image.width > image.height / 2
            assert "Software" not in image.info


def test_insets_go_where_the_methods_differ() -> None:
    first = np.zeros((40, 60, 3))
    second = first.copy()
    second[10:22, 40:52] = 1
    place = _most_different([first, second], side=0.2)
    assert place.left * 60 == pytest.approx(40)
    assert place.top * 40 == pytest.approx(10)


def test_places_as_written() -> None:
    assert parse_place("0.4,0.3,0.15") == Place(0.4, 0.3, 0.15)
    for text in ("0.4,0.3", "a,b,c", "1.2,0,0.1", "0,0,0"):
        with pytest.raises(ConfigurationError):
            parse_place(text)


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs photos and methods"):
        comparison_grid([], ["hazy"])
    figure = comparison_grid(rows_of(tmp_path), ["hazy", "ours"])
    with pytest.raises(ConfigurationError, match=r"written as \.png or \.pdf"):
        save_figure(figure, tmp_path / "a.jpg")


def test_every_stage_is_shown(tmp_path: Path) -> None:
    network = CORUN(CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=1)).eval()
    figure = stages_figure(network, torch.rand(1, 3, 16, 24))
    titles = {axes.get_title() for axes in figure.axes}
    assert {"P", "T̂ 1", "T 1", "Ĵ 1", "J 1", "T̂ 2", "T 2", "Ĵ 2", "J 2"} <= titles


def test_detections_are_drawn_once_each() -> None:
    picture = np.zeros((40, 60, 3), np.float32)
    boxes = np.array([[5.0, 6, 25, 30], [0, 0, 3, 3]])
    found = {
        "before": Detections(np.zeros((0, 4)), np.zeros(0), ()),
        "after": Detections(boxes, np.array([0.9, 0.1]), ("car", "bus")),
    }
    figure = detection_figure({"before": picture, "after": picture}, found)
    before, after = figure.axes
    assert before.get_title() == "before: 0 found"
    assert after.get_title() == "after: 1 found"
    (patch,) = after.patches
    assert patch.get_bbox().extents.tolist() == [5, 6, 25, 30]


def test_density_maps(tmp_path: Path) -> None:
    pytest.importorskip("pyfade", reason="needs fade-python")
    picture = RNG.random((48, 64, 3)).astype(np.float32)
    figure = density_figure({"clear": picture, "hazy": picture * 0.3 + 0.65})
    scores = [float(a.get_title().split()[1]) for a in figure.axes if "FADE" in a.get_title()]
    assert scores[0] < scores[1]


def test_scatter(tmp_path: Path) -> None:
    facts = (MetricFacts("fade", "1", "lower"), MetricFacts("brightness", "1", "neither"))
    scores = tuple(
        Score("d", method, photo, metric, value)
        for method in ("a", "b")
        for photo, value in (("p", 0.3), ("q", 0.5))
        for metric in ("fade", "brightness")
    )
    report = Report(("a", "b"), {"d": ("p", "q")}, facts, scores)
    figure = score_scatter(report, "d", "brightness", "fade")
    assert figure.axes[0].get_ylabel() == "fade ↓"
    assert len(figure.axes[0].collections) == 4
    with pytest.raises(DataError, match="niqe: not in the report"):
        score_scatter(report, "d", "niqe", "fade")


def test_a_figure_never_takes_the_place_of_what_it_shows(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from corun.apps.cli import app

    photo = save_levels(tmp_path / "a.png", RNG.integers(0, 256, (36, 48, 3)).astype(np.uint8))
    (tmp_path / "link.png").symlink_to(photo)
    before = photo.read_bytes()
    for words in (["density", photo], ["stages", photo], ["detections", photo, "--detector", "x"]):
        for output in (photo, tmp_path / "link.png"):
            done = CliRunner().invoke(app, [*map(str, ["figure", *words, "-o", output])])
            assert done.exit_code == 1
            assert "is shown in the figure; name another file" in done.stderr
    assert photo.read_bytes() == before


def test_a_figure_replaces_no_file_unasked(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from corun.apps.cli import app

    photo = save_levels(tmp_path / "a.png", RNG.integers(0, 256, (36, 48, 3)).astype(np.uint8))
    output = tmp_path / "mine.png"
    output.write_text("mine")
    for words in (["density", photo], ["stages", photo], ["detections", photo, "--detector", "x"]):
        done = CliRunner().invoke(app, [*map(str, ["figure", *words, "-o", output])])
        assert done.exit_code == 1
        assert "mine.png: exists already; add --overwrite" in done.stderr
        assert output.read_text() == "mine"
    figure = density_figure({"a": RNG.random((16, 16, 3))})
    with pytest.raises(DataError, match=r"mine\.png: cannot be written .*; name another file"):
        save_figure(figure, output)  # where it came meanwhile
    asked = ["figure", "density", photo, "-o", output, "--overwrite"]
    assert CliRunner().invoke(app, [*map(str, asked)]).exit_code == 0
    assert output.read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    figure = density_figure({"a": RNG.random((16, 16, 3))})
    with pytest.raises(DataError, match=r"f\.png: cannot be written .*; name another file"):
        save_figure(figure, tmp_path / "file" / "f.png")


@pytest.mark.parametrize("size", [(5, 7), (15, 200)])
def test_pictures_too_small_for_a_density_map_are_named(size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=r"tiny\.png: .* FADE needs at least 16×16 pixels"):
        density_figure({"tiny.png": np.zeros((*size, 3))})
