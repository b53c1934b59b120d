"""A picture file's bytes to upright pixels and all that it takes to write them back."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from importlib import import_module

import numpy as np
from PIL import Image

from corun.pictures.containers import (
    container_exponent,
    container_notes,
    read_deep_heif,
    register_heif,
)
from corun.pictures.curves import (
    LINEAR_TRANSFER,
    exponent_of_profile,
    refuse_hdr,
    unusual_exponent,
)
from corun.pictures.deep import (
    IPTC_TAG,
    XMP_TAG,
    DeepTiff,
    is_deep_png,
    read_deep_png,
    read_deep_tiff,
)
from corun.pictures.foreign import HEIF_BRANDS
from corun.pictures.formats import READABLE_FORMATS
from corun.pictures.jpeg_parts import JpegParts, jpeg_parts, with_end
from corun.pictures.limits import check_plausible, check_size, check_tiff, is_suspect
from corun.pictures.metadata import (
    ICC_PROFILE,
    RESOLUTION_TAGS,
    RESOLUTION_UNIT,
    PictureMetadata,
    exif_of,
    georeference_of,
    orientation_of,
    reset_orientation,
    serialise_exif,
    sound_resolution,
    tiff_directory,
    upright_xmp,
)
from corun.pictures.modes import SIXTEEN_BIT_MODES
from corun.pictures.png_chunks import COLOUR_CHUNKS, kept_chunks, without_long_chunks
from corun.pictures.quiet import quiet_libraries
from corun.pictures.tiff_header import ASSUMED_RGB, TIFF_SIGNATURES, bands_of, read_tiff_header
from corun.shapes import Shaped, UInt16

Decoded = tuple[Image.Image | Shaped[np.ndarray, "..."], PictureMetadata]
"""A Pillow image in the file's mode or an array (H,W,2..4), and what goes with it."""

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

NO_END = "its end marker is missing; the picture before it is whole"
PHOTOSHOP_LAYERS = 37724
LAYERS_LOST = "its Photoshop layers were not kept"
NO_EARTH = "it was turned upright, and its georeference, which was for the unturned one, not kept"

_pixel_limit_lock = threading.Lock()


def decode(
    data: bytes, *, max_pixels: int, elsewhere: Callable[[int], Decoded] | None = None
) -> Decoded:
    """Decodes a picture, upright.

    Args:
        data: the file's content.
        max_pixels: larger pictures are refused before they are decoded.
        elsewhere: decodes it in another process, given the number of its pixels; it is asked for
            what is large, or promises more than so few bytes hold.

    Raises:
        PixelError: too large, HDR, or of samples that are no picture's.
        MissingExtraError: HEIC without pillow-heif.
        OSError, ValueError, ...: it is cut short or damaged; there is no common base class.
    """
    notes: tuple[str, ...] = ()
    if data.startswith(TIFF_SIGNATURES):
        header = read_tiff_header(data)
        if header is not None:
            check_tiff(header, len(data), max_pixels=max_pixels)
            width, height, _ = header.decoded_size
            if elsewhere is not None and is_suspect(width, height, len(data)):
                return elsewhere(width * height)
            bands = bands_of(header)
            notes = (LAYERS_LOST,) if PHOTOSHOP_LAYERS in header.present else ()
            deep = read_deep_tiff(data, bands)
            if deep is not None:
                if bands.assumed:
                    notes = (*notes, ASSUMED_RGB)
                return _deep_tiff_picture(data, deep, notes)
    parts = jpeg_parts(data) if data.startswith(b"\xff\xd8\xff") else JpegParts(whole=True)
    light, long = without_long_chunks(data)
    with open_picture(light) as image:
        bytes_per_pixel = 8 if is_deep_png(data) else 4
        check_size(*image.size, max_pixels=max_pixels, bytes_per_pixel=bytes_per_pixel)
        check_plausible(image, data)
        if elsewhere is not None and is_suspect(*image.size, len(data), scans=parts.scans):
            return elsewhere(image.width * image.height)
        exponent = container_exponent(image, data)
    if parts.scans and not parts.whole:
        completed = with_end(data)
        if completed is not None:
            light, parts = completed, replace(parts, notes=(*parts.notes, NO_END))
    with open_picture(light) as image:
        image.info.update(long)
        if _heif_depth(image) == 8:
            with quiet_libraries() if image.format == "TIFF" else nullcontext():
                image.load()
        return _with_metadata(image, data, replace(parts, notes=(*notes, *parts.notes)), exponent)


