"""Reading a person's picture with everything needed to write it back the same way.

JPEG, PNG, WebP, TIFF, BMP and AVIF; HEIC with the extra "heif". Orientation is applied, EXIF and
ICC profile are kept, 16-bit colour and float TIFF stay what they are.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from corun.errors import CorunError, ImageFileError, MissingExtraError
from corun.pictures.curves import (
    LINEAR_TRANSFER,
    exponent_of_profile,
    refuse_hdr,
    unusual_exponent,
)
from corun.pictures.deep import is_deep_png, read_deep_png, read_deep_tiff
from corun.pictures.formats import READABLE_FORMATS
from corun.pictures.limits import DEFAULT_MAX_PIXELS, check_size, check_tiff
from corun.pictures.metadata import (
    ICC_PROFILE,
    RESOLUTION_TAGS,
    RESOLUTION_UNIT,
    PictureMetadata,
    exif_of,
    orientation_of,
    reset_orientation,
    serialise_exif,
    sound_resolution,
    tiff_directory,
)
from corun.pictures.modes import SIXTEEN_BIT_MODES
from corun.pictures.pixels import PixelError
from corun.pictures.png_chunks import COLOUR_CHUNKS, kept_chunks
from corun.pictures.tiff_header import TIFF_SIGNATURES, read_tiff_header
from corun.shapes import Shaped, UInt16

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes the picture upright (EXIF 2.32, 4.6.4)."""

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,  # strips of no rows are divided by
    struct.error,
    zlib.error,
)
"""What decoders raise on damaged files; there is no common base class."""

_pixel_limit_lock = threading.Lock()


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
        MissingExtraError: HEIC without pillow-heif.
    """
    name = name or (str(source) if isinstance(source, Path) else "the picture")
    data = source if isinstance(source, bytes) else _read_bytes(source)
    with _named(name, data):
        return _decode(data, max_pixels)


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture file, upright, from its header alone.

    Raises:
        ImageFileError: missing, unreadable, empty, not a picture, or its header is damaged.
        MissingExtraError: HEIC without pillow-heif.
    """
    data = _read_bytes(path)
    with _named(str(path), data), _open(data) as image:
        width, height = image.size
        turned = orientation_of(exif_of(image)[0]) in (5, 6, 7, 8)
        return (height, width) if turned else (width, height)


@contextmanager
def _named(name: str, data: bytes) -> Iterator[None]:
    """Turns what decoders raise into one line with the file's name, and keeps them quiet."""
    if not data:
        raise ImageFileError(f"{name}: the file is empty; copy it again from its source")
    try:
        # Decoders warn about what they repair (odd EXIF, TIFF tags); the picture is what counts.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except CorunError as error:
        if isinstance(error, PixelError):
            raise ImageFileError(f"{name}: {error}") from error
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
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageFileError(f"{path}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise ImageFileError(f"{path}: is a folder, not a picture") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageFileError(f"{path}: cannot be read ({reason}); check its permissions") from error


def _decode(data: bytes, max_pixels: int) -> Picture:
    if data.startswith(TIFF_SIGNATURES):
        header = read_tiff_header(data)
        if header is not None:
            check_tiff(header, max_pixels=max_pixels)
        deep = read_deep_tiff(data)
        if deep is not None:
            return _deep_tiff_picture(data, deep)
    with _open(data) as image:
        check_size(
            image.width,
            image.height,
            max_pixels=max_pixels,
            bytes_per_pixel=8 if is_deep_png(data) else 4,
        )
        _refuse_hdr_of_container(image, data)
        image.load()
        frames = 1 if image.format in ("MPO", "HEIF") else getattr(image, "n_frames", 1)
        notes = (f"holds {frames} pictures; only the first is used",) if frames > 1 else ()
        exif, exif_notes = exif_of(image)
        orientation = orientation_of(exif)
        upright = _upright_image(image, orientation)
        reset_orientation(exif)
        metadata = PictureMetadata.of_image(image, size=upright.size, notes=(*notes, *exif_notes))
        if orientation != 1 and metadata.exif is not None:
            upright.info["exif"] = metadata.exif
        if image.format == "PNG":
            metadata = _with_png_colours(metadata, data)
        if image.format == "WEBP" and b"VP8L" in data[:64]:
            metadata = replace(metadata, encoding={"lossless": True})
        if is_deep_png(data):
            return Picture(_upright_array(read_deep_png(data), orientation), metadata)
        if upright.mode in SIXTEEN_BIT_MODES and "transparency" in upright.info:
            return Picture(_with_keyed_alpha(upright), metadata)
        return Picture(upright, metadata)


def _refuse_hdr_of_container(image: Image.Image, data: bytes) -> None:
    """Refuses HEIC and AVIF of HDR transfer functions (ISO/IEC 23008-12, colr of type nclx)."""
    profile = image.info.get("nclx_profile")
    if profile:
        refuse_hdr(int(profile["transfer_characteristics"]))
    elif image.format == "AVIF":
        at = data.find(b"colrnclx")
        if 0 <= at <= len(data) - 12:
            refuse_hdr(int.from_bytes(data[at + 10 : at + 12], "big"))


def _with_png_colours(metadata: PictureMetadata, data: bytes) -> PictureMetadata:
    """With the chunks of a PNG; cICP goes before a profile, sRGB and gAMA (PNG 3, 4.3)."""
    chunks = kept_chunks(data)
    named = {name: body for name, body in chunks if name in COLOUR_CHUNKS}
    exponent = metadata.exponent
    if len(named.get(b"cICP", b"")) == 4:
        refuse_hdr(named[b"cICP"][1])
        exponent = 1.0 if named[b"cICP"][1] == LINEAR_TRANSFER else None
    elif metadata.icc is None and b"sRGB" not in named and len(named.get(b"gAMA", b"")) == 4:
        gamma = int.from_bytes(named[b"gAMA"], "big") / 100_000
        exponent = unusual_exponent(1 / gamma) if gamma > 0 else None
    return replace(metadata, chunks=chunks, exponent=exponent)


def _with_keyed_alpha(image: Image.Image) -> UInt16[np.ndarray, "h w 2"]:
    """16-bit grey + alpha, transparent where the grey is the one that the file marks.

    Pillow has no 16-bit grey with alpha, and after dehazing no pixel has just that grey.
    """
    grey = np.asarray(image).astype(np.uint16)
    alpha = np.where(grey == image.info["transparency"], 0, 65535).astype(np.uint16)
    return np.stack([grey, alpha], axis=-1)


def _open(data: bytes) -> Image.Image:
    """Opens without Pillow's own limit, which is one global number for the whole process.

    Opening reads the header only; the caller compares the size with its own limit.
    """
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        _register_heif()
    with _pixel_limit_lock:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=_registered_formats())
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _registered_formats() -> list[str]:
    Image.init()
    return [name for name in READABLE_FORMATS if name in Image.OPEN]


