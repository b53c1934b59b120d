"""The working picture: what a network sees of a photo, reduced by area where the photo is large.

NumPy and OpenCV; nothing here imports torch. :mod:`corun.networks.reduction` is the same for
tensors, and a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Rows = Callable[[int, int], NDArray[np.float32]]
"""Rows [top, bottom) of a photo: RGB, sRGB-encoded, [0,1], float32, (bottom − top, W, 3)."""

BAND_ELEMENTS = 1 << 18
"""About how many numbers a band of rows holds: few enough to stay in the cache of one core."""


class WorkingPicture(NamedTuple):
    """What the stages see of a photo.

    Attributes:
        pixels: RGB, [0,1], float32, (h,w,3), h and w multiples of the network's.
        covered: (height, width) in pixels of the photo that ``pixels`` stand for: the photo where
            it was reduced, the padded photo where it was padded.
    """

    pixels: NDArray[np.float32]
    covered: tuple[int, int]


def working_size(height: int, width: int, limit: int, multiple: int) -> tuple[int, int] | None:
    """The size to which a picture is reduced for the stages, or None if it need not be.

    Args:
        height: of the picture, pixels.
        width: of the picture, pixels.
        limit: pixels above which a picture is reduced; 0 for never.
        multiple: of which the sides of the result are multiples.

    Returns:
        (height, width) of about ``limit`` pixels and the same shape to half a multiple, no larger
        than the padded picture.
    """
    padded = tuple(side + -side % multiple for side in (height, width))
    if not limit or padded[0] * padded[1] <= limit:
        return None
    factor = math.sqrt(limit / (height * width))
    short = max(multiple, round(min(height, width) * factor / multiple) * multiple)
    # A side that cannot go below one multiple leaves fewer pixels to the other.
    long = min(max(height, width) * factor, limit / short)
    long = max(multiple, round(long / multiple) * multiple)
    size = (short, long) if height <= width else (long, short)
    return min(size[0], padded[0]), min(size[1], padded[1])


def working_picture(
    rows: Rows, height: int, width: int, *, limit: int, multiple: int
) -> WorkingPicture:
    """Reduce or pad a photo of which only a band of rows is in floating point at a time.

    Args:
        rows: the photo.
        height: of the photo, pixels.
        width: of the photo, pixels.
        limit: pixels above which it is reduced, by exact averages over boxes; 0 for never.
        multiple: of which the sides of the result are multiples. Where the photo is not reduced
            it is reflected at its right and lower border, or repeated where it is too small.
    """
    size = working_size(height, width, limit, multiple)
    if size is None:
        return _padded(rows(0, height), multiple)
    across = np.empty((height, size[1], 3), np.float32)
    for top, bottom in bands(height, width * 3):
        across[top:bottom] = _resized(rows(top, bottom), bottom - top, size[1])
    return WorkingPicture(_resized(across, *size), (height, width))


def bands(height: int, row_elements: int) -> list[tuple[int, int]]:
    """Row ranges [top, bottom) of about :data:`BAND_ELEMENTS` numbers that cover ``height``."""
    step = max(1, BAND_ELEMENTS // row_elements)
    return [(top, min(top + step, height)) for top in range(0, height, step)]


def _resized(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Averages over boxes downwards, bilinear upwards (a side may end on a longer multiple)."""
    for size in ((image.shape[0], width), (height, width)):
        smaller = size[0] < image.shape[0] or size[1] < image.shape[1]
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, size[::-1], interpolation=method), np.float32)
    return image


def _padded(image: NDArray[np.float32], multiple: int) -> WorkingPicture:
    height, width = image.shape[:2]
    below, right = -height % multiple, -width % multiple
    reflected = below < height and right < width
    border = cv2.BORDER_REFLECT_101 if reflected else cv2.BORDER_REPLICATE
    pixels = cv2.copyMakeBorder(image, 0, below, 0, right, border)
    return WorkingPicture(np.asarray(pixels, np.float32), pixels.shape[:2])
