"""Real photos as regions that depend on their content, with one owner each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from corun.data.real_photos import RealPhotoFolder, RealPhotosConfig
from corun.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(7):
        write(tmp_path / "photos" / f"{n}.png", n)
    return tmp_path / "photos"


def write(path: Path, seed: int, height: int = 40, width: int = 60) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make(folder: Path, **changes: object) -> RealPhotoFolder:
    settings = {"folder": folder, "side": 32, "scale": 1.0, **changes}
    return RealPhotoFolder(RealPhotosConfig.model_validate(settings), seed=3)


def test_an_epoch_shows_each_photo_once_and_the_next_in_another_order(folder: Path) -> None:
    photos = make(folder)
    first = [photos.sample(n).name for n in range(7)]
    second = [photos.sample(n).name for n in range(7, 14)]
    assert sorted(first) == sorted(second) == [f"{n}.png" for n in range(7)]
    assert first != second


def test_a_sample_is_the_same_in_every_run(folder: Path) -> None:
    one, two = make(folder).sample(11), make(folder, cache=False).sample(11)
    assert torch.equal(one.hazy, two.hazy)
    assert one[1:] == two[1:]


def test_each_photo_has_one_owner(folder: Path) -> None:
    photos = make(folder)
    owned = [set(photos.owned(rank, 3)) for rank in range(3)]
    assert set.union(*owned) == set(photos.keys)
    assert sum(len(keys) for keys in owned) == len(photos)
    assert photos.sample(5, 2, 3).key in owned[2]


def test_keys_and_regions_survive_renaming(folder: Path) -> None:
    before = {s.key: s.hazy for n in range(7) for s in [make(folder).sample(n)]}
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"renamed-{path.name}")
    moved = folder.rename(folder.with_name("elsewhere"))
    after = {s.key: s.hazy for n in range(7) for s in [make(moved).sample(n)]}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_copies_of_a_photo_count_once(folder: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "3.png").read_bytes())
    assert len(make(folder)) == 7


def test_windows_are_regions_of_their_own(folder: Path) -> None:
    photos = make(folder, windows=3)
    assert len(photos) == 21
    shapes = {tuple(photos.sample(n).hazy.shape) for n in range(21)}
    assert shapes == {(3, 32, 32)}
    assert len(make(folder, windows=3, region="whole")) == 7


def test_a_crop_is_a_part_of_the_photo(folder: Path) -> None:
    photos = make(folder, side=40)
    region = photos.sample(0)
    photo = np.asarray(Image.open(photos.path(region.key)), dtype=np.float32) / 255
    pixels = region.hazy.permute(1, 2, 0).numpy()
    places = [np.array_equal(photo[:, x : x + 40], pixels) for x in range(21)]
    assert sum(places) == 1


def test_small_photos_are_enlarged(tmp_path: Path) -> None:
    write(tmp_path / "p" / "small.png", 0, 9, 5)
    assert make(tmp_path / "p").sample(0).hazy.shape == (3, 32, 32)


def test_unreadable_photos_are_passed_over(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.jpg").write_bytes(b"nothing")
    photos = make(folder)
    names = [photos.sample(n).name for n in range(24)]
    assert "bad.jpg" not in names
    assert set(names) == {f"{n}.png" for n in range(7)}
    assert capsys.readouterr().err.count("skipped: ") == 1


def test_folders_without_use(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        make(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        make(tmp_path / "empty")
    (tmp_path / "empty" / "bad.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of the photos can be read"):
        make(tmp_path / "empty").sample(0)


def test_no_batch_holds_a_photo_twice_even_where_an_epoch_ends(folder: Path) -> None:
    photos = make(folder)
    for step in range(60):
        keys = [region.key for region in photos.batch(5 * step, 5)]
        assert len(set(keys)) == 5


def test_the_parts_of_a_batch_are_the_batch(folder: Path) -> None:
    (folder / "3.png").write_bytes(b"broken")
    whole = [(r.key, r.flip) for r in make(folder).batch(10, 5)]
    photos = make(folder, cache=False)
    parts = [photos.batch(10, 2), photos.batch(10, 4, skip=2), photos.batch(10, 5, skip=4)]
    assert [(r.key, r.flip) for part in parts for r in part] == whole
    assert len({key for key, _ in whole}) == 5


def test_a_batch_of_more_photos_than_can_be_read_repeats_some(folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.png").write_bytes(b"broken %d" % number)
    keys = [region.key for region in make(folder).batch(0, 5)]
    assert len(keys) == 5
    assert len(set(keys)) == 3


def test_a_photo_that_may_not_be_opened_is_named_and_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Path.open

    def refused(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "3.png":
            raise PermissionError(13, "Permission denied")
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    assert len(make(folder)) == 6
    assert "3.png: cannot be read (Permission denied)" in capsys.readouterr().err
