"""What a network sees: nothing of what is hidden, and tones as a screen shows them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import load
from corun.errors import ImageFileError
from corun.pictures.curves import exponent_of_profile, to_display
from corun.pictures.metadata import PictureMetadata
from corun.pictures.png_chunks import chunks_of, with_chunks
from corun.pictures.reading import Picture, read_picture
from corun.pictures.working import stored_like, working_colours
from corun.pictures.writing import encode_picture
from sample_pictures import gradient, pil_picture


@pytest.fixture(scope="module")
def dcp() -> Dehazer:
    return load("dcp")


def png(image: Image.Image, *chunks: tuple[bytes, bytes]) -> bytes:
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return with_chunks(file.getvalue(), chunks)


def linear_profile() -> bytes:
    """sRGB's primaries with linear light: its three curves are replaced by the identity."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    for entry in range(132, 132 + 12 * count, 12):
        name, offset, _ = struct.unpack_from(">4sII", profile, entry)
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            profile[offset : offset + 12] = b"curv" + bytes(8)
    return bytes(profile)


MIDDLE, HALF = np.s_[10:30, 20:45], np.s_[:, 30:]
"""Of a picture of 40x60; what is hidden in the middle is no frame, which is set aside anyway."""


def hazy_rgba(hidden: int, where: tuple[slice, slice] = MIDDLE) -> np.ndarray:
    """A hazy ramp of which a part is hidden and holds one level."""
    samples = gradient(40, 60, 4, "uint8")
    samples[:, :, :3] = 120 + samples[:, :, :3] // 3
    samples[:, :, 3] = 255
    samples[where] = (hidden, hidden, hidden, 0)
    return samples


@pytest.mark.parametrize("where", [MIDDLE, HALF], ids=["middle", "half"])
@pytest.mark.parametrize("kind", ["array", "RGBA", "LA", "uint16"])
def test_hidden_colours_do_not_change_what_is_seen(
    dcp: Dehazer, kind: str, where: tuple[slice, slice]
) -> None:
    results = []
    for hidden in (0, 255):
        samples = hazy_rgba(hidden, where)
        seen = samples[..., 3] > 0
        given: np.ndarray | Image.Image = samples
        if kind == "uint16":
            given = samples.astype(np.uint16) * 257
        elif kind != "array":
            given = Image.fromarray(samples).convert(kind)
        result = np.asarray(dcp(given).image)
        np.testing.assert_array_equal(result[~seen], np.asarray(given)[~seen])
        assert not np.array_equal(result[seen], np.asarray(given)[seen])
        results.append(result[seen])
    np.testing.assert_array_equal(*results)


def test_the_hidden_is_filled_from_around_it_and_wholly_hidden_pictures_stay() -> None:
    samples = hazy_rgba(255, HALF)
    filled = working_colours(Picture(samples, PictureMetadata()))
    visible = samples[:, :30, :3] / 255
    assert filled[:, 30:].min() >= visible.min() - 1e-6
    assert filled[:, 30:].max() <= visible.max() + 1e-6
    assert abs(filled[20, 31] - visible[20, 29]).max() < 0.05
    samples[..., 3] = 0
    unseen = working_colours(Picture(samples, PictureMetadata()))
    np.testing.assert_allclose(unseen, samples[..., :3] / 255, atol=1e-6)


def test_the_hidden_case(dcp: Dehazer, shared: Path) -> None:
    white, black = (
        read_picture(shared / "cases" / f"hidden_{name}.png") for name in ("white", "black")
    )
    results = [np.asarray(dcp.dehaze_picture(picture).image) for picture in (white, black)]
    seen = results[0][..., 3] > 0
    np.testing.assert_array_equal(results[0][seen], results[1][seen])


def test_the_gamma_of_a_png_is_applied_and_written_again() -> None:
    image = Image.fromarray(gradient(17, 23, 3, "uint8"))
    content = png(image, (b"gAMA", (100_000).to_bytes(4, "big")))
    picture = read_picture(content)
    assert picture.metadata.exponent == pytest.approx(1.0)
    light = np.asarray(image) / 255
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    working = working_colours(picture)
    np.testing.assert_allclose(working, srgb, atol=1e-4)
    stored = stored_like(working, picture)
    np.testing.assert_array_equal(np.asarray(stored), np.asarray(image))
    again, notes = encode_picture(stored, picture.metadata, "PNG")
    assert notes == ()
    assert dict(chunks_of(again))[b"gAMA"] == (100_000).to_bytes(4, "big")
    jpeg, notes = encode_picture(stored, picture.metadata, "JPEG")
    assert any("converted to sRGB" in note for note in notes)
    shown = np.asarray(read_picture(jpeg).image) / 255
    assert np.abs(shown - srgb).mean() < 0.01


