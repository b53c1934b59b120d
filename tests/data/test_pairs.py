"""Hazy and clear photos are matched by name, cut alike, and never of two sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from corun.data.crops import CropConfig
from corun.data.pairs import PairFolder, PairFolders, match_pairs
from corun.errors import DataError


def write(path: Path, value: int = 0, size: tuple[int, int] = (40, 30)) -> None:
    """A picture whose red and green tell where a pixel is, and its blue which picture it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    y, x = np.mgrid[:height, :width]
    pixels = np.stack((x * 255 // width, y * 255 // height, np.full_like(x, value)), -1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def names(root: Path, *, hazy: str = "hazy", clear: str = "clear", **more: object) -> dict:
    """The names of the pairs, hazy to clear."""
    found = match_pairs(PairFolders(hazy=root / hazy, clear=root / clear, **more))
    return {photo.image.name: photo.reference.name for photo in found.pairs}


@pytest.mark.parametrize(
    ("hazy", "clear", "rule"),
    [
        (["0001_0.8_0.2.png", "0001_1_0.16.png", "2_1.png"], ["0001.png", "2.png"], "reside"),
        (["01_hazy.png", "02_hazy.png"], ["01_GT.png", "02_GT.png"], "role"),
        (["01_outdoor_hazy.png"], ["01_outdoor_GT.png"], "role"),
        (["a.png", "b_1.png"], ["a.png", "b_1.png", "b.png"], "same"),
    ],
)
def test_the_rule_is_the_one_that_gives_most_pairs(
    tmp_path: Path, hazy: list[str], clear: list[str], rule: str
) -> None:
    for name in hazy:
        write(tmp_path / "hazy" / name)
    for name in clear:
        write(tmp_path / "clear" / name)
    found = match_pairs(PairFolders(hazy=tmp_path / "hazy", clear=tmp_path / "clear"))
    assert found.rule == rule
    assert sorted(photo.image.name for photo in found.pairs) == sorted(hazy)
    expected = {"reside": "0001.png", "role": clear[0], "same": "a.png"}[rule]
    assert names(tmp_path)[hazy[0]] == expected


def test_both_kinds_may_lie_in_one_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / "all" / f"0{number}_hazy.png")
        write(tmp_path / "all" / f"0{number}_GT.png")
    assert names(tmp_path, hazy="all", clear="all") == {
        "01_hazy.png": "01_GT.png",
        "02_hazy.png": "02_GT.png",
    }


def test_what_has_no_counterpart_is_named(tmp_path: Path) -> None:
    for name in ("1_1.png", "1_2.png", "7_1.png"):
        write(tmp_path / "hazy" / name)
    for name in ("1.png", "8.png"):
        write(tmp_path / "clear" / name)
    folders = PairFolders(hazy=tmp_path / "hazy", clear=tmp_path / "clear")
    told = PairFolder(folders, CropConfig(crop=16)).summary()
    assert told.startswith("2 pairs of 1 clear photos, by the rule 'reside'; 2 without")
    assert "7_1.png, 8.png" in told
    with pytest.raises(DataError, match=r"none of its photos has a clear one"):
        match_pairs(folders.model_copy(update={"rule": "same"}))
    with pytest.raises(DataError, match="nowhere: no such folder"):
        match_pairs(folders.model_copy(update={"clear": tmp_path / "nowhere"}))


def test_sizes_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "hazy" / "a_1.png")
    write(tmp_path / "hazy" / "a_2.png", size=(41, 30))
    write(tmp_path / "hazy" / "b_1.png")
    write(tmp_path / "clear" / "a.png")
    write(tmp_path / "clear" / "b.png")
    folders = PairFolders(hazy=tmp_path / "hazy", clear=tmp_path / "clear")
    # One of each clear photo is measured at once, the others when they are read.
    source = PairFolder(folders, CropConfig(crop=16))
    with pytest.raises(DataError, match=r"a_2\.png is 41x30, .*a\.png 40x30: pairs are of one"):
        [source.sample(number) for number in range(3)]
    write(tmp_path / "clear" / "b.png", size=(44, 33))
    with pytest.raises(DataError, match=r"b_1\.png is 40x30, .*b\.png 44x33"):
        PairFolder(folders, CropConfig(crop=16))


def test_both_photos_are_cut_at_the_same_place(tmp_path: Path) -> None:
    write(tmp_path / "hazy" / "a.png", 40)
    write(tmp_path / "clear" / "a.png", 200)
    folders = PairFolders(hazy=tmp_path / "hazy", clear=tmp_path / "clear")
    one, other = (
        PairFolder(folders, CropConfig(crop=16, scale=(0.6, 1.2), cache=cache), 5)
        for cache in (True, False)
    )
    places = set()
    for number in range(12):
        sample = one.sample(number)
        assert torch.equal(sample.hazy[:2], sample.clear[:2])
        assert float(sample.hazy[2].mean()) == pytest.approx(40 / 255)
        assert float(sample.clear[2].mean()) == pytest.approx(200 / 255)
        again = other.sample(number)
        assert torch.equal(sample.hazy, again.hazy)
        places.add(tuple(sample.hazy[:2, 0, 0].tolist()))
    assert len(places) > 6


def test_no_clear_photo_is_both_trained_on_and_held_out(tmp_path: Path) -> None:
    for scene in range(5):
        write(tmp_path / "clear" / f"{scene}.png")
        for version in range(3):
            write(tmp_path / "hazy" / f"{scene}_{version}.png")
    folders = PairFolders(hazy=tmp_path / "hazy", clear=tmp_path / "clear")
    trained, held = PairFolder(folders, CropConfig(crop=16)).split(0.4)
    assert (len(trained), len(held)) == (9, 2)
    assert not {p.reference for p in trained.pairs} & {p.reference for p in held.pairs}
    seen = {trained.sample(number).name for number in range(9)}
    assert seen == {photo.image.name for photo in trained.pairs}
