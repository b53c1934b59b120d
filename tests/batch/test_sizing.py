"""The sizing script's arithmetic."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "sizing.py"


def test_a_million_photos() -> None:
    sizing = runpy.run_path(str(SCRIPT))["sizing"]
    needed = sizing(1_000_000, 2.5, 16, 0.2, 0.1)
    assert needed.machine_hours == pytest.approx(1_000_000 / 2.5 / 3600 / 0.9)
    assert needed.hours == pytest.approx(needed.machine_hours / 16)
    assert needed.cost == pytest.approx(needed.machine_hours * 0.2)
    with pytest.raises(ValueError, match="above 0"):
        sizing(1, 0, 1, 1, 0)
