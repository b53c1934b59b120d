"""Transparency that a format does not hold is kept in another way or refused, never shown."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from corun.errors import ImageFileError
from corun.pictures.metadata import PictureMetadata
from corun.pictures.reading import read_picture
from corun.pictures.writing import encode_picture
from sample_pictures import pil_picture


def marked(mode: str) -> Image.Image:
    """A picture one colour (or palette entry) of which is transparent."""
    image = pil_picture(mode)
    image.info["transparency"] = image.getpixel((4, 5))
    with io.BytesIO() as file:
        image.save(file, "PNG")
        read = read_picture(file.getvalue()).image
    assert isinstance(read, Image.Image)
    return read


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_marked_transparency_is_kept(mode: str, file_format: str) -> None:
    image = marked(mode)
    alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert alpha.min() == 0
    content, _ = encode_picture(image, PictureMetadata(), file_format)
    written = read_picture(content).image
    assert isinstance(written, Image.Image)
    np.testing.assert_array_equal(np.asarray(written.convert("RGBA"))[..., 3], alpha)


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
@pytest.mark.parametrize("file_format", ["BMP", "JPEG"])
def test_marked_transparency_is_refused_where_there_is_none(mode: str, file_format: str) -> None:
    with pytest.raises(ImageFileError, match=r"transparency; choose --format png"):
        encode_picture(marked(mode), PictureMetadata(), file_format)


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
@pytest.mark.parametrize("file_format", ["BMP", "JPEG"])
def test_a_transparent_colour_that_no_pixel_has_is_no_transparency(
    mode: str, file_format: str
) -> None:
    image = Image.fromarray(np.full((5, 7, 3), 90, np.uint8))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    image.info["transparency"] = (1, 2, 3) if mode == "RGB" else 255
    written = read_picture(encode_picture(image, PictureMetadata(), file_format)[0]).image
    np.testing.assert_array_equal(np.asarray(written.convert("L")), 90)


@pytest.mark.parametrize("dpi", [(1e12, 300.0), (0.0, 0.0), (float("nan"), 72.0)])
def test_a_resolution_that_makes_no_sense_is_left_out(dpi: tuple[float, float]) -> None:
    image = pil_picture("RGB")
    image.info["dpi"] = dpi
    metadata = PictureMetadata.of_image(image)
    for file_format in ("PNG", "JPEG", "TIFF", "BMP"):
        content, _ = encode_picture(image, metadata, file_format)
        assert read_picture(content).image.size == image.size


def test_what_the_encoder_raises_becomes_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("Error setting from dictionary")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(ImageFileError, match=r"as TIFF \(Error setting.*another --format"):
        encode_picture(pil_picture("RGB"), PictureMetadata(), "TIFF")


@pytest.mark.parametrize("quality", [80, 95, 100])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_noise_is_written_as_jpeg(quality: int, mode: str, progressive: bool) -> None:
    channels = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, channels), dtype=np.uint8)
    image = Image.frombytes(mode, (600, 400), noise.tobytes())
    metadata = PictureMetadata(encoding={"progressive": progressive})
    content, notes = encode_picture(image, metadata, "JPEG", quality=quality)
    assert notes == ()
    assert read_picture(content).image.size == (600, 400)
