"""Foreign results: adopted as they are, converted with a note, or refused with a reason."""

from __future__ import annotations

import os
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
from corun.metrics.pictures import read_picture

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


def test_a_source_with_an_older_date_is_prepared_anew(tmp_path: Path) -> None:
    """Another version of a set unpacks with the dates of its archive: earlier than our file."""
    source, target = save_levels(tmp_path / "a.png", levels()), tmp_path / "t" / "a.png"
    prepare_input(source, target, None)
    other = levels()
    save_levels(source, other)
    os.utime(source, ns=(10**18, 10**18))
    prepare_input(source, target, None)
    with Image.open(target) as image:
        assert (np.asarray(image) == other).all()


@pytest.mark.parametrize("damage", ["pixel", "bytes", "sixteen bits"])
def test_a_prepared_picture_that_was_tampered_with_is_replaced(tmp_path: Path, damage: str) -> None:
    pixels = levels()
    source = save_levels(tmp_path / "a.png", pixels)
    target = tmp_path / "t" / "a.png"
    prepare_input(source, target, None)
    if damage == "pixel":
        changed = pixels.copy()
        changed[3, 4, 1] ^= 1
        save_levels(target, changed)
    elif damage == "bytes":
        target.write_bytes(target.read_bytes()[:300])
    else:
        cv2.imwrite(str(target), pixels[..., ::-1].astype(np.uint16) * 257)
    os.utime(target, ns=(2**62, 2**62))
    prepare_input(source, target, None)
    assert np.array_equal(read_picture(target), pixels)


def test_a_larger_reference_is_cut_around_its_centre(tmp_path: Path) -> None:
    clear = levels(48, 64)
    reference = save_levels(tmp_path / "clear.png", clear)
    photo = save_levels(tmp_path / "hazy.png", levels(46, 62))
    prepare_input(reference, tmp_path / "t.png", None, crop_like=photo)
    assert np.array_equal(read_picture(tmp_path / "t.png"), clear[1:47, 1:63])
    with pytest.raises(ImageFileError, match=r"hazy\.png: 62x46, smaller than .*clear\.png, 64x48"):
        prepare_input(photo, tmp_path / "t.png", None, crop_like=reference)


def test_a_folder_of_results_is_never_written_into(tmp_path: Path, hazy: Path) -> None:
    path = save_levels(tmp_path / "r" / "a.png", levels(15, 20))
    before = path.read_bytes()
    with pytest.raises(ImageFileError, match=r"a\.png: would have to be converted \(resized"):
        adopt_result([path], hazy, path, sizes="resize")
    assert path.read_bytes() == before
    assert adopt_result([path], hazy, path, sizes="resize", replace=True).path == str(path)


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
    assert adopted.path == str(path)
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


@pytest.mark.parametrize("label", ["..", ".", "in/../.."])
def test_a_data_set_s_label_leads_to_no_other_folder(tmp_path: Path, label: str) -> None:
    save_levels(tmp_path / "above.png", np.zeros((4, 5, 3), np.uint8))
    save_levels(tmp_path / "theirs" / "in" / "deep.png", np.zeros((4, 5, 3), np.uint8))
    save_levels(tmp_path / "theirs" / "own.png", np.zeros((4, 5, 3), np.uint8))
    assert list(index_results(tmp_path / "theirs", label)) == ["own"]


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
    path = tmp_path / "r" / "a.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), samples[..., ::-1])
    adopted = adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")
    assert adopted.notes == ("rounded from 16 bits to 8",)
    with Image.open(adopted.path) as image:
        assert (np.asarray(image) == np.round(samples / 257)).all()


def test_other_formats_become_png(tmp_path: Path, hazy: Path) -> None:
    path = save_levels(tmp_path / "r" / "a.jpg", levels())
    adopted = adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")
    assert adopted.path == str(tmp_path / "t.png")
    path.write_bytes(b"no picture")
    with pytest.raises(ImageFileError, match=r"a\.jpg: not a picture corun can read"):
        adopt_result([path], hazy, tmp_path / "t.png", sizes="refuse")
