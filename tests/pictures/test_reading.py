"""What is read is what is written: formats x modes, metadata, depth, orientation, damage."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from corun.errors import ImageFileError
from corun.pictures.metadata import PictureMetadata
from corun.pictures.reading import Picture, read_picture
from corun.pictures.writing import encode_picture, write_encoded
from sample_pictures import gradient, pil_picture

LOSSLESS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "BMP": ("1", "L", "P", "RGB"),
}
LOSSY = {
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
    "HEIF": ("RGB", "RGBA"),
}
METADATA_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF")


def cases(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(file_format, mode) for file_format, modes in table.items() for mode in modes]


def rewrite(picture: Picture, file_format: str | None = None) -> bytes:
    target = file_format or picture.metadata.format
    assert target is not None
    return encode_picture(picture.image, picture.metadata, target)[0]


def as_array(picture: Picture) -> np.ndarray:
    if isinstance(picture.image, Image.Image) and picture.image.mode == "P":
        return np.asarray(picture.image.convert("RGB"))
    return np.asarray(picture.image)


@pytest.mark.parametrize(("file_format", "mode"), cases(LOSSLESS))
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (17, 23)], ids=str)
def test_lossless_formats_come_back_bit_for_bit(
    file_format: str, mode: str, size: tuple[int, int]
) -> None:
    content, notes = encode_picture(pil_picture(mode, *size), PictureMetadata(), file_format)
    once = read_picture(content)
    twice = read_picture(rewrite(once))
    assert notes == ()
    assert isinstance(once.image, Image.Image)
    assert isinstance(twice.image, Image.Image)
    assert once.image.mode == twice.image.mode == mode
    assert once.image.size == (size[1], size[0])
    expected = pil_picture(mode, *size)
    if mode == "P":
        expected = expected.convert("RGB")
    np.testing.assert_array_equal(as_array(once), np.asarray(expected))
    np.testing.assert_array_equal(as_array(twice), as_array(once))


@pytest.mark.parametrize(("file_format", "mode"), cases(LOSSY))
def test_lossy_formats_keep_mode_and_stay_close(file_format: str, mode: str) -> None:
    original = pil_picture(mode)
    read = read_picture(encode_picture(original, PictureMetadata(), file_format)[0])
    assert isinstance(read.image, Image.Image)
    assert (read.image.mode, read.image.size) == (mode, original.size)
    error = np.abs(np.asarray(read.image).astype(int) - np.asarray(original).astype(int))
    assert error.mean() < 3
    if mode == "RGBA":
        assert error[..., 3].max() <= (0 if file_format == "WEBP" else 3)


@pytest.mark.parametrize("file_format", METADATA_FORMATS)
def test_exif_and_icc_are_kept_and_orientation_is_applied_once(
    file_format: str, exif_block: bytes, srgb_profile: bytes
) -> None:
    stored = pil_picture("RGB")
    upright = ImageOps.exif_transpose(_with_exif(stored, exif_block))
    with io.BytesIO() as file:
        options = {"quality": 95} if file_format in ("JPEG", "WEBP", "AVIF", "HEIF") else {}
        if file_format == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
        stored.save(file, file_format, exif=exif_block, icc_profile=srgb_profile, **options)
        content = file.getvalue()
    read = read_picture(content)
    again = read_picture(rewrite(read))
    for picture in (read, again):
        assert isinstance(picture.image, Image.Image)
        assert picture.image.size == (17, 23)
        difference = np.asarray(picture.image).astype(int) - np.asarray(upright).astype(int)
        assert np.abs(difference).mean() < 3
        assert picture.metadata.icc == srgb_profile
    assert again.metadata.exif is not None
    exif = Image.Exif()
    exif.load(again.metadata.exif)
    assert exif[0x010F] == "Hazelblad"
    assert exif.get(0x0112, 1) == 1
    details = exif.get_ifd(0x8769)
    assert details[0x9003] == "2024:11:05 07:30:00"
    assert float(details[0x829A]) == pytest.approx(0.008)
    assert (details[0xA002], details[0xA003]) == (17, 23)
    assert exif.get_ifd(0x8825)[1] == "N"


def _with_exif(image: Image.Image, block: bytes) -> Image.Image:
    with io.BytesIO() as file:
        image.save(file, "PNG", exif=block)
        loaded = Image.open(io.BytesIO(file.getvalue()))
        loaded.load()
    return loaded


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_colour_is_turned_as_pillow_turns_eight_bits(
    file_format: str, orientation: int
) -> None:
    samples = gradient(17, 23, 3, "uint16")
    exif = Image.Exif()
    exif[0x0112] = orientation
    content, _ = encode_picture(samples, PictureMetadata(exif=exif.tobytes()), file_format)
    picture = read_picture(content)
    eight = Image.fromarray((samples >> 8).astype(np.uint8))
    upright = ImageOps.exif_transpose(_with_exif(eight, exif.tobytes()))
    assert picture.image.dtype == np.uint16
    np.testing.assert_array_equal((picture.image >> 8).astype(np.uint8), np.asarray(upright))
    assert picture.metadata.exif is not None
    written = Image.Exif()
    written.load(picture.metadata.exif)
    assert written.get(0x0112, 1) == 1


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64", "float16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 23)], ids=str)
def test_deep_tiff_comes_back_bit_for_bit(
    dtype: str, channels: int, size: tuple[int, int], srgb_profile: bytes
) -> None:
    samples = gradient(*size, channels, dtype)
    metadata = PictureMetadata(icc=srgb_profile, dpi=(300.0, 300.0))
    picture = read_picture(encode_picture(samples, metadata, "TIFF")[0])
    again = read_picture(rewrite(picture))
    expected = samples[:, :, 0] if channels == 1 else samples
    for read in (picture, again):
        stored = np.asarray(read.image)
        assert stored.dtype == samples.dtype
        np.testing.assert_array_equal(stored, expected)
        assert read.metadata.dpi == (300.0, 300.0)
        assert read.metadata.icc == (srgb_profile if channels > 2 else None)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_png_comes_back_bit_for_bit(
    channels: int, srgb_profile: bytes, exif_block: bytes
) -> None:
    samples = gradient(17, 23, channels, "uint16")
    upright = Image.Exif()
    upright.load(exif_block)
    upright[0x0112] = 1
    metadata = PictureMetadata(exif=upright.tobytes(), icc=srgb_profile, dpi=(300.0, 300.0))
    picture = read_picture(encode_picture(samples, metadata, "PNG")[0])
    assert picture.image.dtype == np.uint16
    np.testing.assert_array_equal(picture.image, samples)
    assert picture.metadata.icc == (srgb_profile if channels > 2 else None)
    assert picture.metadata.dpi == pytest.approx((300.0, 300.0), abs=0.1)
    assert picture.metadata.exif is not None
    assert b"Hazelblad" in picture.metadata.exif


def test_sixteen_bit_files_of_other_programs_are_read() -> None:
    samples = gradient(17, 23, 3, "uint16")
    bgr = np.ascontiguousarray(samples[:, :, ::-1])
    for suffix in (".png", ".tif"):  # OpenCV's TIFF is LZW-compressed
        content = cv2.imencode(suffix, bgr)[1].tobytes()
        np.testing.assert_array_equal(read_picture(content).image, samples)
    with io.BytesIO() as file:
        tifffile.imwrite(file, np.moveaxis(samples, -1, 0), photometric="rgb", planarconfig=2)
        np.testing.assert_array_equal(read_picture(file.getvalue()).image, samples)
    with io.BytesIO() as file:
        tifffile.imwrite(file, samples[:, :, 0], photometric="miniswhite")
        inverted = read_picture(file.getvalue()).image
        np.testing.assert_array_equal(np.asarray(inverted), 65535 - samples[:, :, 0])


def test_our_deep_files_are_read_by_other_programs() -> None:
    samples = gradient(17, 23, 3, "uint16")
    for encoded in ("PNG", "TIFF"):
        content = encode_picture(samples, PictureMetadata(), encoded)[0]
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded[:, :, ::-1], samples)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(content)), samples)


def test_a_large_deep_tiff_of_many_strips_comes_back() -> None:
    samples = gradient(900, 1100, 3, "uint16")
    content, _ = encode_picture(samples, PictureMetadata(), "TIFF")
    np.testing.assert_array_equal(read_picture(content).image, samples)


def test_what_a_format_cannot_hold_is_said() -> None:
    deep = gradient(5, 7, 3, "uint16")
    content, notes = encode_picture(deep, PictureMetadata(), "JPEG")
    assert "8 bits" in notes[0]
    assert isinstance(read_picture(content).image, Image.Image)
    floats, notes = encode_picture(gradient(5, 7, 3, "float32"), PictureMetadata(), "PNG")
    assert "16 bits" in notes[0]
    np.testing.assert_array_equal(read_picture(floats).image, deep)
    _, notes = encode_picture(pil_picture("CMYK"), PictureMetadata(), "PNG")
    assert "CMYK" in notes[0]
    with pytest.raises(ImageFileError, match=r"transparency.*--format png"):
        encode_picture(pil_picture("RGBA"), PictureMetadata(), "JPEG")
    opaque = pil_picture("RGB").convert("RGBA")
    assert read_picture(encode_picture(opaque, PictureMetadata(), "JPEG")[0]).image.mode == "RGB"


def test_jpeg_is_written_at_quality_95_without_subsampling() -> None:
    image = Image.open(io.BytesIO(encode_picture(pil_picture("RGB"), PictureMetadata(), "JPEG")[0]))
    assert {layer[1:3] for layer in image.layer} == {(1, 1)}
    assert image.quantization[0][0] == 2  # 16 · (200 − 2·95)/100, rounded (IJG)


def test_only_the_first_of_several_pages_is_used_and_that_is_said() -> None:
    with io.BytesIO() as file:
        first, second = pil_picture("RGB"), pil_picture("L")
        first.save(file, "TIFF", save_all=True, append_images=[second])
        picture = read_picture(file.getvalue())
    assert "2 pictures" in picture.metadata.notes[0]
    np.testing.assert_array_equal(np.asarray(picture.image), np.asarray(first))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused_by_name(file_format: str, keep: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    content, _ = encode_picture(Image.fromarray(noise), PictureMetadata(), file_format)
    path = tmp_path / "cut.bin"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ImageFileError, match=r"cut\.bin: .*(cut short|damaged).*copy it again"):
        read_picture(path)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_deep_file_is_refused(file_format: str, keep: float) -> None:
    noise = np.random.default_rng(3).integers(0, 65536, (60, 80, 3)).astype(np.uint16)
    content, _ = encode_picture(noise, PictureMetadata(), file_format)
    with pytest.raises(ImageFileError):
        read_picture(content[: int(len(content) * keep)])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_tiff_of_another_program_is_refused(compression: str | None) -> None:
    noise = np.random.default_rng(3).integers(0, 65536, (60, 80, 3)).astype(np.uint16)
    with io.BytesIO() as file:
        tifffile.imwrite(file, noise, photometric="rgb", compression=compression)
        content = file.getvalue()
    with pytest.raises(ImageFileError):
        read_picture(content[: len(content) // 2])


def test_missing_empty_and_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.touch()
    text.write_text("not a picture")
    with pytest.raises(ImageFileError, match=r"gone\.jpg: no such file"):
        read_picture(tmp_path / "gone.jpg")
    with pytest.raises(ImageFileError, match=r"empty\.jpg: the file is empty"):
        read_picture(empty)
    with pytest.raises(ImageFileError, match=r"text\.jpg: not a picture.*convert it to JPEG"):
        read_picture(text)
    with pytest.raises(ImageFileError, match="is a folder"):
        read_picture(tmp_path)


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG header that promises 3.6 billion pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ImageFileError, match=r"3,600,000,000 pixels.*--max-pixels"):
        read_picture(bomb())
    assert before == Image.MAX_IMAGE_PIXELS


def test_max_pixels_can_be_raised_and_lowered() -> None:
    content = encode_picture(pil_picture("RGB"), PictureMetadata(), "PNG")[0]
    with pytest.raises(ImageFileError, match="391 pixels, above the limit of 390"):
        read_picture(content, max_pixels=390)
    assert read_picture(content, max_pixels=391).image.size == (23, 17)
    deep = encode_picture(gradient(17, 23, 3, "uint16"), PictureMetadata(), "TIFF")[0]
    with pytest.raises(ImageFileError, match="above the limit of 390"):
        read_picture(deep, max_pixels=390)


def test_a_write_that_fails_leaves_nothing_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "photo.png"
    target.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ImageFileError, match=r"photo\.png: .*disk is full.*another -o"):
        write_encoded(target, b"new", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    assert target.read_bytes() == b"old"


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_encoded(tmp_path / "photo.png", b"new", overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_writing_keeps_permissions_and_follows_links(tmp_path: Path) -> None:
    target, link, fresh = tmp_path / "real.png", tmp_path / "link.png", tmp_path / "fresh.png"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_encoded(link, b"new", overwrite=True)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    write_encoded(fresh, b"new", overwrite=True)
    plain = tmp_path / "plain"
    plain.touch()
    assert fresh.stat().st_mode == plain.stat().st_mode
    with pytest.raises(ImageFileError, match="folder does not exist"):
        write_encoded(tmp_path / "gone" / "photo.png", b"new", overwrite=True)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_exif_block_does_not_cost_the_picture(file_format: str) -> None:
    with io.BytesIO() as file:
        pil_picture("RGB").save(file, file_format, exif=b"Exif\0\0garbage garbage garbage")
        picture = read_picture(file.getvalue())
    assert picture.image.size == (23, 17)
    assert picture.metadata.exif is None
