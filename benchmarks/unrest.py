"""How restless a result is where the hazy photo shows nothing.

    python benchmarks/unrest.py HAZY_FOLDER RESULT_FOLDER...

The folders hold PNGs of equal names and sizes, long side 640. Windows of 32×32 pixels whose grey
values, less their best plane, have a standard deviation below 1.2/255 in the hazy photo are calm.
*Fine* is the mean of that deviation in the result, over the calm windows of a photo, then over
photos: grain, grids. *Coarse* is the same on the picture averaged over 8×8 cells, in windows of 8×8
cells: clouds, mottling. A photo with fewer than four calm windows of either kind is left out. All
in units of 1/255.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

CALM = 1.2
FEWEST = 4
SIDE, CELL = 32, 8


class Unrest(NamedTuple):
    """Fine and coarse unrest in 1/255, and how many photos had calm windows."""

    fine: float
    coarse: float
    photos: int


def unrest(pairs: Iterable[tuple[Path, Path]]) -> Unrest:
    """Of results, each beside the hazy photo it was made of; NaN where no photo is calm."""
    kept = []
    for hazy, result in pairs:
        fine, coarse = _both(hazy)
        calm, calm_cells = fine < CALM, coarse < CALM
        if min(calm.sum(), calm_cells.sum()) >= FEWEST:
            f, c = _both(result)
            kept.append((f[calm].mean(), c[calm_cells].mean()))
    fine, coarse = np.mean(kept, 0) if kept else (np.nan, np.nan)
    return Unrest(float(fine), float(coarse), len(kept))


def _both(path: Path) -> tuple[np.ndarray, np.ndarray]:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise SystemExit(f"{path}: cannot be read; give folders of PNGs of equal names")
    grey = grey.astype(np.float64)
    cells = cv2.resize(grey, None, fx=1 / CELL, fy=1 / CELL, interpolation=cv2.INTER_AREA)
    return _deviations(grey, SIDE), _deviations(cells, CELL)


def _deviations(grey: np.ndarray, side: int) -> np.ndarray:
    """Standard deviation of each side×side window, less its best plane."""
    height, width = (length // side * side for length in grey.shape)
    windows = grey[:height, :width].reshape(height // side, side, width // side, side)
    windows = windows.swapaxes(1, 2).reshape(-1, side * side)
    y, x = np.mgrid[:side, :side]
    plane = np.stack([np.ones(side * side), x.ravel() - x.mean(), y.ravel() - y.mean()], 1)
    basis, _ = np.linalg.qr(plane)
    rest: np.ndarray = (windows - (windows @ basis) @ basis.T).std(1)
    return rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hazy", type=Path)
    parser.add_argument("results", type=Path, nargs="+")
    options = parser.parse_args()
    names = sorted(path.name for path in options.hazy.glob("*.png"))
    for folder in (options.hazy, *options.results):
        fine, coarse, photos = unrest((options.hazy / name, folder / name) for name in names)
        print(f"{folder}: {photos} photos, fine {fine:.2f}, coarse {coarse:.2f}")


if __name__ == "__main__":
    main()
