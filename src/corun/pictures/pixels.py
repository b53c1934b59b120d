"""Pixels as people store them and as networks want them: arrays to RGB in [0,1], and back.

Everything here is numpy. `rgb_from_array` reads any supported array as RGB; `array_like` writes
RGB in the form of a given original: same shape, same dtype, its alpha channel untouched.
Greyscale becomes three equal channels on the way in and Rec. 601 luma on the way out, which is
the identity on grey.
"""

from __future__ import annotations

import numpy as np

from corun.errors import CorunError
from corun.shapes import Float32, Shaped

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Rec. 601 weights of R, G, B: the grey value Pillow's mode "L" has."""

LARGEST_FLOAT = 2.0
"""A float image whose maximum exceeds this is not in [0,1] but in 0-255 or scene-linear units.

Slight overshoots (resampling, earlier networks) are clamped; an image in other units is refused
instead of being turned white.
"""


class PixelError(CorunError, ValueError):
    """Pixels of a shape, type or range that cannot be read as a picture."""


def rgb_from_array(array: Shaped[np.ndarray, "..."]) -> Float32[np.ndarray, "h w 3"]:
    """Reads an array as RGB, sRGB-encoded, in [0,1]; an alpha channel is left out.

    Args:
        array: (H,W), (H,W,1) grey; (H,W,2) grey + alpha; (H,W,3) RGB; (H,W,4) RGB + alpha.
            uint8 in 0-255, uint16 in 0-65535, or float16/32/64 in [0,1] (clamped).

    Raises:
        PixelError: another shape or dtype, no pixels, not finite, or floats beyond 2.
    """
    samples = samples_in_unit_range(array)
    if samples.ndim == 2:
        samples = samples[:, :, None]
    colour = samples[:, :, : 1 if samples.shape[2] < 3 else 3]
    rgb = np.broadcast_to(colour, (*colour.shape[:2], 3))
    return np.require(rgb, requirements=["C_CONTIGUOUS", "WRITEABLE"])


def array_like(
    rgb: Float32[np.ndarray, "h w 3"], original: Shaped[np.ndarray, "..."]
) -> Shaped[np.ndarray, "..."]:
    """Stores RGB in [0,1] as `original` is stored: its shape, dtype and alpha samples.

    Integers are rounded to nearest, so array_like(rgb_from_array(x), x) = x for every uint8 and
    uint16 x that is grey or RGB.
    """
    channels = 1 if original.ndim == 2 else original.shape[2]
    colour = (rgb @ LUMA)[:, :, None] if channels < 3 else rgb
    stored = _to_dtype(colour, original.dtype)
    if channels in (2, 4):
        stored = np.concatenate([stored, original[:, :, -1:]], axis=2)
    return stored.reshape(original.shape)


def samples_in_unit_range(array: Shaped[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """All samples of an image array, alpha included, as float32 in [0,1], in the same shape."""
    require_picture(array)
    if array.dtype == np.uint8 or array.dtype == np.uint16:
        return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    return np.clip(array.astype(np.float32), 0.0, 1.0)


def require_picture(array: Shaped[np.ndarray, "..."]) -> None:
    """Refuse what is no picture.

    Raises:
        PixelError: another shape or dtype, no pixels, not finite, or floats beyond 2.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise PixelError(
            f"an array of shape {array.shape} is not an image; give (H,W) or (H,W,C) with "
            "1 to 4 channels last"
        )
    if 0 in array.shape:
        raise PixelError(f"an array of shape {array.shape} has no pixels")
    if array.dtype == np.uint8 or array.dtype == np.uint16:
        return
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise PixelError(
            f"an array of {array.dtype} is not an image; give uint8, uint16 or floats in [0,1]"
        )
    if not np.isfinite(array).all():
        raise PixelError("the image holds values that are not finite; replace them first")
    if float(array.max()) > LARGEST_FLOAT:
        raise PixelError(
            f"float images are in [0,1], this one reaches {float(array.max()):.4g}; "
            "divide by its white level first"
        )


def convert_depth(
    array: Shaped[np.ndarray, "..."], dtype: np.dtype[np.generic]
) -> Shaped[np.ndarray, "..."]:
    """The same picture, alpha included, at another sample type (white stays white)."""
    return array if array.dtype == dtype else _to_dtype(samples_in_unit_range(array), dtype)


def _to_dtype(
    unit: Float32[np.ndarray, "..."], dtype: np.dtype[np.generic]
) -> Shaped[np.ndarray, "..."]:
    if np.issubdtype(dtype, np.floating):
        return unit.astype(dtype)
    white = np.float32(255 if dtype == np.uint8 else 65535)
    stored: Shaped[np.ndarray, "..."] = np.rint(np.multiply(unit, white)).astype(dtype)
    return stored