def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError("pillow-heif", "heif") from error
    pillow_heif.register_heif_opener()


def _deep_tiff_picture(data: bytes, samples: Shaped[np.ndarray, "..."]) -> Picture:
    exif, unread = tiff_directory(data)
    orientation = orientation_of(exif)
    icc = exif.get(ICC_PROFILE)
    dpi = None
    if exif.get(RESOLUTION_UNIT) == 2 and all(tag in exif for tag in RESOLUTION_TAGS):
        x, y = RESOLUTION_TAGS
        dpi = sound_resolution(exif[x], exif[y])
    samples = _upright_array(samples, orientation)
    reset_orientation(exif)
    block, notes = serialise_exif(exif, (samples.shape[1], samples.shape[0]), "TIFF")
    metadata = PictureMetadata(
        format="TIFF",
        exif=block,
        icc=icc if isinstance(icc, bytes) else None,
        exponent=unusual_exponent(exponent_of_profile(icc if isinstance(icc, bytes) else None)),
        dpi=dpi,
        encoding={"compression": "tiff_adobe_deflate"},
        notes=(*unread, *notes),
    )
    if samples.ndim == 2 and samples.dtype in (np.uint16, np.float32):
        return Picture(Image.fromarray(samples), metadata)
    return Picture(samples, metadata)


def _upright_image(image: Image.Image, orientation: int) -> Image.Image:
    """A copy with an EXIF orientation (1-8) applied and, if it turned, without what states it.

    Pillow's exif_transpose writes the EXIF anew to do so, and fails where a single entry of it is
    damaged.
    """
    method = TRANSPOSITIONS.get(orientation)
    if method is None:
        return image.copy()
    upright = image.transpose(method)
    for key in ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"):
        upright.info.pop(key, None)
    return upright


def _upright_array(
    samples: Shaped[np.ndarray, "..."], orientation: int
) -> Shaped[np.ndarray, "..."]:
    """Applies an EXIF orientation (1-8, EXIF 2.32, 4.6.4) to rows and columns."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return np.ascontiguousarray(samples)


def _why_not_a_picture(data: bytes) -> str:
    known = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM", *TIFF_SIGNATURES)
    if data.startswith(known) or data[4:8] == b"ftyp":
        return "the file is cut short or damaged; copy it again from its source"
    return "not a picture corun can read; convert it to JPEG, PNG, WebP, TIFF, BMP, AVIF or HEIC"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