def test_the_gamma_of_a_screen_changes_nothing_and_is_written_again() -> None:
    image = Image.fromarray(gradient(17, 23, 3, "uint8"))
    picture = read_picture(png(image, (b"gAMA", (45_455).to_bytes(4, "big"))))
    assert picture.metadata.exponent is None
    np.testing.assert_allclose(working_colours(picture), np.asarray(image) / 255, atol=1e-6)
    again, _ = encode_picture(picture.image, picture.metadata, "PNG")
    assert dict(chunks_of(again))[b"gAMA"] == (45_455).to_bytes(4, "big")


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_by_name(transfer: int, name: str) -> None:
    image = Image.fromarray(gradient(17, 23, 3, "uint8"))
    content = png(image, (b"cICP", bytes([9, transfer, 0, 1])))
    with pytest.raises(ImageFileError, match=rf"p\.png: its colours are HDR \({name}\).*as SDR"):
        read_picture(content, name="p.png")


def container(file_format: str, primaries: int, transfer: int) -> bytes:
    """A HEIC or AVIF whose colr box states these codes of H.273."""
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), file_format)
    at = content.index(b"colrnclx") + 8
    return content[:at] + struct.pack(">HH", primaries, transfer) + content[at + 4 :]


@pytest.mark.parametrize("file_format", ["HEIF", "AVIF"])
def test_transfer_functions_of_containers(file_format: str) -> None:
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        with pytest.raises(ImageFileError, match=rf"its colours are HDR \({name}\)"):
            read_picture(container(file_format, 9, transfer))
    assert read_picture(container(file_format, 1, 13)).metadata.exponent is None
    linear = read_picture(container(file_format, 1, 8))
    assert linear.metadata.exponent == 1.0
    _, notes = encode_picture(linear.image, linear.metadata, file_format)
    assert notes == (f"{file_format} states no gamma; its samples were converted to sRGB",)
    wide = read_picture(container(file_format, 12, 13))
    assert wide.metadata.notes == ("its primaries (Display P3) were not kept; embed a profile",)


@pytest.mark.parametrize("kind", ["array", "image"])
def test_light_is_dehazed_as_a_screen_shows_it(dcp: Dehazer, kind: str) -> None:
    levels = 60 + gradient(40, 60, 3, "uint8") // 2
    shown = to_display(levels.astype(np.float32) / 255, 1.0)
    given = Image.fromarray(levels) if kind == "image" else levels.astype(np.float32) / 255
    found = dcp.dehaze_picture(Picture(given, PictureMetadata(exponent=1.0))).image
    light = np.asarray(found).astype(np.float32) / (255 if kind == "image" else 1)
    expected = np.asarray(dcp(shown).image)
    assert np.abs(expected - shown).mean() > 0.05
    np.testing.assert_allclose(to_display(light, 1.0), expected, atol=0.03)


def test_a_png_that_names_linear_light_is_worked_on_as_shown() -> None:
    image, chunk = Image.fromarray(gradient(17, 23, 3, "uint8")), (b"cICP", bytes([1, 8, 0, 1]))
    picture = read_picture(png(image, chunk))
    light = np.asarray(image, np.float32) / 255
    np.testing.assert_allclose(working_colours(picture), to_display(light, 1.0), atol=1e-4)
    again, _ = encode_picture(picture.image, picture.metadata, "PNG")
    assert chunk in chunks_of(again)


def test_cicp_of_a_screen_is_written_again() -> None:
    chunk = (b"cICP", bytes([12, 13, 0, 1]))
    picture = read_picture(png(Image.fromarray(gradient(17, 23, 3, "uint8")), chunk))
    again, _ = encode_picture(picture.image, picture.metadata, "PNG")
    assert chunk in chunks_of(again)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_linear_profiles_are_worked_on_as_shown_and_returned_as_they_are(
    file_format: str, dtype: str
) -> None:
    samples = gradient(17, 23, 3, dtype)
    icc = linear_profile()
    assert exponent_of_profile(icc) == pytest.approx(1.0)
    content, _ = encode_picture(samples, PictureMetadata(icc=icc), file_format)
    picture = read_picture(content)
    assert picture.metadata.exponent == pytest.approx(1.0)
    unit = samples.astype(np.float32) / np.iinfo(dtype).max
    working = working_colours(picture)
    np.testing.assert_allclose(working, to_display(unit, 1.0), atol=1e-4)
    assert working.mean() > unit.mean() + 0.1
    stored = np.asarray(stored_like(working, picture)).astype(int)
    assert np.abs(stored - samples).max() <= (0 if dtype == "uint8" else 1)


def test_profiles_of_screens_are_left_alone(srgb_profile: bytes) -> None:
    assert exponent_of_profile(srgb_profile) == pytest.approx(2.2, abs=0.2)
    assert PictureMetadata.of_image(Image.new("RGB", (3, 3))).exponent is None
    assert exponent_of_profile(b"no profile") is None
    assert exponent_of_profile(srgb_profile[:140]) is None


def test_the_tone_cases(shared: Path) -> None:
    cases = shared / "cases"
    assert read_picture(cases / "gama_linear.png").metadata.exponent == pytest.approx(1.0)
    assert read_picture(cases / "linear_icc_u16.tif").metadata.exponent == pytest.approx(1.0)
    with pytest.raises(ImageFileError, match=r"hdr_pq_cicp\.png: its colours are HDR \(PQ\)"):
        read_picture(cases / "hdr_pq_cicp.png")
