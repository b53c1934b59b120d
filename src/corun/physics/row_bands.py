"""The full-size step in NumPy, a band of rows at a time, with exactly the result of one piece.

Nothing here imports torch; ``CORUN.explained`` is the same step on tensors, and a test holds the
two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from corun.physics.working_picture import Rows, bands

Floats = NDArray[np.float32]
Put = Callable[[int, int, Floats], None]


class Enlargement:
    """Maps of cells, enlarged bilinearly to a photo's size, any rows at a time.

    Args:
        maps: float32, (h,w,c).
        covered: (height, width) in pixels that the maps stand for; the photo is its upper left.
        width: of the photo, pixels.
    """

    def __init__(self, maps: Floats, covered: tuple[int, int], width: int) -> None:
        self.covered_height = covered[0]
        wide = cv2.resize(maps, (covered[1], maps.shape[0]), interpolation=cv2.INTER_LINEAR)
        self.wide = wide.reshape(maps.shape[0], covered[1], -1)[:, :width]

    def rows(self, top: int, bottom: int) -> Floats:
        """Rows [top, bottom), (bottom − top, W, c)."""
        cells = len(self.wide)
        centres = (np.arange(top, bottom) + 0.5) * (cells / self.covered_height) - 0.5
        centres = centres.clip(0, cells - 1)
        above = np.minimum(centres.astype(np.intp), max(cells - 2, 0))
        below = np.minimum(above + 1, cells - 1)
        share = (centres - above).astype(np.float32)[:, None, None]
        upper = self.wide[above]
        between: Floats = upper + share * (self.wide[below] - upper)
        return between


def enlarged(map_of_cells: Floats, covered: tuple[int, int], height: int, width: int) -> Floats:
    """One map of cells, (h,w), at the photo's size, in one piece."""
    large = cv2.resize(map_of_cells, covered[::-1], interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(large[:height, :width])


def apply_full_size_step(
    rows: Rows,
    put: Put,
    height: int,
    width: int,
    coefficients: Floats,
    covered: tuple[int, int],
    *,
    strength: float = 1.0,
    threads: int = 1,
) -> None:
    """J* = b + a·P at every pixel of a photo, and s·J* + (1 − s)·P, clamped to [0,1].

    Args:
        rows: gives rows of the photo.
        put: takes rows [top, bottom) of the result, RGB, [0,1]; called once for each row, from
            several threads.
        height: of the photo, pixels.
        width: of the photo, pixels.
        coefficients: a and b on the grid of the cells, float32, (h,w,4), a first.
        covered: (height, width) in pixels that the cells stand for.
        strength: s, unitless, [0,1].
        threads: how many bands are computed at a time.
    """
    enlargement = Enlargement(coefficients, covered, width)

    def dehaze(band: tuple[int, int]) -> None:
        hazy = rows(*band)
        maps = enlargement.rows(*band)
        clear = maps[..., :1] * hazy
        clear += maps[..., 1:]
        np.clip(clear, 0, 1, out=clear)
        if strength < 1:
            clear *= np.float32(strength)
            clear += np.float32(1 - strength) * hazy
        put(*band, clear)

    for _ in _each(dehaze, bands(height, width * 8), threads):
        pass


def _each(
    work: Callable[[tuple[int, int]], None], parts: list[tuple[int, int]], threads: int
) -> Iterator[None]:
    if threads <= 1 or len(parts) <= 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, parts)
