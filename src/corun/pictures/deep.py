"""PNG and TIFF with more than 8 bits per colour, which Pillow reads as 8 bits or not at all.

Reading: PNG by OpenCV after Pillow has checked that the file is whole; TIFF by tifffile, or by
OpenCV where tifffile lacks the decompressor (LZW). Writing: PNG and TIFF here, because neither
library writes 16-bit RGB together with EXIF and an ICC profile; compressed TIFF of 8 bits too
where its EXIF has sub-directories, which libtiff does not take from Pillow.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, TiffImagePlugin

from corun.pictures.metadata import (
    GEOREFERENCE,
    SUB_DIRECTORIES,
    PictureMetadata,
    sub_directory,
)
from corun.pictures.pixels import PixelError
from corun.pictures.png_chunks import PNG_SIGNATURE, chunk_bytes, pixel_stream
from corun.pictures.quiet import quiet_libraries
from corun.pictures.tiff_header import Bands
from corun.shapes import Shaped, UInt16

if TYPE_CHECKING:
    from tifffile import TiffPage

PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Number of channels to PNG colour type: grey, grey + alpha, RGB, RGB + alpha."""

XMP_TAG, IPTC_TAG = 700, 33723
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
ADAM7 += [(0, 1, 1, 2)]
"""First column and row and steps of the passes of an interlaced PNG (ISO/IEC 15948, 8.2)."""

BYTES_PER_STRIP = 1 << 22
TILE_TAGS = frozenset({322, 323, 324, 325, 330})
"""Where another file kept its tiles and sub-pictures; in ours there is nothing at those places."""


def is_deep_png(data: bytes) -> bool:
    """Whether this is a PNG of 16 bits per sample in more than one channel."""
    return data.startswith(PNG_SIGNATURE) and data[24:25] == b"\x10" and data[25] in (2, 4, 6)


def read_deep_png(data: bytes) -> UInt16[np.ndarray, "h w c"]:
    """A 16-bit PNG as (H,W,2) grey + alpha, (H,W,3) RGB or (H,W,4) RGB + alpha.

    Raises:
        PixelError: it cannot be decoded.
    """
    decoded = _by_opencv(_bare_png(data))
    if data[25] == 4:  # OpenCV turns grey + alpha into blue, green, red + alpha
        return np.ascontiguousarray(decoded[:, :, [0, 3]])
    return decoded


@dataclass(frozen=True)
class DeepTiff:
    """The first page of a TIFF that Pillow does not read, or not whole.

    Attributes:
        samples: (H,W), (H,W,2), (H,W,3) or (H,W,4), uint8, uint16 or float, alpha last; white is
            the largest value whatever the file's photometric interpretation, colours straight.
        spare: (H,W,N), the bands that are neither colour nor alpha, as they are stored.
        pages: how many the file has.
    """

    samples: Shaped[np.ndarray, "..."]
    spare: Shaped[np.ndarray, "h w n"] | None = None
    pages: int = 1


