"""What a large job takes: the arithmetic, and that the page says what the command prints."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "sizing.py"))
PAGE = ROOT / "docs" / "howto" / "batch.md"


def test_a_million_photos() -> None:
    needed = SCRIPT["sizing"](1_000_000, 0.4, 256, 0.2, 0.1)
    assert needed.core_hours == pytest.approx(1_000_000 * 0.4 / 3600 / 0.9)
    assert needed.hours == pytest.approx(needed.core_hours / 256)
    assert needed.cost == pytest.approx(needed.core_hours * 0.2)
    with pytest.raises(ValueError, match="above 0"):
        SCRIPT["sizing"](1, 0, 1, 1, 0)


def test_the_page_has_the_numbers_that_were_measured(capsys: pytest.CaptureFixture[str]) -> None:
    SCRIPT["main"]([])
    printed = capsys.readouterr().out.strip()
    assert printed in PAGE.read_text(encoding="utf-8"), "run: benchmarks/sizing.py --page " + str(
        PAGE.relative_to(ROOT)
    )
    measured = json.loads((ROOT / "benchmarks" / "sizing.json").read_text())
    for what in ("photo", "frame"):
        assert f"| {measured[what]['core_seconds']:g} |" in printed


def test_other_parameters_make_another_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n\n" + SCRIPT["BEGIN"] + "old" + SCRIPT["END"] + "\nafter\n")
    SCRIPT["main"](["--price", "0.5", "--machines", "1", "--page", str(page)])
    printed = capsys.readouterr().out.strip()
    assert "1 machines of 16 cores, a core's hour at 0.5" in printed
    text = page.read_text()
    assert printed in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
