"""Raw files of cameras, developed by LibRaw through rawpy (the extra "raw")."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from corun.errors import MissingExtraError
from corun.pictures.limits import check_size
from corun.pictures.metadata import (
    DAMAGED_EXIF,
    PictureMetadata,
    reset_orientation,
    serialise_exif,
    tiff_directory,
)
from corun.pictures.pixels import PixelError
from corun.pictures.tiff_header import TIFF_SIGNATURES
from corun.shapes import UInt16

if TYPE_CHECKING:
    from rawpy import RawPy

PIXELS_OF_TIME = 600_000_000
"""As long as decoding so many pixels may developing take."""

SRGB_CURVE = (2.4, 12.92)
"""Power and slope of sRGB's curve, as LibRaw takes them."""


def read_raw(
    data: bytes, *, max_pixels: int
) -> tuple[UInt16[np.ndarray, "h w 3"], PictureMetadata]:
    """Develops a raw file: the camera's white balance, sRGB, 16 bits, upright.

    The embedded preview is never used. LibRaw prints, and may crash over a hostile file: it runs
    in a process of its own (`isolation`).

    Raises:
        MissingExtraError: rawpy is not installed.
        PixelError: LibRaw does not read it, or it is too large.
    """
    with _opened(data) as raw:
        check_size(raw.sizes.iwidth, raw.sizes.iheight, max_pixels=max_pixels, bytes_per_pixel=16)
        samples: UInt16[np.ndarray, "h w 3"] = raw.postprocess(
            use_camera_wb=True, output_bps=16, gamma=SRGB_CURVE
        )
    exif, lost = _exif_of(data, (samples.shape[1], samples.shape[0]))
    notes = ("developed from raw data with the camera's white balance", *lost)
    return samples, PictureMetadata(exif=exif, notes=notes)


def require_rawpy() -> None:
    """Raises MissingExtraError where rawpy is not installed."""
    if importlib.util.find_spec("rawpy") is None:
        raise MissingExtraError("a raw file of a camera; rawpy", "raw")


def raw_size(data: bytes) -> tuple[int, int]:
    """Width and height as developed, upright.

    Raises:
        MissingExtraError: rawpy is not installed.
        PixelError: LibRaw does not read it.
    """
    with _opened(data) as raw:
        width, height = raw.sizes.iwidth, raw.sizes.iheight
        return (height, width) if raw.sizes.flip in (5, 6) else (width, height)


@contextmanager
def _opened(data: bytes) -> Iterator[RawPy]:
    require_rawpy()
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            yield raw
    except (rawpy.LibRawIOError, rawpy.LibRawDataError) as error:
        raise PixelError(
            "the file is cut short or damaged; copy it again from its source"
        ) from error
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        reason = reason.decode("ascii", "replace") if isinstance(reason, bytes) else str(reason)
        raise PixelError(
            f"it is a raw file that LibRaw does not read ({reason}); export it as a 16-bit TIFF"
        ) from error


def _exif_of(data: bytes, size: tuple[int, int]) -> tuple[bytes | None, tuple[str, ...]]:
    """The EXIF of a raw file that is a TIFF."""
    if not data.startswith(TIFF_SIGNATURES):
        return None, ("its EXIF was not kept",)
    try:
        exif, unread = tiff_directory(data)
        reset_orientation(exif)
        block, unwritten = serialise_exif(exif, size, "TIFF")
    except DAMAGED_EXIF:
        return None, ("its EXIF was not kept",)
    return block, (*unread, *unwritten)
