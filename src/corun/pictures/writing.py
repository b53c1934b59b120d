"""Writing pictures: encoded whole in memory, then put under their name in one step."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from corun.errors import ImageFileError, reason_of
from corun.files import write_atomically
from corun.pictures.containers import encode_deep_heif, register_heif
from corun.pictures.deep import beside_pixels, directory_of, encode_deep_tiff, encode_png16
from corun.pictures.formats import MODES
from corun.pictures.jpeg_parts import LARGEST_SEGMENT, iptc_segment
from corun.pictures.metadata import PictureMetadata, exif_has_sub_directories, exif_within
from corun.pictures.modes import SIXTEEN_BIT_MODES, rgb_from_pil
from corun.pictures.pixels import convert_depth
from corun.pictures.png_chunks import (
    COMMENT_KEYWORD,
    Chunk,
    comment_of,
    keywords_of,
    with_chunks,
    xmp_chunk,
)
from corun.pictures.reading import Picture
from corun.pictures.working import AnyImage, stored_like, working_colours
from corun.shapes import Shaped

_room_lock = threading.Lock()

DEFAULT_QUALITY = 95
XMP_NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"

LOSSLESS_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "group3", "group4")

ENCODER_ERRORS = (OSError, ValueError, TypeError, ArithmeticError, SystemError, RuntimeError)
"""What Pillow's encoders raise over what they cannot write; there is no common base class."""

PROFILE_COLOURS = {
    **dict.fromkeys(("1", "L", "LA", "I;16", "F"), "GRAY"),
    "CMYK": "CMYK",
}
"""Pillow modes to the kind of ICC profile that describes them, where it is not "RGB "."""

TIFF_MODES_OF_OURS = ("L", "LA", "RGB", "RGBA", "I;16")
"""Modes that `encode_deep_tiff` writes as well as libtiff does."""


def encode_picture(
    image: Image.Image | Shaped[np.ndarray, "..."],
    metadata: PictureMetadata,
    file_format: str,
    *,
    quality: int = DEFAULT_QUALITY,
) -> tuple[bytes, tuple[str, ...]]:
    """Encodes a picture with its metadata; returns the file's content and notes on what it lost.

    Args:
        image: a Pillow image, or an array as `array_like` returns it.
        metadata: what to write beside the pixels; an ICC profile of another kind of picture
            (CMYK for RGB pixels) is left out.
        file_format: "JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF" or "HEIF".
        quality: 1-100 of the lossy formats; JPEG is written without chroma subsampling.

    Raises:
        ImageFileError: the format cannot hold the picture (transparency in a JPEG; too large).
    """
    notes: list[str] = []
    image, metadata = _in_stated_form(image, metadata, file_format, notes)
    content = _encode(image, metadata, file_format, quality, notes)
    if file_format == "PNG":
        content = with_chunks(content, _chunks_beside(metadata))
    notes += _left_behind(metadata, file_format)
    return content, tuple(dict.fromkeys(notes))


def _left_behind(metadata: PictureMetadata, file_format: str) -> list[str]:
    """Notes on what stands beside the pixels and has no place in the format."""
    notes = []
    kept = (
        (COMMENT_KEYWORD.decode(),) if file_format == "JPEG" and comment_of(metadata.chunks) else ()
    )
    keywords = [word for word in keywords_of(metadata.chunks) if word not in kept]
    if keywords and file_format != "PNG":
        notes.append(f"{file_format} holds no text; {', '.join(keywords)} not kept")
    if metadata.iptc is not None and file_format not in ("JPEG", "TIFF"):
        notes.append(f"{file_format} holds no IPTC block; it was not kept")
    if metadata.georeference and file_format != "TIFF":
        notes.append(f"{file_format} holds no georeference; it was not kept")
    if metadata.spare is not None and file_format != "TIFF":
        count = metadata.spare.shape[2]
        notes.append(f"{file_format} holds colours alone; {count} spare band(s) were not kept")
    if file_format == "BMP":
        beside = {"EXIF": metadata.exif, "XMP": metadata.xmp, "colour profile": metadata.icc}
        lost = [name for name, value in beside.items() if value is not None]
        if lost:
            notes.append(f"BMP holds no {', '.join(lost)}; not kept")
    return notes


