"""Writing small pictures for the evaluation's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def save_levels(path: Path, pixels: np.ndarray) -> Path:
    """Writes 8-bit levels (h, w, 3) or (h, w, 4), in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path
