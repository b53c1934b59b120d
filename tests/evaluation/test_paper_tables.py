"""`corun reproduce paper`: each cell is measured, published or impossible, and says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluation_pictures import save_levels
from typer.testing import CliRunner, Result

from corun.apps.cli import app
from corun.evaluation.paper_tables import TABLES, fill, paper_rows


def reproduce(*arguments: str | Path) -> Result:
    texts = ["reproduce", "paper", *map(str, arguments)]
    return CliRunner().invoke(app, texts, catch_exceptions=False)


def cells(printed: str, title: str, method: str) -> list[str]:
    table = printed.split(f"**{title}**")[1].split("**")[0]
    row = next(line for line in table.splitlines() if line.startswith(f"| {method} |"))
    return [cell.strip() for cell in row.split("|")[2:-1]]


@pytest.fixture
def fattal(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        coarse = np.kron(rng.integers(120, 200, (6, 8, 3)), np.ones((8, 8, 1)))
        save_levels(tmp_path / "photos" / f"{name}.png", coarse.astype(np.uint8))
    return tmp_path / "photos"


def test_without_data_every_cell_is_published_or_impossible(tmp_path: Path) -> None:
    result = reproduce("-m", "dcp", "-o", tmp_path / "paper")
    assert result.exit_code == 0
    assert "measured [" not in result.stdout
    title = TABLES[0].title
    assert cells(result.stdout, title, "CORUN+Colabator")[0].startswith("0.824 published [")
    assert cells(result.stdout, title, "dcp")[0].startswith("impossible [")
    assert "the photos are not at hand: --rtts DIR" in result.stdout
    assert not (tmp_path / "paper").exists()


def test_what_is_at_hand_is_measured_and_the_rest_says_why(fattal: Path, tmp_path: Path) -> None:
    """The hazy input and a method are scored; BRISQUE lacks its files; the paper's row stays."""
    result = reproduce("-m", "dcp", "--fattal", fattal, "-o", tmp_path / "paper")
    assert result.exit_code == 0, result.stderr
    title = TABLES[1].title
    fade, brisque, nima = cells(result.stdout, title, "dcp")
    assert " measured [" in fade
    assert brisque.startswith("impossible [")
    assert nima.startswith("impossible [")
    assert float(cells(result.stdout, title, "hazy input")[0].split()[0]) > 0
    assert cells(result.stdout, title, "CORUN+Colabator")[0].startswith("0.338 published [")
    assert "over 2 photos" in result.stdout
    assert "CORUN+Colabator is not at hand: -m 'CORUN+Colabator=FILE'" in result.stdout
    assert (tmp_path / "paper" / "paper.md").read_text(encoding="utf-8") in result.stdout + "\n"


def test_a_row_of_the_paper_can_be_measured_under_its_name() -> None:
    table = TABLES[0]
    rows = paper_rows(table, ["RIDCP", "mine"])
    assert list(rows) == ["hazy input", "RIDCP", "CORUN+Colabator", "mine"]
    filled = fill(table, ["RIDCP", "mine"], None, {})
    assert filled["RIDCP"]["fade"].why == ("the photos are not at hand: --rtts DIR",)
    assert filled["mine"]["fade"].state == "impossible"


def test_a_folder_that_is_not_there_is_named() -> None:
    result = reproduce("--rtts", "nowhere")
    assert result.exit_code == 1
    assert "--rtts nowhere: no such folder" in result.stderr