def _in_stated_form(
    image: AnyImage, metadata: PictureMetadata, file_format: str, notes: list[str]
) -> tuple[AnyImage, PictureMetadata]:
    """The picture with samples as for a screen where the format cannot state that they are not."""
    states = metadata.icc is not None and file_format != "BMP"
    if metadata.exponent is None or states or file_format == "PNG":
        return image, metadata
    notes.append(f"{file_format} states no gamma; its samples were converted to sRGB")
    shown = replace(metadata, exponent=None, icc=None)
    clear = working_colours(Picture(image, metadata))
    return stored_like(clear, Picture(image, shown)), shown


def _chunks_beside(metadata: PictureMetadata) -> tuple[Chunk, ...]:
    """The kept chunks of a PNG; sRGB may not stand beside a profile (PNG 3, 11.3.2.3)."""
    without = (b"sRGB",) if metadata.icc is not None else ()
    xmp = (xmp_chunk(metadata.xmp),) if metadata.xmp is not None else ()
    return (*(chunk for chunk in metadata.chunks if chunk[0] not in without), *xmp)


def _encode(
    image: AnyImage, metadata: PictureMetadata, file_format: str, quality: int, notes: list[str]
) -> bytes:
    """The file's content; what it lost is added to the notes."""
    if isinstance(image, np.ndarray):
        if file_format == "HEIF" and image.ndim == 3 and image.shape[2] > 2:
            return _encode_heif16(image, metadata, quality, notes)
        pixels = _fit_array(image, file_format, notes)
        deep = pixels.ndim == 3 and pixels.dtype != np.uint8
        if deep or pixels.dtype in (np.float16, np.float64):
            notes += metadata.icc_note(_profile_colours(pixels))
            if file_format == "PNG":
                return encode_png16(pixels, metadata)
            return encode_deep_tiff(pixels, _fitting_bands(metadata, pixels, notes))
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)
    fitted = _fit_image(image, file_format, notes)
    if file_format != "BMP" and (image.mode == "CMYK") == (fitted.mode == "CMYK"):
        notes += metadata.icc_note(PROFILE_COLOURS.get(fitted.mode, "RGB "))
    if file_format == "JPEG":
        metadata = _for_jpeg(metadata, notes)
    options = _writer_options(fitted, metadata, file_format, quality)
    ours = fitted.mode in TIFF_MODES_OF_OURS and file_format == "TIFF"
    if fitted.mode == "F" or (ours and _needs_our_tiff(metadata, options)):
        samples = np.asarray(fitted)
        return encode_deep_tiff(samples, _fitting_bands(metadata, samples, notes))
    bare = fitted.copy()
    bare.info = {key: fitted.info[key] for key in ("transparency",) if key in fitted.info}
    with io.BytesIO() as file:
        try:
            with _room_for_jpeg(bare) if file_format == "JPEG" else nullcontext():
                bare.save(file, file_format, **options)
        except ENCODER_ERRORS as error:
            reason = " ".join(str(error).split())
            raise ImageFileError(
                f"a {fitted.width}x{fitted.height} picture cannot be written as {file_format} "
                f"({reason}); choose another --format"
            ) from error
        return file.getvalue()


def _needs_our_tiff(metadata: PictureMetadata, options: Mapping[str, object]) -> bool:
    """Whether a TIFF has what libtiff does not take from Pillow."""
    if metadata.spare is not None or beside_pixels(metadata):
        return True
    compressed = options.get("compression", "raw") != "raw"
    return compressed and metadata.exif is not None and exif_has_sub_directories(metadata.exif)


def _encode_heif16(
    samples: Shaped[np.ndarray, "h w c"],
    metadata: PictureMetadata,
    quality: int,
    notes: list[str],
) -> bytes:
    """A HEIC of 10 or 12 bits."""
    bits = metadata.encoding.get("bits") if metadata.format == "HEIF" else None
    if bits is None:
        notes.append("HEIF holds 10 bits per colour; written with 10 bits")
    notes += metadata.icc_note("RGB ")
    return encode_deep_heif(convert_depth(samples, np.dtype(np.uint16)), metadata, quality)


