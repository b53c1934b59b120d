"""What a picture file carries beside its pixels, and in which form it can be written again."""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from corun.pictures.curves import exponent_of_profile, unusual_exponent
from corun.pictures.png_chunks import Chunk, comment_chunks
from corun.shapes import Shaped

ORIENTATION = ExifTags.Base.Orientation.value
EXIF_IFD = ExifTags.IFD.Exif.value
GPS_IFD = ExifTags.IFD.GPSInfo.value
MAKER_NOTE = ExifTags.Base.MakerNote.value
DESCRIPTION = ExifTags.Base.ImageDescription.value
INTEROP_IFD = ExifTags.IFD.Interop.value
SUB_DIRECTORIES = (EXIF_IFD, GPS_IFD)
RESOLUTION_TAGS = (282, 283)
RESOLUTION_UNIT = 296
ICC_PROFILE = 34675

OTHER_TAGS = (RESOLUTION_UNIT, ICC_PROFILE, 700, 33723)
"""Further tags that are kept, XMP and IPTC among them."""

GEOREFERENCE = {
    **dict.fromkeys((33550, 33922, 34264, 34736), 12),  # scale, tie points, transformation: double
    34735: 3,  # keys: short
    **dict.fromkeys((34737, 42112, 42113), 2),  # texts; GDAL's metadata and no-data value: ASCII
}
"""Tags of GeoTIFF 1.1 (OGC 19-008r4) and GDAL to their types of TIFF 6.0."""

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
    AttributeError,  # a number where Pillow expects text
    LookupError,
    OSError,
    ArithmeticError,
    struct.error,
)
"""What Pillow raises over a damaged EXIF block."""

EXIF_LOST = "its EXIF block is damaged and was not kept"
EXIF_PARTLY_LOST = "some entries of its EXIF block could not be read and were not kept"

LARGEST_DPI = 65535.0
"""What JPEG's two bytes hold; a damaged file may state any number."""

_ORIENTATIONS = (
    re.compile(rb"(tiff:Orientation\s*=\s*[\"'])\d"),
    re.compile(rb"(<tiff:Orientation[^>]*>\s*)\d"),
)
_OTHER_PARTS = (b"hdrgm:", b"HDRGainMap", b"Container:", b"MotionPhoto", b"MicroVideo", b"GDepth:")
"""XMP that tells where in the file a gain map, a film or a depth map lies."""

XMP_LOST = "its XMP describes a gain map, a film or a depth map, and was not kept"

PICTURES_OF_PROFILE = {"RGB ": "RGB", "GRAY": "grey", "CMYK": "CMYK"}


@dataclass(frozen=True)
class PictureMetadata:
    """EXIF, colour profile, resolution and encoding of a picture, pixels aside.

    Attributes:
        format: Pillow's name of the file format ("JPEG"), None for a picture from memory.
        exif: the EXIF block, "Exif\\0\\0" first, its orientation already applied and reset, its
            thumbnail (of the hazy picture) left out.
        icc: the ICC profile the pixel values are meant under.
        dpi: resolution in dots per inch, (x, y).
        exponent: γ, where the samples v mean the light v^γ and that is not what a screen shows; it
            is stated by the profile or, without one, by `chunks`.
        chunks: text and colour chunks of a PNG; the comment of a JPEG is one of them.
        xmp: the XMP packet, UTF-8; once a picture is upright, it states no other orientation.
        iptc: the IPTC-IIM block.
        georeference: where on the earth a TIFF is, tags to values.
        spare: bands of a TIFF that are neither colour nor alpha, (H,W,N), upright, as stored.
        encoding: what the writer of `format` repeats: "progressive", "lossless", "compression".
        notes: what could not be kept, one line each.
    """

    format: str | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    exponent: float | None = None
    chunks: tuple[Chunk, ...] = ()
    xmp: bytes | None = None
    iptc: bytes | None = None
    georeference: Mapping[int, object] = field(default_factory=dict)
    spare: Shaped[np.ndarray, "h w n"] | None = field(default=None, compare=False)
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
        xmp = image.info.get("xmp")
        return cls(
            format=image.format,
            exif=block,
            icc=image.info.get("icc_profile") or None,
            exponent=unusual_exponent(exponent_of_profile(image.info.get("icc_profile"))),
            dpi=sound_resolution(*dpi) if dpi else None,
            chunks=comment_chunks(image.info.get("comment")),
            xmp=xmp.encode() if isinstance(xmp, str) else xmp or None,
            georeference=georeference_of(exif) if image.format == "TIFF" else {},
            encoding=encoding,
            notes=(*notes, *unread, *unwritten),
        )

    def icc_for(self, colours: str) -> bytes | None:
        """The profile, if it describes pictures of this kind: "RGB ", "GRAY" or "CMYK".

        The kind is read from bytes 16-19 of the profile's header (ICC.1:2022, 7.2).
        """
        return self.icc if self.icc is not None and self.icc[16:20] == colours.encode() else None

    def icc_note(self, colours: str) -> tuple[str, ...]:
        """A note if there is a profile that `icc_for` leaves out, else nothing."""
        if self.icc is None or self.icc_for(colours) is not None:
            return ()
        kind = self.icc[16:20].decode("ascii", "replace")
        return (
            f"its colour profile is for {PICTURES_OF_PROFILE.get(kind, kind.strip())} pictures, "
            f"not for {PICTURES_OF_PROFILE[colours]}, and was not kept",
        )


