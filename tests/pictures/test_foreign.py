"""What is no picture is named by what it is; sound files are not called damaged."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from corun.errors import ImageFileError, MissingExtraError
from corun.pictures.metadata import PictureMetadata
from corun.pictures.reading import read_picture, read_size
from corun.pictures.writing import encode_picture
from sample_pictures import gradient, pil_picture

MP4 = b"\0\0\0\x1cftypisom\0\0\2\0isomiso2mp41" + bytes(500)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (MP4, "is a video, not a picture; use corun video"),
        (b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(500), "is a video"),
        (b"\x1aE\xdf\xa3" + bytes(500), "is a video"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(500), "is a video"),
        (b"\0\0\0\x08wide\0\0\1\0mdat" + bytes(500), "is a video"),
        ((b"G" + bytes(187)) * 5, "is a video"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "is a web page and not the file itself"),
        (b"GIF89a" + bytes(100), "is a GIF; convert it to PNG"),
        (b"%PDF-1.7" + bytes(100), "is a PDF document"),
        (b"PK\3\4" + bytes(100), "is an archive; unpack it first"),
        (b"8BPS\0\1" + bytes(100), "is a Photoshop document"),
    ],
)
def test_what_is_no_picture_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "file.jpg"
    path.write_bytes(content)
    for read in (read_picture, read_size):
        with pytest.raises(ImageFileError, match=r"file\.jpg: ") as caught:
            read(path)
        assert told in str(caught.value)
        assert "damaged" not in str(caught.value)


def test_of_a_long_film_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with path.open("wb") as film:
        film.write(MP4)
        film.truncate(1 << 40)  # a terabyte that takes no room
    with pytest.raises(ImageFileError, match=r"film\.mp4: is a video"):
        read_picture(path)


@pytest.mark.parametrize("brand", [b"avif", b"heic"])
def test_pictures_in_a_film_s_container_are_no_films(brand: bytes) -> None:
    file_format = {b"avif": "AVIF", b"heic": "HEIF"}[brand]
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), file_format)
    assert read_picture(content).image.size == (23, 17)
    # Another main brand, as some phones write it, among compatible ones that say what it is.
    assert read_picture(content[:8] + b"mif1" + content[12:]).image.size == (23, 17)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_that_lacks_only_its_end_is_read_with_a_note(progressive: bool, mode: str) -> None:
    with io.BytesIO() as file:
        pil_picture(mode, 90, 120).save(file, "JPEG", quality=95, progressive=progressive)
        whole = file.getvalue()
    picture = read_picture(whole[:-2])
    assert picture.metadata.notes == ("its end marker is missing; the picture before it is whole",)
    np.testing.assert_array_equal(np.asarray(picture.image), read_picture(whole).image)
    for missing in (6, 20, 200):
        with pytest.raises(ImageFileError, match="cut short or damaged"):
            read_picture(whole[:-missing])


@pytest.mark.parametrize("planar", [1, 2])
def test_bands_that_are_called_grey_are_a_picture(planar: int, tmp_path: Path) -> None:
    samples = gradient(17, 23, 3, "uint8")
    stored = samples if planar == 1 else np.moveaxis(samples, -1, 0)
    with io.BytesIO() as file:
        tifffile.imwrite(file, stored, photometric="minisblack", planarconfig=planar)
        file_content = file.getvalue()
    picture = read_picture(file_content)
    np.testing.assert_array_equal(np.asarray(picture.image), samples)
    assert "taken for red, green and blue" in picture.metadata.notes[0]
    (tmp_path / "bands.tif").write_bytes(file_content)
    assert read_size(tmp_path / "bands.tif") == (23, 17)


def dng(preview: np.ndarray, mosaic: np.ndarray) -> bytes:
    """A DNG whose first picture is the preview and whose photo is in a sub-picture."""
    with io.BytesIO() as file:
        with tifffile.TiffWriter(file) as tiff:
            tags = [(50706, 1, 4, b"\1\4\0\0", False)]
            tiff.write(preview, photometric="rgb", subfiletype=1, subifds=1, extratags=tags)
            tiff.write(mosaic, photometric=32803, subfiletype=0)
        return file.getvalue()


@pytest.mark.parametrize("suffix", [".dng", ".nef", ".tif"])
def test_the_preview_of_a_raw_file_is_never_taken_for_the_photo(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    path = tmp_path / f"camera{suffix}"
    path.write_bytes(dng(gradient(40, 64, 3, "uint8"), gradient(400, 640, 1, "uint16")[:, :, 0]))
    for read in (read_picture, read_size):
        with pytest.raises(MissingExtraError, match=r"camera\.\w+: a raw file of a camera; rawpy"):
            read(path)


@pytest.mark.parametrize(
    "content",
    [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0", b"IIU\0\x18\0\0\0", b"\0\0\0\x18ftypcrx \0\0\0\1"],
)
def test_raw_files_of_other_kinds_are_told_by_their_signature(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'corun-dehaze\[raw\]'"):
        read_picture(content + bytes(300), name="photo")


def test_a_raw_file_is_developed_at_its_full_size(shared: Path) -> None:
    pytest.importorskip("rawpy")
    path = shared / "cases" / "camera.dng"
    picture = read_picture(path)
    assert isinstance(picture.image, np.ndarray)
    assert (picture.image.shape, picture.image.dtype) == ((400, 640, 3), np.uint16)
    assert picture.image.std() > 1000
    assert read_size(path) == (640, 400)
    exif = Image.Exif()
    assert picture.metadata.exif is not None
    exif.load(picture.metadata.exif)
    assert exif[0x010F] == "TestCam"


def test_a_damaged_raw_file_is_refused_and_nothing_is_printed(
    shared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rawpy")
    content = (shared / "cases" / "camera.dng").read_bytes()
    with pytest.raises(
        ImageFileError, match=r"photo\.dng: (.*LibRaw does not read|the file is cut)"
    ):
        read_picture(content[:9000], name="photo.dng")
    with pytest.raises(ImageFileError, match=r"photo\.dng: the file is cut short or damaged"):
        read_picture(content[: len(content) // 2], name="photo.dng")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["clip.mp4", "lfs.pth"])
def test_the_cases_are_named(shared: Path, name: str) -> None:
    with pytest.raises(ImageFileError, match=r"is a (video|Git-LFS pointer)"):
        read_picture(shared / "cases" / name)


def test_a_grey_picture_with_floats_called_bands_is_refused_by_name() -> None:
    with io.BytesIO() as file:
        tifffile.imwrite(file, gradient(17, 23, 1, "uint8").repeat(5, 2), planarconfig=1)
        content = file.getvalue()
    assert struct.unpack("<H", content[2:4]) == (42,)
    with pytest.raises(ImageFileError, match="it has 5 bands and does not say which are red"):
        read_picture(content)