def open_picture(data: bytes) -> Image.Image:
    """Opens without Pillow's own limit, which is one global number for the whole process.

    Opening reads the header only; the caller compares the size with its own limit.

    Raises:
        MissingExtraError: HEIC without pillow-heif.
        UnidentifiedImageError: no picture in a format that is read.
    """
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        register_heif()
    with _pixel_limit_lock:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=_registered_formats())
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _with_metadata(
    image: Image.Image, data: bytes, parts: JpegParts, exponent: float | None
) -> Decoded:
    """A loaded image upright, and what goes with it."""
    frames = 1 if image.format in ("MPO", "HEIF") else getattr(image, "n_frames", 1)
    notes = (*_pages_note(frames), *parts.notes, *container_notes(image, data))
    exif, exif_notes = exif_of(image)
    orientation = orientation_of(exif)
    depth = _heif_depth(image)
    upright = _upright_image(image, orientation) if depth == 8 else image  # libheif has turned it
    reset_orientation(exif)
    metadata = PictureMetadata.of_image(image, size=upright.size, notes=(*notes, *exif_notes))
    if orientation != 1 and metadata.exif is not None:
        upright.info["exif"] = metadata.exif
    metadata = _of_upright(metadata, orientation)
    if metadata.icc is None and exponent is not None:
        metadata = replace(metadata, exponent=exponent)
    if image.format == "PNG":
        metadata = _with_png_colours(metadata, data)
    if image.format == "WEBP" and b"VP8L" in data[:64]:
        metadata = replace(metadata, encoding={"lossless": True})
    iptc = parts.iptc or exif.get(IPTC_TAG) if image.format != "PNG" else None
    if isinstance(iptc, bytes):
        metadata = replace(metadata, iptc=iptc)
    if is_deep_png(data):
        return _upright_array(read_deep_png(data), orientation), metadata
    if depth > 8:
        encoding = {**metadata.encoding, "bits": str(depth)}
        return read_deep_heif(data, depth), replace(metadata, encoding=encoding)
    if upright.mode in SIXTEEN_BIT_MODES and "transparency" in upright.info:
        return _with_keyed_alpha(upright), metadata
    return upright, metadata


def _heif_depth(image: Image.Image) -> int:
    """Bits per sample of a HEIC, 8 of other formats."""
    return int(image.info.get("bit_depth", 8)) if image.format == "HEIF" else 8


def _of_upright(metadata: PictureMetadata, orientation: int) -> PictureMetadata:
    """Without what is true of the unturned picture alone."""
    xmp, notes = upright_xmp(metadata.xmp)
    georeference = metadata.georeference
    if orientation != 1 and georeference:
        georeference, notes = {}, (*notes, NO_EARTH)
    return replace(metadata, xmp=xmp, georeference=georeference, notes=(*metadata.notes, *notes))


def _pages_note(pages: int) -> tuple[str, ...]:
    return (f"holds {pages} pictures; only the first is used",) if pages > 1 else ()


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


def _registered_formats() -> list[str]:
    """The formats that this Pillow reads, of those that are read here.

    `Image.init` would import the plugins of forty more.
    """
    for plugin in ("Jpeg", "Mpo", "Png", "WebP", "Tiff", "Bmp", "Avif"):
        with suppress(ImportError):  # an older Pillow has no AVIF
            import_module(f"PIL.{plugin}ImagePlugin")
    return [name for name in READABLE_FORMATS if name in Image.OPEN]


def _deep_tiff_picture(data: bytes, deep: DeepTiff, notes: tuple[str, ...]) -> Decoded:
    exif, unread = tiff_directory(data)
    orientation = orientation_of(exif)
    icc = exif.get(ICC_PROFILE)
    icc = icc if isinstance(icc, bytes) else None
    dpi = None
    if exif.get(RESOLUTION_UNIT) == 2 and all(tag in exif for tag in RESOLUTION_TAGS):
        x, y = RESOLUTION_TAGS
        dpi = sound_resolution(exif[x], exif[y])
    samples = _upright_array(deep.samples, orientation)
    reset_orientation(exif)
    block, unwritten = serialise_exif(exif, (samples.shape[1], samples.shape[0]), "TIFF")
    xmp, iptc = (exif.get(tag) for tag in (XMP_TAG, IPTC_TAG))
    metadata = PictureMetadata(
        format="TIFF",
        exif=block,
        icc=icc,
        exponent=unusual_exponent(exponent_of_profile(icc)),
        dpi=dpi,
        xmp=xmp if isinstance(xmp, bytes) else None,
        iptc=iptc if isinstance(iptc, bytes) else None,
        georeference=georeference_of(exif),
        spare=None if deep.spare is None else _upright_array(deep.spare, orientation),
        encoding={"compression": "tiff_adobe_deflate"},
        notes=(
            *_pages_note(deep.pages),
            *notes,
            *unread,
            *unwritten,
        ),
    )
    metadata = _of_upright(metadata, orientation)
    grey = samples.ndim == 2 and samples.dtype in (np.uint16, np.float32)
    if grey or samples.dtype == np.uint8:
        return Image.fromarray(samples), metadata
    return samples, metadata


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
