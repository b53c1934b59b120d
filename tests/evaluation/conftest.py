"""Small hazy pairs, made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluation_pictures import save_levels


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three hazy photos of 40×30 and their clear views: half the contrast, grey on top."""
    rng = np.random.default_rng(5)
    for index in range(3):
        clear = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        hazy = (clear // 2 + 100).astype(np.uint8)
        save_levels(tmp_path / "pairs" / "clear" / f"p{index}.png", clear)
        save_levels(tmp_path / "pairs" / "hazy" / f"p{index}.png", hazy)
    return tmp_path / "pairs"