def _fitting_bands(
    metadata: PictureMetadata, samples: Shaped[np.ndarray, "..."], notes: list[str]
) -> PictureMetadata:
    """With the spare bands if they have the samples' size and type, else without and noted."""
    spare = metadata.spare
    if spare is None or (spare.dtype == samples.dtype and spare.shape[:2] == samples.shape[:2]):
        return metadata
    notes.append("spare bands are of another type or size than the result and were not kept")
    return replace(metadata, spare=None)


def _for_jpeg(metadata: PictureMetadata, notes: list[str]) -> PictureMetadata:
    """With what fits into segments of 64 KiB."""
    if metadata.exif is not None:
        exif, lost = exif_within(metadata.exif, LARGEST_SEGMENT)
        metadata = replace(metadata, exif=exif)
        notes += lost
    if metadata.xmp is not None and len(metadata.xmp) > LARGEST_SEGMENT - len(XMP_NAMESPACE):
        metadata = replace(metadata, xmp=None)
        notes.append("its XMP is too long for JPEG and was not kept")
    if metadata.iptc is not None and not iptc_segment(metadata.iptc):
        metadata = replace(metadata, iptc=None)
        notes.append("its IPTC block is too long for JPEG and was not kept")
    return metadata


@contextmanager
def _room_for_jpeg(image: Image.Image) -> Iterator[None]:
    """Gives Pillow's encoder the room for the noisiest picture; it guesses, and fails, otherwise.

    The room is one global number, which more than one thread may use while it is large.
    """
    noisiest = 2 * len(image.getbands()) * image.width * image.height
    with _room_lock:
        before = ImageFile.MAXBLOCK
        ImageFile.MAXBLOCK = max(before, noisiest + 256 * LARGEST_SEGMENT)
        try:
            yield
        finally:
            ImageFile.MAXBLOCK = before


