"""HEIC and AVIF: depth, transfer functions and further pictures of their containers.

Pillow and its plug-in decode both to 8 bits; HEIC of 10 and 12 bits is read and written here.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from corun.errors import MissingExtraError
from corun.pictures.curves import LINEAR_TRANSFER, refuse_hdr
from corun.pictures.metadata import PictureMetadata
from corun.shapes import UInt16

HEADER = 1 << 20
"""Bytes at the beginning of a file in which its boxes are looked for."""

DEEP_MODES = {1: "I;16", 3: "RGB;16", 4: "RGBA;16"}
"""pillow-heif's modes by number of channels."""

WIDE_PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
"""Colour primaries of ITU-T H.273 that are not nearly sRGB's."""

SECOND_PICTURE = "holds a gain map, a depth map or another auxiliary picture, which was not kept"


def register_heif() -> None:
    """Makes Pillow open and write HEIC.

    Raises:
        MissingExtraError: pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError("pillow-heif", "heif") from error
    pillow_heif.register_heif_opener()


def container_exponent(image: Image.Image, data: bytes) -> float | None:
    """γ of HEIC and AVIF that state a transfer function which is not a screen's.

    Raises:
        PixelError: it is PQ or HLG.
    """
    _, transfer = _colour_codes(image, data)
    refuse_hdr(transfer)
    return 1.0 if transfer == LINEAR_TRANSFER else None


def _colour_codes(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Primaries and transfer function of a colr box of type nclx (ITU-T H.273); 2: not stated."""
    if image.format == "AVIF":
        at = data.find(b"colrnclx", 0, HEADER)
        if at >= 0:
            primaries, transfer = (
                int.from_bytes(data[at + start : at + start + 2], "big") for start in (8, 10)
            )
            return primaries, transfer
    profile = image.info.get("nclx_profile")
    if not profile:
        return 2, 2
    return int(profile["color_primaries"]), int(profile["transfer_characteristics"])


def container_notes(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """What of a HEIC or AVIF is not kept."""
    notes = []
    header = data[:HEADER]
    if image.info.get("aux") or image.info.get("depth_images") or b"tmap" in header:
        notes.append(SECOND_PICTURE)
    primaries, _ = _colour_codes(image, data)
    if primaries in WIDE_PRIMARIES and not image.info.get("icc_profile"):
        notes.append(f"its primaries ({WIDE_PRIMARIES[primaries]}) were not kept; embed a profile")
    if image.format == "AVIF":
        # AV1 in ISO base media files, 2.3.3: after the marker and the profile come four bits,
        # of which the second is high_bitdepth and the third twelve_bit.
        at = header.find(b"av1C")
        flags = header[at + 6] if 0 <= at < len(header) - 6 else 0
        if flags & 0x40:
            notes.append(f"its {12 if flags & 0x20 else 10} bits per colour were read as 8")
    return tuple(notes)


def read_deep_heif(data: bytes, depth: int) -> UInt16[np.ndarray, "..."]:
    """A HEIC of 10 or 12 bits, (H,W), (H,W,3) or (H,W,4), white 65535.

    Args:
        data: the file.
        depth: its bits per sample.
    """
    import pillow_heif

    image = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    levels = np.asarray(image) >> (16 - depth)
    samples: UInt16[np.ndarray, "..."] = np.rint(
        levels * np.float32(65535 / (2**depth - 1))
    ).astype(np.uint16)
    return samples


def encode_deep_heif(
    samples: UInt16[np.ndarray, "h w c"], metadata: PictureMetadata, quality: int
) -> bytes:
    """A HEIC of 10 bits, or of 12 where the picture was read from such."""
    register_heif()
    import pillow_heif

    depth = 12 if metadata.encoding.get("bits") == "12" else 10
    levels = np.rint(samples * np.float32((2**depth - 1) / 65535)).astype(np.uint16)
    height, width, channels = samples.shape
    image = pillow_heif.from_bytes(
        DEEP_MODES[channels], (width, height), (levels << (16 - depth)).tobytes()
    )
    with io.BytesIO() as file:
        image.save(
            file,
            quality=quality,
            chroma=444,
            bit_depth=depth,
            exif=metadata.exif,
            xmp=metadata.xmp,
            icc_profile=metadata.icc_for("RGB "),
        )
        return file.getvalue()
