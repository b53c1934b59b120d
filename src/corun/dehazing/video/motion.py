"""How the picture moves from one frame to the next, and where a film is cut.

Both are seen on small pictures: the averages over cells that the coefficient maps lie on, and grey
ones of twice as many rows and columns.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from corun.pictures.pixels import LUMA
from corun.shapes import Bool, Float32, Shaped, UInt8

CUT_RESIDUAL = 0.5
"""Share of its own mean deviation by which a picture differs from the last one, moved along, where
a cut is between them."""
CUT_LEAST = 0.02
"""The least mean difference of a cut, [0,1]."""
NOISE_FLOOR = 4 / 255
"""Contrast that counts as none when pictures are made comparable."""
LEAST_SIDE = 12
"""Pixels of the grey picture's longer side below which no motion can be found in it."""
_NEIGHBOURHOOD = 31
"""Pixels of the grey picture over which contrast is measured."""


class Small(NamedTuple):
    """A frame as the filter over time sees it.

    Attributes:
        cells: P′, RGB averaged over cells, [0,1].
        grey: its grey picture at twice that size, of evened-out contrast, for the motion.
    """

    cells: Float32[np.ndarray, "h w 3"]
    grey: UInt8[np.ndarray, "h2 w2"]


class Motion(NamedTuple):
    """Between successive frames.

    Attributes:
        forward: where each cell of the first goes in the second, (right, down) in cells.
        backward: where each cell of the second was in the first, the same.
        cut: whether the second begins another scene; the motions say nothing then.
    """

    forward: Float32[np.ndarray, "h w 2"]
    backward: Float32[np.ndarray, "h w 2"]
    cut: bool


def small_picture(
    rgb: Shaped[np.ndarray, "H W 3"], grid: tuple[int, int], covered: tuple[int, int]
) -> Small:
    """A frame reduced to the cells of its maps.

    Args:
        rgb: uint8 or uint16.
        grid: rows and columns of cells.
        covered: (height, width) in pixels that they stand for, as `FrameMaps.covered`.
    """
    height, width = rgb.shape[:2]
    below, right = covered[0] - height, covered[1] - width
    if below or right:
        border = (
            cv2.BORDER_REFLECT_101 if below < height and right < width else cv2.BORDER_REPLICATE
        )
        rgb = np.asarray(cv2.copyMakeBorder(rgb, 0, below, 0, right, border))
    white = np.float32(255 if rgb.dtype == np.uint8 else 65535)
    double = _area(rgb, (2 * grid[0], 2 * grid[1])).astype(np.float32) / white
    return Small(_area(double, grid), _even_contrast(double @ LUMA.astype(np.float32)))


def motion_between(before: Small, after: Small) -> Motion:
    """Dense inverse search (Kroeger et al. 2016) in both directions, and whether it fits."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    grid = before.cells.shape[1::-1]
    flows = [np.zeros((*before.cells.shape[:2], 2), np.float32)] * 2
    if max(before.grey.shape) >= LEAST_SIDE:
        flows = [
            np.asarray(
                cv2.resize(search.calc(a.grey, b.grey, None), grid, interpolation=cv2.INTER_AREA)
            )
            * np.float32(0.5)
            for a, b in ((before, after), (after, before))
        ]
    moved, inside = moved_along(before.cells, positions(flows[1]))
    differs = np.abs(moved - after.cells).mean(axis=2)[inside]
    mean = after.cells.mean(axis=(0, 1))
    deviation = float(np.abs(after.cells - mean).mean())
    difference = float(differs.mean()) if differs.size else 1.0
    cut = difference > max(CUT_LEAST, CUT_RESIDUAL * deviation)
    return Motion(flows[0], flows[1], cut)


def positions(flow: Float32[np.ndarray, "h w 2"]) -> Float32[np.ndarray, "h w 2"]:
    """Where each cell comes to lie, (column, row)."""
    height, width = flow.shape[:2]
    moved = flow.copy()
    moved[..., 0] += np.arange(width, dtype=np.float32)
    moved[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return moved


def moved_along(
    values: Float32[np.ndarray, "h w c"], where: Float32[np.ndarray, "h w 2"]
) -> tuple[Float32[np.ndarray, "h w c"], Bool[np.ndarray, "h w"]]:
    """Values at positions (column, row), bilinearly, and whether these are inside the picture."""
    height, width = values.shape[:2]
    x, y = where[..., 0], where[..., 1]
    inside = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    return at(values, where), inside


def at(
    values: Float32[np.ndarray, "h w c"], where: Float32[np.ndarray, "h w 2"]
) -> Float32[np.ndarray, "h w c"]:
    """Values at positions (column, row), bilinearly, those outside as at the border."""
    moved = cv2.remap(values, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32).reshape(values.shape)


def _area(picture: Shaped[np.ndarray, "..."], size: tuple[int, int]) -> Shaped[np.ndarray, "..."]:
    smaller = size[0] < picture.shape[0] or size[1] < picture.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=method))


def _even_contrast(grey: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Grey less its local mean, by its local deviation: haze changes both, and hardly this."""
    window = (_NEIGHBOURHOOD, _NEIGHBOURHOOD)
    difference = grey - cv2.blur(grey, window)
    deviation = np.sqrt(cv2.blur(difference * difference, window) + np.float32(NOISE_FLOOR**2))
    evened = np.clip(np.rint(128 + 40 * difference / deviation), 0, 255)
    return np.asarray(evened, np.uint8)