def write_encoded(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Puts an encoded picture under `path` in one step: the file is there whole, or not at all.

    Args:
        path: the file to write; a symbolic link is followed.
        content: all of its bytes.
        overwrite: whether a file of that name is replaced.

    Raises:
        FileExistsError: there is a file of that name, and `overwrite` is false.
        ImageFileError: the folder is missing, not writable or full.
    """
    try:
        write_atomically(path, content, overwrite=overwrite)
    except FileExistsError:
        raise
    except OSError as error:
        raise ImageFileError(f"{path}: {_write_failure(error)}") from error


def _write_failure(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "cannot be written, the disk is full; free some space or choose another -o"
        case errno.EACCES if os.name == "nt":  # it does not say which
            return (
                "cannot be written, another program has it open or the folder is not writable; "
                "close it, or choose another -o"
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "cannot be written, the folder is not writable; choose another -o"
        case errno.ENOENT | errno.ENOTDIR:
            return "cannot be written, its folder does not exist; create it or choose another -o"
        case errno.ENAMETOOLONG:
            return "cannot be written, the name is too long; choose a shorter --suffix or -o"
        case _:
            return f"cannot be written ({reason_of(error)}); choose another -o"


def _fit_array(
    samples: Shaped[np.ndarray, "..."], file_format: str, notes: list[str]
) -> Shaped[np.ndarray, "..."]:
    """Reduces the depth of an array to what the format holds."""
    floating = np.issubdtype(samples.dtype, np.floating)
    if file_format == "TIFF" or samples.dtype == np.uint8:
        return samples
    if file_format == "PNG":
        if floating:
            notes.append("PNG holds no floats; written with 16 bits")
        return convert_depth(samples, np.dtype(np.uint16))
    notes.append(f"{file_format} holds 8 bits per colour; written with 8 bits")
    return convert_depth(samples, np.dtype(np.uint8))


def _fit_image(image: Image.Image, file_format: str, notes: list[str]) -> Image.Image:
    """Converts a Pillow image to the nearest mode the format holds."""
    modes = MODES[file_format]
    # A transparent colour or palette entry: PNG marks it, the others would show it.
    marked = image.has_transparency_data and image.mode in ("1", "L", "P", "RGB")
    if image.mode in modes and (file_format == "PNG" or not marked):
        return image
    if image.mode in (*SIXTEEN_BIT_MODES, "I", "F"):
        depth = np.uint16 if "I;16" in modes else np.uint8
        grey = rgb_from_pil(image)[:, :, 0]
        if image.mode == "F" or depth == np.uint8:
            notes.append(f"{file_format} holds no {image.mode} samples; written with fewer bits")
        return _fit_image(Image.fromarray(convert_depth(grey, np.dtype(depth))), file_format, notes)
    if image.has_transparency_data or image.mode in ("LA", "RGBA", "PA", "La", "RGBa"):
        with_alpha = image.convert("RGBA")
        if "RGBA" in modes:
            return with_alpha
        if with_alpha.getchannel("A").getextrema() != (255, 255):
            raise ImageFileError(
                f"{file_format} cannot hold the picture's transparency; choose --format png"
            )
        return _fit_image(_opaque(image), file_format, notes)
    if image.mode == "1" and "L" in modes:
        return image.convert("L")
    if image.mode == "CMYK":
        notes.append(f"{file_format} holds no CMYK; written as RGB, without the CMYK profile")
        return Image.fromarray(convert_depth(rgb_from_pil(image), np.dtype(np.uint8)))
    return image.convert("RGB")


def _opaque(image: Image.Image) -> Image.Image:
    """Without its transparency, which no pixel makes use of."""
    if image.mode in ("1", "L", "RGB"):
        opaque = image.copy()
    else:
        opaque = image.convert("L" if image.mode in ("LA", "La") else "RGB")
    opaque.info.pop("transparency", None)
    return opaque


def _profile_colours(samples: Shaped[np.ndarray, "..."]) -> str:
    return "GRAY" if samples.ndim == 2 or samples.shape[2] < 3 else "RGB "


def _writer_options(
    image: Image.Image, metadata: PictureMetadata, file_format: str, quality: int
) -> dict[str, object]:
    options: dict[str, object] = {}
    icc = metadata.icc_for(PROFILE_COLOURS.get(image.mode, "RGB "))
    if file_format != "BMP":
        options["icc_profile"] = icc
        if metadata.exif is not None:
            options["exif"] = metadata.exif
    if metadata.xmp is not None and file_format in ("JPEG", "WEBP", "AVIF", "HEIF"):
        options["xmp"] = metadata.xmp
    if metadata.dpi is not None and file_format in ("JPEG", "PNG", "TIFF", "BMP"):
        options["dpi"] = metadata.dpi
    encoding = metadata.encoding
    if file_format == "JPEG":
        options |= {"quality": quality, "subsampling": 0, "optimize": True}
        options["progressive"] = bool(encoding.get("progressive", False))
        options["comment"] = comment_of(metadata.chunks)
        if metadata.iptc is not None:
            options["extra"] = iptc_segment(metadata.iptc)
    elif file_format == "WEBP":
        options |= {"quality": quality, "lossless": bool(encoding.get("lossless", False))}
        options["exact"] = True  # colours under full transparency stay as they are
    elif file_format == "AVIF":
        options |= {"quality": quality, "subsampling": "4:4:4"}
    elif file_format == "HEIF":
        register_heif()
        options |= {"quality": quality, "chroma": 444}
    elif file_format == "TIFF":
        compression = str(encoding.get("compression", ""))
        fits = compression in LOSSLESS_TIFF and (
            image.mode == "1" or not compression.startswith("group")
        )
        options["compression"] = compression if fits else "tiff_adobe_deflate"
        if image.mode not in TIFF_MODES_OF_OURS and _needs_our_tiff(metadata, options):
            options["compression"] = "raw"  # by Pillow itself, without libtiff
        if beside_pixels(metadata):
            options["tiffinfo"] = directory_of(metadata)
    return options
