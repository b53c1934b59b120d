"""Reading a person's picture with everything needed to write it back the same way.

JPEG, PNG, WebP, TIFF, BMP and AVIF; HEIC with the extra "heif", raw files with the extra "raw".
Orientation is applied, what stands beside the pixels is kept, deep colour stays what it is.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from corun.errors import CorunError, ImageFileError, MissingExtraError
from corun.pictures.decoding import Decoded, decode, open_picture
from corun.pictures.foreign import foreign_kind, is_raw
from corun.pictures.limits import DEFAULT_MAX_PIXELS
from corun.pictures.metadata import ORIENTATION, PictureMetadata, exif_of, orientation_of
from corun.pictures.pixels import PixelError
from corun.pictures.raw import PIXELS_OF_TIME, raw_size, read_raw, require_rawpy
from corun.pictures.tiff_header import LENGTH, TIFF_SIGNATURES, WIDTH, read_tiff_header
from corun.shapes import Shaped

HEAD = 4096
"""Bytes that tell what kind of file it is."""

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,  # strips of no rows are divided by
    RuntimeError,  # AVIF's decoder
    AttributeError,
    AssertionError,
    SystemError,
    struct.error,
    zlib.error,
)
"""What decoders raise on damaged files; there is no common base class."""


@dataclass(frozen=True)
class Picture:
    """A picture from a file, upright.

    Attributes:
        image: a Pillow image in the file's mode; where Pillow has no mode for it (16-bit or float
            colour), an array (H,W,2), (H,W,3) or (H,W,4), alpha last.
        metadata: EXIF, ICC profile, resolution and encoding.
    """

    image: Image.Image | Shaped[np.ndarray, "..."]
    metadata: PictureMetadata


def read_picture(
    source: Path | bytes, *, name: str = "", max_pixels: int = DEFAULT_MAX_PIXELS
) -> Picture:
    """Reads a picture file, or its bytes.

    Args:
        source: the file, or its content.
        name: what to call it in error messages; the path by default.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        ImageFileError: missing, unreadable, empty, not a picture, damaged, or too large; the
            message names the file and what to do.
        MissingExtraError: HEIC without pillow-heif, a raw file without rawpy.
    """
    name = name or (str(source) if isinstance(source, Path) else "the picture")
    data = source if isinstance(source, bytes) else _read_bytes(source)
    with _named(name, data):
        if is_raw(data, Path(name).suffix):
            require_rawpy()
            return Picture(*_elsewhere(data, name, max_pixels, PIXELS_OF_TIME))
        elsewhere = partial(_elsewhere, data, name, max_pixels)
        return Picture(*decode(data, max_pixels=max_pixels, elsewhere=elsewhere))


def _elsewhere(data: bytes, name: str, max_pixels: int, pixels: int) -> Decoded:
    """In another process; what it takes to start one is imported for large pictures only."""
    from corun.pictures.isolation import can_isolate, decode_elsewhere

    if not can_isolate():
        picture = read_here(data, name=name, max_pixels=max_pixels)
        return picture.image, picture.metadata
    return decode_elsewhere(data, name, max_pixels, pixels)


def read_here(data: bytes, *, name: str, max_pixels: int) -> Picture:
    """As `read_picture`, whatever the picture may be, in this process."""
    with _named(name, data):
        if is_raw(data, Path(name).suffix):
            return Picture(*read_raw(data, max_pixels=max_pixels))
        return Picture(*decode(data, max_pixels=max_pixels))


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture file, upright, from its header alone.

    Raises:
        ImageFileError: missing, unreadable, empty, not a picture, or its header is damaged.
        MissingExtraError: HEIC without pillow-heif, a raw file without rawpy.
    """
    data = _read_bytes(path)
    with _named(str(path), data):
        if is_raw(data, path.suffix):
            return raw_size(data)
        header = read_tiff_header(data)
        if header is not None:
            width, height = header.one(WIDTH, 0), header.one(LENGTH, 0)
            turned = header.one(ORIENTATION, 1) in (5, 6, 7, 8)
            if width and height:
                return (height, width) if turned else (width, height)
    with _named(str(path), data), open_picture(data) as image:
        width, height = image.size
        turned = orientation_of(exif_of(image)[0]) in (5, 6, 7, 8)
        return (height, width) if turned else (width, height)


@contextmanager
def _named(name: str, data: bytes) -> Iterator[None]:
    """Turns what decoders raise into one line with the file's name, and keeps them quiet."""
    if not data:
        raise ImageFileError(f"{name}: the file is empty; copy it again from its source")
    if foreign := foreign_kind(data):
        raise ImageFileError(f"{name}: {foreign}")
    try:
        # Decoders warn about what they repair (odd EXIF, TIFF tags); the picture is what counts.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except CorunError as error:
        if isinstance(error, PixelError):
            raise ImageFileError(f"{name}: {error}") from error
        if isinstance(error, MissingExtraError):
            raise MissingExtraError(f"{name}: {error.package}", error.extra) from error
        raise
    except UnidentifiedImageError as error:
        raise ImageFileError(f"{name}: {_why_not_a_picture(data)}") from error
    except MemoryError as error:
        raise ImageFileError(f"{name}: not enough memory to decode it; scale it down") from error
    except DAMAGE as error:
        raise ImageFileError(
            f"{name}: the file is cut short or damaged ({_one_line(error)}); "
            "copy it again from its source"
        ) from error


def _read_bytes(path: Path) -> bytes:
    """All of a file; of what is no picture, a film of gigabytes perhaps, the beginning alone."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
            return head if foreign_kind(head) else head + stream.read()
    except FileNotFoundError as error:
        raise ImageFileError(f"{path}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise ImageFileError(f"{path}: is a folder, not a picture") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageFileError(f"{path}: cannot be read ({reason}); check its permissions") from error


def _why_not_a_picture(data: bytes) -> str:
    known = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM", *TIFF_SIGNATURES)
    if data.startswith(known) or data[4:8] == b"ftyp":
        return "the file is cut short or damaged; copy it again from its source"
    return "not a picture corun can read; convert it to JPEG, PNG, WebP, TIFF, BMP, AVIF or HEIC"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
