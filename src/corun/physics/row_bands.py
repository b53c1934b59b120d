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
from corun.shapes import Shaped

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
        upper: Floats = self.wide[above]
        between: Floats = self.wide[below]
        between -= upper
        between *= share
        between += upper
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


def apply_to_samples(
    samples: Shaped[np.ndarray, "h w 3"],
    coefficients: Floats,
    covered: tuple[int, int],
    *,
    strength: float = 1.0,
    threads: int = 1,
) -> Shaped[np.ndarray, "h w 3"]:
    """`apply_full_size_step` on samples as they are stored, in a third of the time.

    Nothing is brought to [0,1] and back: the offset is in units of the samples, and rounding and
    clamping are one with the addition.

    Args:
        samples: RGB, uint8 or uint16, (H,W,3), C-contiguous.
        coefficients: as there.
        covered: as there.
        strength: as there.
        threads: as there.

    Returns:
        An array like the samples, rounded to nearest.
    """
    height, width = samples.shape[:2]
    white = np.float32(np.iinfo(samples.dtype).max)
    stored = cv2.CV_8U if samples.dtype == np.uint8 else cv2.CV_16U
    gain = Enlargement(np.repeat(coefficients[..., :1], 3, axis=2), covered, width)
    offset = Enlargement(coefficients[..., 1:] * white, covered, width)
    result = np.empty_like(samples)

    def dehaze(band: tuple[int, int]) -> None:
        hazy, clear = samples[slice(*band)], result[slice(*band)]
        scaled = cv2.multiply(hazy, gain.rows(*band), dtype=cv2.CV_32F)
        if strength == 1:
            cv2.add(scaled, offset.rows(*band), dst=clear, dtype=stored)
            return
        scaled += offset.rows(*band)
        np.clip(scaled, 0, white, out=scaled)
        veiled = hazy.astype(np.float32)
        cv2.addWeighted(scaled, strength, veiled, 1 - strength, 0, dst=clear, dtype=stored)

    for _ in _each(dehaze, bands(height, width * 8), threads):
        pass
    return result


def _each(
    work: Callable[[tuple[int, int]], None], parts: list[tuple[int, int]], threads: int
) -> Iterator[None]:
    if threads <= 1 or len(parts) <= 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, parts)
