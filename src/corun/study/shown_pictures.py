"""The pictures participants see: bare 8-bit pixels, upright, with nothing that names them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from corun.errors import ImageFileError
from corun.inference.image_files import read_picture


def shown_pixels(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """A picture as it is shown: RGB, the EXIF orientation applied, 16 bits rounded to 8.

    Grey, palette and CMYK become RGB; opaque alpha is dropped.

    Raises:
        ImageFileError: unreadable, transparent somewhere (what is behind it, nobody has said), or
            of floating-point samples.
    """
    image = read_picture(path).image
    if isinstance(image, np.ndarray):
        return _from_samples(image, path)
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N"):
        return _from_samples(np.asarray(image, dtype=np.uint16), path)
    if image.mode in ("I", "F"):
        raise ImageFileError(f"{path}: 32-bit samples have no stated white; save it with 8 bits")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        _refuse_transparency(np.asarray(image)[..., 3], 255, path)
    return np.asarray(image.convert("RGB"))


def shown_png(path: Path) -> bytes:
    """The pixels alone: a file's name, format or metadata could tell the method.

    Raises:
        ImageFileError: as `shown_pixels`.
    """
    buffer = io.BytesIO()
    Image.fromarray(shown_pixels(path)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _from_samples(samples: np.ndarray, path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """8 or 16 bits, (h,w) or (h,w,c), alpha last."""
    if samples.dtype not in (np.uint8, np.uint16):
        raise ImageFileError(
            f"{path}: {samples.dtype} samples have no stated white; save it with 8 or 16 bits"
        )
    most = int(np.iinfo(samples.dtype).max)
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.shape[2] in (2, 4):
        _refuse_transparency(samples[..., -1], most, path)
        samples = samples[..., :-1]
    levels = np.round(samples.astype(np.float64) * (255 / most)).astype(np.uint8)
    return np.broadcast_to(levels, (*levels.shape[:2], 3)).copy()


def _refuse_transparency(alpha: np.ndarray, opaque: int, path: Path) -> None:
    if (alpha != opaque).any():
        raise ImageFileError(f"{path}: is partly transparent; flatten it before it is shown")
