from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from corun.errors import ImageFileError
from corun.metrics.pictures import as_tensor, read_picture


def _picture(seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 8, channels), dtype=np.uint8)


def test_a_png_is_read_as_it_is(tmp_path: Path) -> None:
    picture = _picture()
    Image.fromarray(picture).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, picture)
    tensor = as_tensor(found)
    assert tensor.shape == (1, 3, 6, 8)
    np.testing.assert_array_equal((tensor[0] * 255).round().permute(1, 2, 0).numpy(), picture)


def test_grey_and_opaque_alpha_become_rgb(tmp_path: Path) -> None:
    grey = _picture()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png")[..., 2], grey)
    opaque = _picture(1, 4)
    opaque[..., 3] = 255
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "opaque.png"), opaque[..., :3])


def test_transparency_is_refused(tmp_path: Path) -> None:
    Image.fromarray(_picture(2, 4)).save(tmp_path / "clear.png")
    with pytest.raises(ImageFileError, match=r"clear\.png: is partly transparent; flatten it"):
        read_picture(tmp_path / "clear.png")


@pytest.mark.parametrize("shape", [(6, 8, 3), (6, 8)])
def test_more_than_8_bits_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    tifffile.imwrite(tmp_path / "deep.tif", deep)
    for name in ("deep.png", "deep.tif"):
        with pytest.raises(ImageFileError, match=rf"{name}: "):
            read_picture(tmp_path / name)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=r"none\.png: no such file"):
        read_picture(tmp_path / "none.png")
    Image.fromarray(_picture()).save(tmp_path / "cut.png")
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageFileError, match=r"cut\.png"):
        read_picture(tmp_path / "cut.png")