def sound_resolution(x: object, y: object) -> tuple[float, float] | None:
    """Dots per inch as given, None where they are no numbers or none that a format holds."""
    if not (isinstance(x, Real) and isinstance(y, Real)):
        return None
    dpi = float(x), float(y)
    return dpi if all(0 < dots <= LARGEST_DPI for dots in dpi) else None


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


def tiff_directory(data: bytes) -> tuple[Image.Exif, tuple[str, ...]]:
    """The first directory of a TIFF or BigTIFF file, which has the form of EXIF, and notes.

    Raises:
        struct.error, ...: it is cut short or damaged.
    """
    exif = Image.Exif()
    if data.startswith(b"MM\0\x2b"):
        return _directory_by_tifffile(data)
    if data.startswith(b"II\x2b\0"):
        # Exif.load takes the header to be as short as that of a TIFF; here bytes 8-15 say where.
        exif.bigtiff, exif.endian = True, "<"
        exif.load_from_fp(io.BytesIO(data), struct.unpack("<Q", data[8:16])[0])
    else:
        exif.load(b"Exif\0\0" + data)
    return exif, ()


def _directory_by_tifffile(data: bytes) -> tuple[Image.Exif, tuple[str, ...]]:
    """The directory of a big-endian BigTIFF, which Pillow 13 misreads, without sub-directories."""
    import tifffile

    exif = Image.Exif()
    notes: tuple[str, ...] = ()
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        for tag in tiff.pages.first.tags:
            if tag.code in RESOLUTION_TAGS:
                exif[tag.code] = TiffImagePlugin.IFDRational(*tag.value)
            elif tag.code in PHOTOGRAPH_TAGS or tag.code in (*OTHER_TAGS, *GEOREFERENCE):
                exif[tag.code] = tag.value
            elif tag.code in SUB_DIRECTORIES:
                notes = (EXIF_PARTLY_LOST,)
    return exif, notes


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
    directories, lost = _directories(exif, file_format)
    description = directories[0].get(DESCRIPTION)
    structure = is_structural(description)
    if structure is not None:
        del directories[0][DESCRIPTION]
    details = directories[EXIF_IFD]
    for tag, length in zip((0xA002, 0xA003), size, strict=True):  # PixelXDimension, -Y-
        if tag in details:
            details[tag] = length
    try:
        block = _exif_bytes(directories)
    except DAMAGED_EXIF:
        lost = True
        whole = {
            directory: {
                tag: value
                for tag, value in entries.items()
                if _can_be_written({directory: {tag: value}})
            }
            for directory, entries in directories.items()
        }
        block = _exif_bytes(whole)
    notes = (structure,) if structure else ()
    if not lost:
        return block, notes
    return block, (*notes, EXIF_LOST if block is None else EXIF_PARTLY_LOST)


