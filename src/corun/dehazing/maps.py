"""What a photo or a frame is cleared with: the maps of the full-size step, and where they lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corun.physics.row_bands import apply_full_size_step, apply_to_samples, enlarged
from corun.physics.working_picture import Rows
from corun.pictures.pixels import array_like, rgb_from_array
from corun.shapes import Float32, Shaped


class FrameMaps(NamedTuple):
    """What a network says of one picture, on the grid of its cells.

    Attributes:
        coefficients: a and b of J* = b + a·P, unitless, a first.
        transmission: T, unitless, in [0.03, 1].
        airlight: A, RGB, [0,1].
        covered: (height, width) in pixels of the picture that the cells stand for.
    """

    coefficients: Float32[np.ndarray, "h w 4"]
    transmission: Float32[np.ndarray, "h w"]
    airlight: Float32[np.ndarray, "3"]
    covered: tuple[int, int]


def rows_of(samples: Shaped[np.ndarray, "..."]) -> Rows:
    """Rows of an array as RGB in [0,1]."""

    def rows(top: int, bottom: int) -> Float32[np.ndarray, "h w 3"]:
        return rgb_from_array(samples[top:bottom])

    return rows


def apply_maps(
    samples: Shaped[np.ndarray, "..."], maps: FrameMaps, *, strength: float, threads: int
) -> Shaped[np.ndarray, "..."]:
    """The full-size step on an array of samples, in bands of rows; an array like it.

    Args:
        samples: (H,W) or (H,W,1..4), as `Dehazer` takes them; alpha comes back unchanged.
        maps: of this picture.
        strength: s, how much of the haze goes, [0,1].
        threads: how many bands are computed at a time.
    """
    if samples.dtype in (np.uint8, np.uint16) and samples.shape[2:] == (3,):
        return apply_to_samples(
            np.ascontiguousarray(samples),
            maps.coefficients,
            maps.covered,
            strength=strength,
            threads=threads,
        )
    clear = np.empty_like(samples)

    def put(top: int, bottom: int, rgb: Float32[np.ndarray, "h w 3"]) -> None:
        clear[top:bottom] = array_like(rgb, samples[top:bottom])

    height, width = samples.shape[:2]
    apply_full_size_step(
        rows_of(samples),
        put,
        height,
        width,
        maps.coefficients,
        maps.covered,
        strength=strength,
        threads=threads,
    )
    return clear


def transmission_at_full_size(
    maps: FrameMaps, height: int, width: int
) -> Float32[np.ndarray, "h w"]:
    """T of every pixel of the picture, unitless."""
    return enlarged(maps.transmission, maps.covered, height, width)
