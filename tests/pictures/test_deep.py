"""16-bit files that are rare: other depths, BigTIFF, premultiplied alpha, a transparent grey."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from corun.errors import ImageFileError
from corun.pictures.deep import straight_colours
from corun.pictures.metadata import PictureMetadata
from corun.pictures.reading import read_picture
from corun.pictures.writing import encode_picture
from sample_pictures import gradient


def tiff(samples: np.ndarray, **options: object) -> bytes:
    with io.BytesIO() as file:
        tifffile.imwrite(file, samples, **options)
        return file.getvalue()


def with_short(content: bytes, tag: int, value: int, *, renamed: int | None = None) -> bytes:
    """A little-endian TIFF whose directory has another 16-bit value, and name, for a tag."""
    changed = bytearray(content)
    (start,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[start : start + 2])
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        found, _, number, offset = struct.unpack("<HHII", content[entry : entry + 12])
        if found == tag:
            changed[entry : entry + 2] = struct.pack("<H", renamed or tag)
            if number > 2:
                changed[offset : offset + 2 * number] = struct.pack("<H", value) * number
            else:
                changed[entry + 8 : entry + 12] = struct.pack("<I", value)
    return bytes(changed)


@pytest.mark.parametrize("bits", [9, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_depths_are_refused_in_one_line(bits: int, channels: int) -> None:
    samples = gradient(17, 23, channels, "uint16")
    photometric = "rgb" if channels == 3 else "minisblack"
    samples = samples if channels == 3 else samples[:, :, 0]
    content = with_short(tiff(samples, photometric=photometric), 258, bits)
    with pytest.raises(ImageFileError, match=rf"odd\.tif: a TIFF of {bits} bits.*8 or 16 bits$"):
        read_picture(content, name="odd.tif")


def test_tiles_of_no_height_are_damage() -> None:
    whole = tiff(gradient(17, 23, 3, "uint16"), photometric="rgb")
    content = with_short(whole, 259, 1, renamed=322)
    with pytest.raises(ImageFileError, match=r"bad\.tif: the file is cut short or damaged"):
        read_picture(content, name="bad.tif")


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_big_tiff_is_read(byteorder: str, dtype: str) -> None:
    samples = gradient(17, 23, 3, dtype)
    content = tiff(
        samples,
        photometric="rgb",
        bigtiff=True,
        byteorder=byteorder,
        software="Hazelblad",
        resolution=(300, 300),
        resolutionunit="inch",
    )
    picture = read_picture(content)
    np.testing.assert_array_equal(picture.image, samples)
    assert picture.metadata.dpi == (300.0, 300.0)
    assert picture.metadata.exif is not None
    assert b"Hazelblad" in picture.metadata.exif
    again = read_picture(encode_picture(picture.image, picture.metadata, "TIFF")[0])
    np.testing.assert_array_equal(again.image, samples)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("channels", [2, 4])
def test_premultiplied_alpha_is_divided_out(dtype: str, channels: int) -> None:
    white = 65535 if dtype == "uint16" else 1
    straight = gradient(17, 23, channels, dtype)
    straight[0, :3, -1] = (0, white, white // 2 if dtype == "uint16" else 0.5)
    share = straight[..., -1:] / white
    premultiplied = straight.copy()
    product = straight[..., :-1] * share
    premultiplied[..., :-1] = np.rint(product) if dtype == "uint16" else product
    content = tiff(
        premultiplied,
        photometric="rgb" if channels == 4 else "minisblack",
        planarconfig="contig",
        extrasamples=["assocalpha"],
    )
    read = read_picture(content).image
    assert read.dtype == dtype
    np.testing.assert_array_equal(read[..., -1], straight[..., -1])
    # What is shown over black is what the file's own values are.
    tolerance = 0.51 if dtype == "uint16" else 1e-6
    shown = read[..., :-1].astype(float) * share
    np.testing.assert_allclose(shown, premultiplied[..., :-1], atol=tolerance)
    again = read_picture(encode_picture(read, PictureMetadata(), "TIFF")[0]).image
    np.testing.assert_array_equal(again, read)


def test_straight_colours_of_nothing_are_black() -> None:
    clear = np.array([[[100, 0], [100, 65535], [30000, 30000]]], np.uint16)
    np.testing.assert_array_equal(straight_colours(clear), [[[0, 0], [100, 65535], [65535, 30000]]])


def test_a_transparent_grey_of_a_sixteen_bit_png_becomes_alpha() -> None:
    grey = gradient(17, 23, 1, "uint16")[:, :, 0]
    with io.BytesIO() as file:
        Image.fromarray(grey).save(file, "PNG")
        plain = file.getvalue()
    name = b"tRNS" + struct.pack(">H", int(grey[5, 4]))
    chunk = struct.pack(">I", 2) + name + struct.pack(">I", zlib.crc32(name))
    picture = read_picture(plain[:33] + chunk + plain[33:])
    assert picture.image.shape == (17, 23, 2)
    np.testing.assert_array_equal(picture.image[..., 0], grey)
    np.testing.assert_array_equal(picture.image[..., 1] == 0, grey == grey[5, 4])
    again = read_picture(encode_picture(picture.image, picture.metadata, "PNG")[0])
    np.testing.assert_array_equal(again.image, picture.image)
