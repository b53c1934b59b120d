"""Uniform frames around a picture: letterboxes, borders of prints and scans, on any sides."""

from __future__ import annotations

import numpy as np

from corun.shapes import Bool, Float32

DEVIATION = 2.5 / 255
"""How far a pixel of a frame may be from its colour: what JPEG and video leave of a flat area."""

EDGE, SHARE, NEAR_EDGE = 12 / 255, 0.6, 8
"""In one of the next 8 rows, 60 % of the pixels must be that far from the frame's colour.

Compression blurs an edge over a block; behind a burnt-out or foggy sky only a few roofs stand out.
"""

LEAST_FRAME, LEAST_INSIDE = 2, 16
"""Pixels."""

MOST_FRAMES = 4
"""How many frames lie in one another: a print's border in a letterbox in ..."""

Inside = tuple[slice, slice]
"""Rows and columns."""


def inside_frame(rgb: Float32[np.ndarray, "h w 3"]) -> Inside | None:
    """The part of a picture that a frame, if there is one, leaves.

    A frame is of one colour on each side, at least two pixels thick, and ends in an edge.

    Args:
        rgb: in [0,1].

    Returns:
        None where there is no frame, or nothing inside it.
    """
    top, left, (bottom, right) = 0, 0, rgb.shape[:2]
    for _ in range(MOST_FRAMES):
        inside = rgb[top:bottom, left:right]
        above, below = _thickness(inside), _thickness(inside[::-1])
        middle = inside[above : len(inside) - below].swapaxes(0, 1)
        before, after = _thickness(middle), _thickness(middle[::-1])
        if not (above or below or before or after):
            break
        top, bottom, left, right = top + above, bottom - below, left + before, right - after
    if bottom - top < LEAST_INSIDE or right - left < LEAST_INSIDE:
        return None
    found = slice(top, bottom), slice(left, right)
    return None if rgb[found].shape == rgb.shape else found


def _thickness(rows: Float32[np.ndarray, "n m 3"]) -> int:
    """How many of the first rows are of one colour, 0 where they are no frame."""
    if len(rows) == 0 or not _are_of(rows[:1], rows[0, 0])[0]:
        return 0
    colour = np.median(rows[0], axis=0)
    step, count = 64, 0
    while count < len(rows):
        uniform = _are_of(rows[count : count + step], colour)
        if not uniform.all():
            count += int(np.argmin(uniform))
            break
        count += len(uniform)
    beyond = rows[count : count + NEAR_EDGE]
    if count < LEAST_FRAME or len(beyond) == 0:
        return 0
    differing = np.abs(beyond - colour).max(axis=2) >= EDGE
    return count if differing.mean(axis=1).max() >= SHARE else 0


def _are_of(
    rows: Float32[np.ndarray, "n m 3"], colour: Float32[np.ndarray, "3"]
) -> Bool[np.ndarray, " n"]:
    uniform: Bool[np.ndarray, " n"] = (np.abs(rows - colour) <= DEVIATION).all(axis=(1, 2))
    return uniform
