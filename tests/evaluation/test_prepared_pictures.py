"""Foreign results: adopted as they are, converted with a note, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_pictures import save_levels
from PIL import Image

from corun.errors import DataError, ImageFileError
from corun.evaluation.prepared_pictures import (
    adopt_result,
    index_results,
    prepare_input,
)

RNG = np.random.default_rng(4)


@pytest.fixture
def hazy(tmp_path: Path) -> Path:
    return save_levels(tmp_path / "in" / "a.png", np.zeros((30, 40, 3), np.uint8))


def levels(height: int = 30, width: int = 40, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, channels)).astype(np.uint8)


def test_inputs_are_scaled_down_once(tmp_path: Path) -> None:
    source = save_levels(tmp_path / "big.jpg", levels(60, 80))
    target = tmp_path / "t" / "big.png"
    prepare_input(source, target, 40)
    with Image.open(target) as image:
        assert (image.size, image.mode, image.format) == ((40, 30), "RGB", "PNG")
    before = target.stat().st_mtime_ns
    prepare_input(source, target, 40)
    assert target.stat().st_mtime_ns == before


def test_a_change_of_the_long_side_makes_the_input_anew(tmp_path: Path) -> None:
    source = save_levels(tmp_path / "big.png", levels(60, 80))
    target = tmp_path / "t" / "big.png"
    prepare_input(source, target, 40)
    prepare_input(source, target, None)
    with Image.open(target) as image:
        assert image.size == (80, 60)


def test_a_proper_result_is_scored_in_place(tmp_path: Path, hazy: Path) -> None:
    path = save_levels(tmp_path / "r" / "a.png", levels())
    adopted = adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")
    assert adopted.path == path
    assert adopted.notes == ()


def test_another_size_is_refused_until_told(tmp_path: Path, hazy: Path) -> None:
    path = save_levels(tmp_path / "r" / "a.png", levels(15, 20))
    with pytest.raises(ImageFileError, match=r"20x15, its input is 40x30; say --sizes resize"):
        adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")
    adopted = adopt_result([path], hazy, tmp_path / "t.png", sizes="resize")
    assert adopted.notes == ("resized: 20x15, its input is 40x30",)
    with Image.open(adopted.path) as image:
        assert image.size == (40, 30)


def test_missing_and_double_results(tmp_path: Path, hazy: Path) -> None:
    with pytest.raises(ImageFileError, match="a: no result of that name"):
        adopt_result([], hazy, tmp_path / "t.png", sizes="refuse")
    both = [save_levels(tmp_path / "r" / name, levels()) for name in ("a.png", "a.jpg")]
    found = index_results(tmp_path / "r", "set")
    assert sorted(found["a"]) == sorted(both)
    with pytest.raises(ImageFileError, match=r"several results \(a.jpg, a.png\); keep one"):
        adopt_result(found["a"], hazy, tmp_path / "t.png", sizes="refuse")


def test_the_folder_of_the_data_set_goes_first(tmp_path: Path) -> None:
    save_levels(tmp_path / "r" / "fattal" / "x.png", levels())
    save_levels(tmp_path / "r" / "y.png", levels())
    assert list(index_results(tmp_path / "r", "fattal")) == ["x"]
    assert list(index_results(tmp_path / "r", "rtts")) == ["y"]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no pictures there"):
        index_results(tmp_path / "none", "fattal")


def test_alpha(tmp_path: Path, hazy: Path) -> None:
    opaque = levels(channels=4)
    opaque[..., 3] = 255
    path = save_levels(tmp_path / "r" / "a.png", opaque)
    adopted = adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")
    assert adopted.notes == ("opaque alpha dropped",)
    with Image.open(adopted.path) as image:
        assert (np.asarray(image) == opaque[..., :3]).all()
    opaque[3, 4, 3] = 254
    save_levels(path, opaque)
    with pytest.raises(ImageFileError, match=r"a\.png: is partly transparent"):
        adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")


def test_sixteen_bits_are_rounded_not_cut(tmp_path: Path, hazy: Path) -> None:
    samples = RNG.integers(0, 65536, (30, 40, 3)).astype(np.uint16)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), samples[..., ::-1])
    adopted = adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")
    assert adopted.notes == ("rounded from 16 bits to 8",)
    with Image.open(adopted.path) as image:
        assert (np.asarray(image) == np.round(samples / 257)).all()


def test_other_formats_become_png(tmp_path: Path, hazy: Path) -> None:
    path = save_levels(tmp_path / "a.jpg", levels())
    adopted = adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")
    assert adopted.path == tmp_path / "t.png"
    path.write_bytes(b"no picture")
    with pytest.raises(ImageFileError, match=r"a\.jpg: cannot be read as a picture"):
        adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")