def _bare_png(data: bytes) -> bytes:
    """The same picture with nothing in it that libpng prints about: header and pixels alone.

    Raises:
        PixelError: the pixels do not end where they should.
    """
    width, height = struct.unpack_from(">II", data, 16)
    sample_bytes = 2 * {2: 3, 4: 2, 6: 4}[data[25]]
    passes = [(0, 0, 1, 1)] if data[28] == 0 else ADAM7
    sides = ((-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes)
    length = sum(rows * (1 + columns * sample_bytes) for columns, rows in sides if columns > 0)
    pixels = zlib.decompressobj().decompress(pixel_stream(data), length)
    if len(pixels) < length:
        raise PixelError("its pixels are cut short; copy it again from its source")
    header, body = data[16:29], zlib.compress(pixels, 0)
    parts = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(chunk_bytes(*part) for part in parts)


def read_deep_tiff(data: bytes, bands: Bands) -> DeepTiff | None:
    """The first page of a TIFF if it has floats, 16-bit colour or bands that Pillow drops.

    Premultiplied ("associated") alpha is divided out, as Pillow does it for 8 bits.

    Returns:
        None for all others, which Pillow reads.

    Raises:
        PixelError: it cannot be decoded, has samples that are neither 8 or 16 bits nor floats, or
            spare bands in a form that cannot be kept.
        EOFError, ValueError, ...: it is cut short or damaged.
    """
    import tifffile

    with quiet_libraries(), tifffile.TiffFile(io.BytesIO(data)) as tiff:
        if len(tiff.pages) == 0:
            raise EOFError("it has no page that can be read")
        page = tiff.pages.first
        dtype = page.dtype
        unnamed = bands.spare > 0 or bands.assumed
        if dtype is None or (dtype.itemsize == 1 and not unnamed):
            return None
        if page.bitspersample != 8 * dtype.itemsize:
            raise PixelError(
                f"a TIFF of {page.bitspersample} bits per sample is not supported; "
                "convert it to 8 or 16 bits"
            )
        if dtype == np.uint16 and page.samplesperpixel == 1 and page.photometric == 1:
            return None
        if dtype not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
            raise PixelError(f"TIFF samples of type {dtype} are not supported; use uint16 or float")
        if page.photometric not in (0, 1, 2):
            spare = f" with {bands.spare} spare bands" if bands.spare else ""
            raise PixelError(
                f"a {8 * dtype.itemsize}-bit TIFF of {tifffile.PHOTOMETRIC(page.photometric).name} "
                f"colours{spare} is not supported; save it as RGB"
            )
        return _by_bands(_samples_of(page, data), page, bands, len(tiff.pages))


def _by_bands(
    stored: Shaped[np.ndarray, "..."], page: TiffPage, bands: Bands, pages: int
) -> DeepTiff:
    """Colours, alpha and what is neither, apart."""
    planes = stored if stored.ndim == 3 else stored[:, :, None]
    if planes.shape[2] != page.samplesperpixel:
        raise PixelError(
            f"the {page.samplesperpixel} bands of this TIFF can only be read uncompressed "
            "or deflated; save it so"
        )
    planes = planes.astype(planes.dtype.newbyteorder("="), copy=False)
    used = bands.colours + bands.alpha
    samples = np.ascontiguousarray(planes[:, :, :used])
    if page.photometric == 0:
        white = 1 if np.issubdtype(planes.dtype, np.floating) else np.iinfo(planes.dtype).max
        colours = (white - samples[:, :, : bands.colours]).astype(planes.dtype)
        samples = np.concatenate([colours, samples[:, :, bands.colours :]], axis=2)
    if bands.premultiplied:
        samples = straight_colours(samples)
    spare = np.ascontiguousarray(planes[:, :, used:]) if bands.spare else None
    return DeepTiff(samples[:, :, 0] if used == 1 else samples, spare, pages)


def _samples_of(page: TiffPage, data: bytes) -> Shaped[np.ndarray, "..."]:
    """The page's samples as they are stored, (H,W) or (H,W,N)."""
    try:
        samples = page.asarray()
    except (ValueError, NotImplementedError) as error:
        if "imagecodecs" not in str(error):
            raise
        return _by_opencv(data)
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        samples = np.moveaxis(samples, 0, -1)
    return samples


def straight_colours(samples: Shaped[np.ndarray, "h w c"]) -> Shaped[np.ndarray, "h w c"]:
    """c = p/α of premultiplied colours p; black where α = 0, whose colour is lost.

    Args:
        samples: (H,W,2) grey + alpha or (H,W,4) RGB + alpha, uint16 or float.
    """
    white = np.iinfo(samples.dtype).max if np.issubdtype(samples.dtype, np.integer) else 1
    alpha = samples[:, :, -1:].astype(np.float64) / white
    opaque = alpha > 0
    colour = np.where(opaque, samples[:, :, :-1] / np.where(opaque, alpha, 1), 0)
    if np.issubdtype(samples.dtype, np.integer):
        colour = np.rint(np.minimum(colour, white))
    return np.concatenate([colour.astype(samples.dtype), samples[:, :, -1:]], axis=2)


def encode_png16(samples: UInt16[np.ndarray, "..."], metadata: PictureMetadata) -> bytes:
    """A PNG of 16 bits per sample, (H,W) or (H,W,1..4), with EXIF, ICC profile and resolution.

    Rows use PNG's filter "Up" (each byte minus the byte above, ISO/IEC 15948, 9.2), the best of
    the filters that need no loop over pixels.
    """
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [PNG_SIGNATURE, chunk_bytes(b"IHDR", header)]
    icc = metadata.icc_for("GRAY" if channels < 3 else "RGB ")
    if icc is not None:
        chunks.append(chunk_bytes(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)))
    if metadata.dpi is not None:
        x, y = (round(dots / 0.0254) for dots in metadata.dpi)
        chunks.append(chunk_bytes(b"pHYs", struct.pack(">IIB", x, y, 1)))
    if metadata.exif is not None:
        chunks.append(chunk_bytes(b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")))
    chunks.append(chunk_bytes(b"IDAT", zlib.compress(filtered.tobytes(), 6)))
    chunks.append(chunk_bytes(b"IEND", b""))
    return b"".join(chunks)


def encode_deep_tiff(samples: Shaped[np.ndarray, "..."], metadata: PictureMetadata) -> bytes:
    """A TIFF of integer or float samples, (H,W) or (H,W,1..4), with EXIF, ICC and resolution.

    Losslessly compressed strips (Adobe deflate), alpha marked as unassociated; spare bands of the
    same type go behind it, marked as unspecified.
    """
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    if metadata.spare is not None:
        samples = np.concatenate([samples.reshape(height, width, -1), metadata.spare], axis=2)
    bands = samples.shape[2] if samples.ndim == 3 else 1
    directory = directory_of(metadata)
    rows_per_strip = max(1, BYTES_PER_STRIP // (samples.dtype.itemsize * bands * width))
    stored = samples.astype(samples.dtype.newbyteorder("<"))
    strips = [
        zlib.compress(stored[top : top + rows_per_strip].tobytes(), 6)
        for top in range(0, height, rows_per_strip)
    ]
    directory[256], directory[257] = width, height
    directory[258] = (8 * samples.dtype.itemsize,) * bands
    directory[259] = 8  # Adobe deflate
    directory[262] = 1 if channels < 3 else 2
    directory[277], directory[278], directory[284] = bands, rows_per_strip, 1
    directory[279] = tuple(len(strip) for strip in strips)
    directory[339] = (3 if np.issubdtype(samples.dtype, np.floating) else 1,) * bands
    extra = (2,) * (channels in (2, 4)) + (0,) * (bands - channels)
    if extra:
        directory[338] = extra
    icc = metadata.icc_for("GRAY" if channels < 3 else "RGB ")
    if icc is not None:
        directory[34675] = icc
    if metadata.dpi is not None:
        directory[282], directory[283], directory[296] = metadata.dpi[0], metadata.dpi[1], 2
    # Pillow adds the length of the directory to the strip offsets when it serialises it.
    lengths = [len(strip) for strip in strips]
    directory[273] = tuple(int(start) for start in np.cumsum([0, *lengths[:-1]]))
    with io.BytesIO() as file:
        directory.save(file)
        file.writelines(strips)
        return file.getvalue()


def directory_of(metadata: PictureMetadata) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The directory of a TIFF with EXIF, XMP, IPTC and georeference; what is the pixels' lacks."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    if metadata.exif is not None:
        exif = Image.Exif()
        exif.load(metadata.exif)
        for tag in exif:
            if tag in SUB_DIRECTORIES:
                directory[tag] = sub_directory(exif, tag)
            elif tag not in TILE_TAGS:
                directory[tag] = exif[tag]
    for tag, (kind, value) in beside_pixels(metadata).items():
        directory.tagtype[tag] = kind
        directory[tag] = value
    return directory


def beside_pixels(metadata: PictureMetadata) -> dict[int, tuple[int, object]]:
    """XMP, IPTC and georeference as tags of a TIFF, to type and value."""
    tags: dict[int, tuple[int, object]] = {
        tag: (GEOREFERENCE[tag], value) for tag, value in metadata.georeference.items()
    }
    if metadata.xmp is not None:
        tags[XMP_TAG] = 1, metadata.xmp
    if metadata.iptc is not None:
        tags[IPTC_TAG] = 7, metadata.iptc
    return tags


def _by_opencv(data: bytes) -> Shaped[np.ndarray, "..."]:
    import cv2

    with quiet_libraries():
        try:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise PixelError(f"it cannot be decoded ({error.err})") from error
    if decoded is None:
        raise PixelError("it cannot be decoded; it is damaged or uses a rare compression")
    if decoded.ndim == 3 and decoded.shape[2] >= 3:
        decoded = decoded[:, :, [2, 1, 0, *range(3, decoded.shape[2])]]
    samples: Shaped[np.ndarray, "..."] = np.ascontiguousarray(decoded)
    return samples