def georeference_of(exif: Image.Exif) -> dict[int, object]:
    """The tags of :data:`GEOREFERENCE` in a TIFF's directory that can be read."""
    found: dict[int, object] = {}
    for tag in GEOREFERENCE:
        with suppress(*DAMAGED_EXIF):
            if tag in exif:
                found[tag] = exif[tag]
    return found


def exif_within(block: bytes, limit: int) -> tuple[bytes | None, tuple[str, ...]]:
    """An EXIF block of at most so many bytes, and notes: the maker note goes first."""
    if len(block) <= limit:
        return block, ()
    exif = Image.Exif()
    exif.load(block)
    exif.get_ifd(EXIF_IFD).pop(MAKER_NOTE, None)
    shorter = exif.tobytes()
    if len(shorter) <= limit:
        return shorter, ("its EXIF is too long for JPEG; the camera's maker note was not kept",)
    return None, ("its EXIF is too long for JPEG and was not kept",)


def exif_has_sub_directories(block: bytes) -> bool:
    """Whether an EXIF block has more than one directory: details of the exposure, or a position."""
    exif = Image.Exif()
    exif.load(block)
    return any(tag in exif for tag in SUB_DIRECTORIES)


def _directories(
    exif: Image.Exif, file_format: str | None
) -> tuple[dict[int, dict[int, object]], bool]:
    """The entries to keep by directory, 0 the main one, and whether some could not be read."""
    directories: dict[int, dict[int, object]] = {0: {}}
    lost = False
    for tag in exif:
        if tag in SUB_DIRECTORIES or (file_format == "TIFF" and tag not in PHOTOGRAPH_TAGS):
            continue
        try:
            directories[0][tag] = exif[tag]
        except DAMAGED_EXIF:
            lost = True
    for directory in SUB_DIRECTORIES:
        directories[directory] = {}
        try:
            directories[directory] = sub_directory(exif, directory)
        except DAMAGED_EXIF:
            lost = True
    return directories, lost


def sub_directory(exif: Image.Exif, tag: int) -> dict[int, object]:
    """The entries of a directory, and in them those of the one for interoperability."""
    entries: dict[int, object] = dict(exif.get_ifd(tag))
    if INTEROP_IFD in entries:  # a directory in the directory, not its offset in the old file
        entries[INTEROP_IFD] = exif.get_ifd(INTEROP_IFD)
    return entries


def _exif_bytes(directories: Mapping[int, Mapping[int, object]]) -> bytes | None:
    """An EXIF block without the directories that are empty, None if all are."""
    kept = Image.Exif()
    for directory, entries in directories.items():
        if directory == 0:
            kept.update(entries)
        elif entries:  # get_ifd alone would add an empty one, which libtiff cannot write
            kept.get_ifd(directory).update(entries)
    return kept.tobytes() if any(directories.values()) else None


def _can_be_written(directories: Mapping[int, Mapping[int, object]]) -> bool:
    try:
        _exif_bytes(directories)
    except DAMAGED_EXIF:
        return False
    return True


def reset_orientation(exif: Image.Exif) -> None:
    """Says in the EXIF that the pixels are upright, if it said anything about it."""
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1


def upright_xmp(xmp: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
    """The XMP of a picture that was turned upright and stands alone in its file, and notes."""
    if xmp is None or any(part in xmp for part in _OTHER_PARTS):
        return None, () if xmp is None else (XMP_LOST,)
    for stated in _ORIENTATIONS:
        xmp = stated.sub(rb"\g<1>1", xmp)
    return xmp, ()


def is_structural(description: object) -> str | None:
    """A note on an ImageDescription that tells the layout of a stack; None if it tells no such.

    tifffile's, which tells only a shape, is dropped with an empty note: nothing of it is missed.
    """
    if not isinstance(description, str):
        return None
    if description.startswith("ImageJ="):
        return "its ImageJ description, of the stack's layout, was not kept"
    if description.startswith("<") and "<OME" in description[:1000]:
        return "its OME description, of the stack's layout, was not kept"
    if not description.startswith("{"):
        return None
    try:
        layout = json.loads(description)
    except (ValueError, RecursionError):
        return None
    if not isinstance(layout, dict) or "shape" not in layout:
        return None
    return "" if len(layout) == 1 else "its tifffile description, of a layout, was not kept"
