"""EXIF and profiles: what can be written again is kept, what is damaged costs nothing else."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from corun.pictures.metadata import EXIF_PARTLY_LOST, PictureMetadata, serialise_exif
from corun.pictures.reading import read_picture
from corun.pictures.writing import encode_picture
from sample_pictures import gradient, pil_picture

MAKE, SOFTWARE, EXIF_IFD, GPS_IFD = 0x010F, 0x0131, 0x8769, 0x8825


def exif_entry(tag: int, kind: int, value: bytes, count: int = 1) -> bytes:
    """One entry of a directory: a type of TIFF 6.0 and four bytes."""
    return struct.pack("<HHI", tag, kind, count) + value


def jpeg_with_make_as_number(orientation: int) -> bytes:
    """A JPEG whose camera maker is a float, beside a sound copyright."""
    entries = [
        exif_entry(MAKE, 11, struct.pack("<f", 1.5)),
        exif_entry(0x0112, 3, struct.pack("<HH", orientation, 0)),
        exif_entry(0x8298, 2, b"me\0\0", count=3),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    block = b"Exif\0\0II*\0\x08\0\0\0" + directory
    with io.BytesIO() as file:
        pil_picture("RGB").save(file, "JPEG", exif=block, quality=95)
        return file.getvalue()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_damaged_entry_costs_neither_the_picture_nor_the_other_entries(orientation: int) -> None:
    picture = read_picture(jpeg_with_make_as_number(orientation))
    assert picture.image.size == ((23, 17) if orientation == 1 else (17, 23))
    assert picture.metadata.notes == (EXIF_PARTLY_LOST,)
    assert picture.metadata.exif is not None
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert exif[0x8298] == "me"
    assert exif.get(0x0112) == 1
    assert MAKE not in exif


def test_directories_that_are_empty_are_not_written() -> None:
    exif = Image.Exif()
    exif[MAKE] = "Hazelblad"
    block, notes = serialise_exif(exif, (23, 17), "JPEG")
    assert notes == ()
    assert block is not None
    written = Image.Exif()
    written.load(block)
    assert list(written) == [MAKE]
    assert serialise_exif(Image.Exif(), (23, 17), "JPEG") == (None, ())


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("tag", [MAKE, SOFTWARE])
def test_a_tiff_with_exif_of_one_directory_comes_back(compression: str, tag: int) -> None:
    exif = Image.Exif()
    exif[tag] = "Hazelblad"
    with io.BytesIO() as file:
        pil_picture("RGB").save(file, "TIFF", compression=compression, exif=exif)
        picture = read_picture(file.getvalue())
    content, notes = encode_picture(picture.image, picture.metadata, "TIFF")
    assert notes == ()
    with Image.open(io.BytesIO(content)) as written:
        assert written.getexif()[tag] == "Hazelblad"
        assert written.info["compression"] == compression
        np.testing.assert_array_equal(np.asarray(written), np.asarray(pil_picture("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_compressed_tiff_keeps_all_directories(mode: str, exif_block: bytes) -> None:
    image = pil_picture(mode)
    upright = Image.Exif()
    upright.load(exif_block)
    upright[0x0112] = 1
    metadata = PictureMetadata(exif=upright.tobytes(), encoding={"compression": "tiff_lzw"})
    content, notes = encode_picture(image, metadata, "TIFF")
    assert notes == ()
    with Image.open(io.BytesIO(content)) as written:
        exif = written.getexif()
        assert exif[MAKE] == "Hazelblad"
        assert exif.get_ifd(EXIF_IFD)[0x9003] == "2024:11:05 07:30:00"
        assert exif.get_ifd(GPS_IFD)[1] == "N"
        assert written.mode == mode
        if mode == "P":
            image, written = image.convert("RGB"), written.convert("RGB")
        np.testing.assert_array_equal(np.asarray(written), np.asarray(image))


def test_a_profile_for_other_pictures_is_left_out_with_a_note(srgb_profile: bytes) -> None:
    metadata = PictureMetadata(icc=srgb_profile)
    for picture in (pil_picture("L"), gradient(17, 23, 2, "uint16")):
        content, notes = encode_picture(picture, metadata, "PNG")
        assert len(notes) == 1
        assert "colour profile is for RGB pictures, not for grey, and was not kept" in notes[0]
        assert read_picture(content).metadata.icc is None
    for mode in ("RGB", "P", "RGBA"):
        assert encode_picture(pil_picture(mode), metadata, "PNG")[1] == ()
