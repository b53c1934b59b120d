"""Files that are no picture or no finished one, by their first bytes: films, raw files, documents.

Each is refused by what it is, so that nobody is told that a sound file is damaged.
"""

from __future__ import annotations

from corun.files import stand_in
from corun.pictures.formats import RAW_SUFFIXES
from corun.pictures.tiff_header import TIFF_SIGNATURES, TiffHeader, read_tiff_header

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
PICTURE_BRANDS = (*HEIF_BRANDS, b"avif", b"avis", b"mif2", b"miaf", b"crx ")
"""Brands of ISO base media files (ISO/IEC 14496-12) that hold pictures."""

RAW_SIGNATURES = (
    *(b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM"),
    b"II\x1a\0\0\0HEAPCCDR",
)
"""RAF, ORF (3), RW2, X3F, MRW, CRW; the others are TIFF files."""

DNG_VERSION, SUB_PICTURES, SUBFILE_TYPE, PHOTOMETRIC = 50706, 330, 254, 262
MOSAICS = (32803, 34892)
"""Photometric interpretations of a sensor's data: colour filter array, linear raw (DNG 1.7)."""

_OTHERS = (
    ((b"\x1aE\xdf\xa3", b"FLV\1", b"0&\xb2u", b"OggS", b"\0\0\1\xba", b"\0\0\1\xb3"), "video"),
    ((b"GIF87a", b"GIF89a"), "a GIF; convert it to PNG"),
    ((b"%PDF",), "a PDF document; export the picture in it as PNG or JPEG"),
    ((b"PK\3\4", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b"), "an archive; unpack it first"),
    ((b"8BPS",), "a Photoshop document; export it as TIFF"),
    ((b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL picture; convert it to PNG, TIFF or AVIF"),
    ((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), "a JPEG 2000 picture; convert it to TIFF or PNG"),
    ((b"v/1\1", b"#?RADIANCE", b"#?RGBE"), "an HDR picture; export it as SDR (sRGB)"),
    ((b"<svg", b"<?xml"), "a drawing or a text; export it as PNG"),
)
_VIDEO = "a video, not a picture; use corun video"


def foreign_kind(data: bytes) -> str | None:
    """What a file is that corun does not read, and what to do; None where nothing is known of it.

    Args:
        data: the file's content; only its beginning is looked at.
    """
    pointer = stand_in(data)
    if pointer is not None:
        return pointer
    if _is_video(data):
        return f"is {_VIDEO}"
    for signatures, kind in _OTHERS:
        if data.startswith(signatures):
            return f"is {_VIDEO if kind == 'video' else kind}"
    return None


def is_raw(data: bytes, suffix: str) -> bool:
    """Whether a file holds the data of a camera's sensor; what else is in it is a preview.

    Args:
        data: the file's content.
        suffix: of its name, with the dot, "" where it has none.
    """
    if data.startswith(RAW_SIGNATURES) or data[4:12] == b"ftypcrx ":
        return True
    header = read_tiff_header(data)
    if header is not None:
        return _is_raw_tiff(header, data) or suffix.lower() in RAW_SUFFIXES
    return suffix.lower() in RAW_SUFFIXES and data.startswith(TIFF_SIGNATURES)


def _is_raw_tiff(header: TiffHeader, data: bytes) -> bool:
    """DNG and CR2 say so; NEF and ARW begin with a preview and keep the photo in a sub-picture."""
    if DNG_VERSION in header.tags or data[8:10] == b"CR":
        return True
    if header.one(PHOTOMETRIC, 0) in MOSAICS:
        return True
    return bool(header.one(SUBFILE_TYPE, 0) & 1) and SUB_PICTURES in header.tags


def _is_video(data: bytes) -> bool:
    """MP4, QuickTime and 3GP by brand or first box, AVI, MPEG transport streams."""
    if data[4:8] == b"ftyp":
        brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
        return not any(brand in brands for brand in PICTURE_BRANDS)
    if data[4:8] in (b"moov", b"mdat", b"wide") or (data[:4] == b"RIFF" and data[8:12] == b"AVI "):
        return True
    return data[:1] == b"G" and data[188:189] == b"G" and data[376:377] == b"G"
