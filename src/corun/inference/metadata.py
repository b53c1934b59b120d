"""What a picture file carries beside its pixels, and in which form it can be written again."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import ExifTags, Image

ORIENTATION = ExifTags.Base.Orientation.value
EXIF_IFD = ExifTags.IFD.Exif.value
GPS_IFD = ExifTags.IFD.GPSInfo.value
INTEROP_IFD = ExifTags.IFD.Interop.value
SUB_DIRECTORIES = (EXIF_IFD, GPS_IFD)

PHOTOGRAPH_TAGS = frozenset(
    {
        *(0x010E, 0x010F, 0x0110, 0x0112),  # description, make, model, orientation
        *(0x0131, 0x0132, 0x013B, 0x8298),  # software, date, artist, copyright
        *(0x4746, 0x4749),  # rating
        *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # Windows title ... subject
    }
)
"""The tags of a TIFF directory that describe the photograph and not how its strips are stored."""

DAMAGED_EXIF = (
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OSError,
    OverflowError,
    struct.error,
)
"""What Pillow raises over a damaged EXIF block."""

EXIF_LOST = "its EXIF block is damaged and was not kept"


@dataclass(frozen=True)
class PictureMetadata:
    """EXIF, colour profile, resolution and encoding of a picture, pixels aside.

    Attributes:
        format: Pillow's name of the file format ("JPEG"), None for a picture from memory.
        exif: the EXIF block, "Exif\\0\\0" first, its orientation already applied and reset, its
            thumbnail (of the hazy picture) left out.
        icc: the ICC profile the pixel values are meant under.
        dpi: resolution in dots per inch, (x, y).
        encoding: what the writer of `format` repeats: "progressive", "lossless", "compression".
        notes: what could not be kept, one line each.
    """

    format: str | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    encoding: Mapping[str, str | bool] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of_image(
        cls,
        image: Image.Image,
        *,
        size: tuple[int, int] | None = None,
        notes: tuple[str, ...] = (),
    ) -> PictureMetadata:
        """The metadata of a loaded Pillow image as it stands.

        Args:
            image: nothing in it is changed; its orientation is not applied.
            size: width and height to state in the EXIF, if not the image's own.
            notes: to begin with.
        """
        exif, unread = exif_of(image)
        block, unwritten = serialise_exif(exif, size or image.size, image.format)
        encoding: dict[str, str | bool] = {}
        if image.info.get("progressive"):
            encoding["progressive"] = True
        if image.format == "TIFF":
            encoding["compression"] = str(image.info.get("compression", "raw"))
        dpi = image.info.get("dpi")
        return cls(
            format=image.format,
            exif=block,
            icc=image.info.get("icc_profile") or None,
            dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
            encoding=encoding,
            notes=(*notes, *unread, *unwritten),
        )

    def icc_for(self, colours: str) -> bytes | None:
        """The profile, if it describes pictures of this kind: "RGB ", "GRAY" or "CMYK".

        The kind is read from bytes 16-19 of the profile's header (ICC.1:2022, 7.2).
        """
        return self.icc if self.icc is not None and self.icc[16:20] == colours.encode() else None


def exif_of(image: Image.Image) -> tuple[Image.Exif, tuple[str, ...]]:
    """The image's EXIF, empty where it is beyond reading, and a note if it is.

    A damaged block is taken out of the image, because Pillow would stumble over it again.
    """
    try:
        return image.getexif(), ()
    except DAMAGED_EXIF:
        for key in ("exif", "Raw profile type exif"):
            image.info.pop(key, None)
        return Image.Exif(), (EXIF_LOST,)


def orientation_of(exif: Image.Exif) -> int:
    """EXIF orientation, 1-8; 1 (upright) where there is none or it makes no sense."""
    value = exif.get(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def serialise_exif(
    exif: Image.Exif, size: tuple[int, int], file_format: str | None
) -> tuple[bytes | None, tuple[str, ...]]:
    """EXIF as bytes with the picture's present size in it, and notes on what was lost.

    From a TIFF, whose whole directory Pillow reports as EXIF, only the tags that describe the
    photograph are taken. The embedded thumbnail is left out: it would show the hazy picture.
    """
    kept = Image.Exif()
    try:
        for tag, value in exif.items():
            if tag not in SUB_DIRECTORIES and (file_format != "TIFF" or tag in PHOTOGRAPH_TAGS):
                kept[tag] = value
        for tag in SUB_DIRECTORIES:
            entries = dict(exif.get_ifd(tag))
            if INTEROP_IFD in entries:
                entries[INTEROP_IFD] = exif.get_ifd(INTEROP_IFD)
            if entries:
                kept.get_ifd(tag).update(entries)
        details = kept.get_ifd(EXIF_IFD)
        for tag, length in zip((0xA002, 0xA003), size, strict=True):  # PixelXDimension, -Y-
            if tag in details:
                details[tag] = length
        empty = not kept and not details and not kept.get_ifd(GPS_IFD)
        return (None if empty else kept.tobytes()), ()
    except DAMAGED_EXIF:
        return None, (EXIF_LOST,)


def reset_orientation(exif: Image.Exif) -> None:
    """Says in the EXIF that the pixels are upright, if it said anything about it."""
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
