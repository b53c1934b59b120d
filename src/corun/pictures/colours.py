"""A picture file as plain colours: RGB in [0,1], or 8-bit RGB where a score or a page needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from corun.errors import ImageFileError
from corun.pictures.limits import DEFAULT_MAX_PIXELS
from corun.pictures.modes import SIXTEEN_BIT_MODES
from corun.pictures.pixels import PixelError
from corun.pictures.reading import Picture, read_picture
from corun.pictures.working import working_colours
from corun.shapes import Float32, Shaped, UInt8

DEPTH_LOST = "rounded from 16 bits to 8"
"""The note on a picture that had more than 8 bits per sample."""


def read_colours(
    path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Float32[np.ndarray, "h w 3"]:
    """A picture file as RGB, sRGB-encoded, in [0,1], upright; alpha is left out.

    Raises:
        ImageFileError: it cannot be read, or its samples are no picture.
        MissingExtraError: HEIC without pillow-heif.
    """
    picture = read_picture(path, max_pixels=max_pixels)
    try:
        return working_colours(picture)
    except PixelError as error:
        raise ImageFileError(f"{path}: {error}") from error


def read_eight_bit(path: Path) -> tuple[UInt8[np.ndarray, "h w 3"], list[str]]:
    """A picture file as 8-bit RGB, upright, and what had to be done to it.

    Grey, palette and CMYK become RGB, opaque alpha is dropped, 16 bits are rounded to 8.

    Raises:
        ImageFileError: it cannot be read, is transparent somewhere (what is behind it, nobody has
            said), or is of floating-point samples, which have no stated white.
        MissingExtraError: HEIC without pillow-heif.
    """
    picture = read_picture(path)
    notes = []
    depth = bits_of(picture)
    if depth > 16:
        raise ImageFileError(
            f"{path}: {depth}-bit samples have no stated white; save it with 8 or 16 bits"
        )
    if depth == 16:
        notes.append(DEPTH_LOST)
    if _has_alpha(picture.image):
        if not _is_opaque(picture.image):
            raise ImageFileError(
                f"{path}: is partly transparent; flatten it onto a background and save it as PNG"
            )
        notes.append("opaque alpha dropped")
    elif isinstance(picture.image, Image.Image) and depth == 8 and picture.image.mode != "RGB":
        notes.append(f"converted from {picture.image.mode} to RGB")
    return np.rint(working_colours(picture) * np.float32(255)).astype(np.uint8), notes


def bits_of(picture: Picture) -> int:
    """Bits per sample as they were read: 8, 16, 32 or 64."""
    image = picture.image
    if isinstance(image, np.ndarray):
        bits = 8 * image.dtype.itemsize
        return 32 if image.dtype == np.float16 else bits
    if image.mode in SIXTEEN_BIT_MODES:
        return 16
    return 32 if image.mode in ("I", "F") else 8


def _has_alpha(image: Image.Image | Shaped[np.ndarray, "..."]) -> bool:
    if isinstance(image, np.ndarray):
        return image.ndim == 3 and image.shape[2] in (2, 4)
    return image.has_transparency_data


def _is_opaque(image: Image.Image | Shaped[np.ndarray, "..."]) -> bool:
    if isinstance(image, np.ndarray):
        return bool((image[..., -1] == np.iinfo(image.dtype).max).all())
    return bool(image.convert("RGBA").getchannel("A").getextrema()[0] == 255)
