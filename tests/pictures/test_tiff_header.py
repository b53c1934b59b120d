"""Bands of a TIFF that are neither colour nor alpha come back bit for bit, or are refused."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from corun.errors import ImageFileError
from corun.pictures.reading import read_picture
from corun.pictures.working import stored_like, working_colours
from corun.pictures.writing import encode_picture
from sample_pictures import gradient

UNSPECIFIED, UNASSOCIATED = 0, 2


def tiff(samples: np.ndarray, extra: tuple[int, ...], planar: int = 1, **more: object) -> bytes:
    stored = samples if planar == 1 else np.moveaxis(samples, -1, 0)
    photometric = "rgb" if samples.shape[2] - len(extra) == 3 else "minisblack"
    with io.BytesIO() as file:
        tifffile.imwrite(
            file, stored, photometric=photometric, planarconfig=planar, extrasamples=extra, **more
        )
        return file.getvalue()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize(
    ("colours", "extra"),
    [(3, (0,)), (3, (0, 0, 0)), (3, (2, 0)), (1, (0,)), (1, (2, 0))],
    ids=str,
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_spare_bands_come_back_bit_for_bit(
    dtype: str, planar: int, colours: int, extra: tuple[int, ...], compression: str | None
) -> None:
    samples = np.concatenate(
        [gradient(17, 23, 4, dtype), gradient(17, 23, 3, dtype)[:, :, ::-1]], axis=2
    )[:, :, : colours + len(extra)]
    picture = read_picture(tiff(samples, extra, planar, compression=compression))
    alpha = extra[0] == UNASSOCIATED
    used = colours + alpha
    image = np.asarray(picture.image)
    np.testing.assert_array_equal(image.reshape(17, 23, -1), samples[:, :, :used])
    changed = stored_like(working_colours(picture) / 2, picture)
    content, notes = encode_picture(changed, picture.metadata, "TIFF")
    assert notes == ()
    with tifffile.TiffFile(io.BytesIO(content)) as written:
        page = written.pages.first
        assert page.extrasamples == extra
        stored = page.asarray()
    np.testing.assert_array_equal(stored[:, :, colours:], samples[:, :, colours:])
    assert np.abs(stored[:, :, :colours].astype(float) * 2 - samples[:, :, :colours]).max() <= 1


@pytest.mark.parametrize("name", ["bands4_nir_u8.tif", "bands4_nir_u16.tif"])
def test_infrared_is_not_taken_for_transparency(shared: Path, name: str) -> None:
    path = shared / "cases" / name
    before = tifffile.imread(path)
    picture = read_picture(path)
    for file_format, kept in (("TIFF", 4), ("PNG", 3)):
        content, notes = encode_picture(picture.image, picture.metadata, file_format)
        again = read_picture(content)
        assert np.asarray(again.image).shape[2] == 3
        if kept == 4:
            assert notes == ()
            np.testing.assert_array_equal(tifffile.imread(io.BytesIO(content)), before)
        else:
            assert notes == ("PNG holds colours alone; 1 spare band(s) were not kept",)


def test_spare_bands_are_turned_with_the_picture() -> None:
    samples = gradient(17, 23, 4, "uint16")
    content = tiff(samples, (UNSPECIFIED,), extratags=[(274, 3, 1, 6, True)])
    spare = read_picture(content).metadata.spare
    assert spare is not None
    np.testing.assert_array_equal(spare[:, :, 0], np.rot90(samples[:, :, 3], -1))


def test_what_can_only_be_read_without_them_is_refused() -> None:
    samples = gradient(17, 23, 4, "uint8")
    ink = Image.fromarray(samples).convert("CMYK")
    five = np.concatenate([np.asarray(ink), samples[:, :, :1]], axis=2)
    with io.BytesIO() as file:
        tifffile.imwrite(file, five, photometric="separated", extrasamples=(0,))
        content = file.getvalue()
    with pytest.raises(ImageFileError, match="SEPARATED colours with 1 spare bands is not"):
        read_picture(content)


def test_sixteen_bit_alpha_of_other_programs_stays_alpha() -> None:
    samples = gradient(17, 23, 4, "uint16")
    picture = read_picture(tiff(samples, (UNASSOCIATED,)))
    np.testing.assert_array_equal(picture.image, samples)
    assert picture.metadata.spare is None
    lzw = cv2.imencode(".tif", np.ascontiguousarray(samples[:, :, [2, 1, 0]]))[1].tobytes()
    np.testing.assert_array_equal(read_picture(lzw).image, samples[:, :, :3])
