"""What the dehazer returns is saved as it is, with what stood beside the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import Identity

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import from_network
from corun.errors import ConfigurationError, ImageFileError
from corun.pictures.metadata import PictureMetadata
from corun.pictures.pixels import PixelError
from corun.pictures.reading import read_picture
from corun.pictures.writing import encode_picture
from sample_pictures import gradient, pil_picture


def test_saving_a_file_keeps_its_metadata(
    tiny: Dehazer, tmp_path: Path, exif_block: bytes, srgb_profile: bytes
) -> None:
    source, target = tmp_path / "photo.jpg", tmp_path / "clear.png"
    pil_picture("RGB").save(source, exif=exif_block, icc_profile=srgb_profile, dpi=(300, 300))
    result = tiny(source)
    assert result.image.size == (17, 23)
    assert result.save(target) == target
    written = read_picture(target)
    assert written.metadata.icc == srgb_profile
    assert written.metadata.exif is not None
    assert b"Hazelblad" in written.metadata.exif
    assert written.metadata.dpi == pytest.approx((300, 300), abs=0.1)
    np.testing.assert_array_equal(np.asarray(written.image), np.asarray(result.image))
    with pytest.raises(ImageFileError, match="overwrite=True"):
        result.save(target)
    result.save(target, overwrite=True)
    with pytest.raises(ConfigurationError, match="suffix names no format"):
        result.save(tmp_path / "clear.xyz")


def test_a_users_image_keeps_its_exif_untouched(
    tiny: Dehazer, tmp_path: Path, exif_block: bytes
) -> None:
    path = tmp_path / "photo.jpg"
    pil_picture("RGB").save(path, exif=exif_block)
    with Image.open(path) as image:
        before = image.getexif().tobytes()
        result = tiny(image)
        assert image.getexif().tobytes() == before
        assert result.image.size == image.size
    result.save(tmp_path / "clear.jpg")
    with Image.open(tmp_path / "clear.jpg") as written:
        assert written.getexif()[0x0112] == 6


def test_sixteen_bit_files_stay_sixteen_bit(tiny: Dehazer, tmp_path: Path) -> None:
    source = tmp_path / "deep.png"
    array = gradient(17, 23, 3, "uint16")
    source.write_bytes(encode_picture(array, PictureMetadata(), "PNG")[0])
    result = tiny(source)
    assert isinstance(result.image, np.ndarray)
    for name in ("clear.png", "clear.tif"):
        result.save(tmp_path / name)
        np.testing.assert_array_equal(read_picture(tmp_path / name).image, result.image)
    np.testing.assert_array_equal(result.image, tiny(array).image)


def test_tensors_and_transmission_are_saved(tiny: Dehazer, tmp_path: Path) -> None:
    image = torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(0))
    result = tiny(image)
    result.save(tmp_path / "clear.tif")
    stored = np.asarray(read_picture(tmp_path / "clear.tif").image)
    np.testing.assert_array_equal(stored, result.image.permute(1, 2, 0).numpy())
    result.save_transmission(tmp_path / "t.png")
    t = np.asarray(read_picture(tmp_path / "t.png").image)
    assert result.transmission is not None
    np.testing.assert_allclose(t / 65535, result.transmission[0], atol=1 / 65535)
    with pytest.raises(PixelError, match="one by one"):
        tiny(torch.rand(2, 3, 9, 11)).save(tmp_path / "batch.png")
    with pytest.raises(ImageFileError, match="no transmission"):
        from_network(Identity(), device="cpu")(image).save_transmission(tmp_path / "none.png")
