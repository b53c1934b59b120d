"""What a label pool keeps, for how long, and in how much room."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from pool_checks import assert_whole, bytes_on_disk, change, label, label_files
from pool_writer import IDENTITY, KEYS, SIDE, put

from corun.colabator.label_pool import LabelPool, open_existing
from corun.errors import DataError


def test_what_goes_in_comes_out_with_8_and_16_bits(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    generator = torch.Generator().manual_seed(0)
    scene = torch.rand(3, SIDE, SIDE, generator=generator)
    weights = torch.rand(1, 3, 3, generator=generator)
    transmission = torch.rand(1, SIDE, SIDE, generator=generator)
    pool.put(KEYS[0], scene, transmission, weights, 0.25, 0.5, 7)
    found = label(pool, KEYS[0])
    assert float((found.scene - scene).abs().max()) <= 0.5 / 255 + 1e-6
    assert float((found.weights - weights).abs().max()) <= 2**-11
    half = torch.nn.functional.avg_pool2d(transmission[None], 2)[0]
    assert float((found.transmission - half).abs().max()) <= 2**-11
    assert (found.quality, found.density, found.step, found.replaced) == (0.25, 0.5, 7, 0)
    assert pool.get(KEYS[1]) is None
    assert len(pool) == 1


def test_first_scores_and_replacements_are_kept(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    for step in (5, 9, 12):
        put(pool, KEYS[2], step)
    found = label(pool, KEYS[2])
    assert (found.first_quality, found.quality, found.replaced) == (5.0, 12.0, 2)


def test_labels_survive_reopening_and_new_photos(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS[:2])
    put(pool, KEYS[1], 3)
    pool.close()
    again = LabelPool(tmp_path, IDENTITY, [KEYS[5], *KEYS[:2]])
    assert_whole(label(again, KEYS[1]))
    put(again, KEYS[5], 4)
    assert set(again.labelled()) == {KEYS[1], KEYS[5]}


def test_rollback_returns_to_the_commit_exactly(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    for key in KEYS[:3]:
        put(pool, key, 1)
    name = pool.commit(10)
    before = [label(pool, key) for key in KEYS[:3]]
    for step in (11, 12, 13):
        for key in KEYS[1:5]:
            put(pool, key, step)
    pool.rollback(name)
    for key, old in zip(KEYS[:3], before, strict=True):
        new = label(pool, key)
        assert torch.equal(new.scene, old.scene)
        assert new[3:] == old[3:]
    assert pool.get(KEYS[4]) is None
    pool.rollback(None)
    assert len(pool) == 0


def test_a_commit_that_no_checkpoint_names_can_be_undone(tmp_path: Path) -> None:
    """Killed between the pool's commit and the checkpoint's rename."""
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    first = pool.commit(1)
    put(pool, KEYS[0], 2)
    pool.commit(2)
    pool.close()
    again = LabelPool(tmp_path, IDENTITY, KEYS)
    assert label(again, KEYS[0]).step == 2
    again.rollback(first)
    assert_whole(label(again, KEYS[0]))
    assert label(again, KEYS[0]).step == 1
    put(again, KEYS[0], 3)
    again.rollback(first)
    assert label(again, KEYS[0]).step == 1


def test_a_missing_commit_is_named(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    with pytest.raises(DataError, match=r"commit-00000005-.*do not belong together"):
        pool.rollback("commit-00000005-0123456789ab.npy")


def test_a_commit_is_known_by_its_content(tmp_path: Path) -> None:
    """The same labels give the same name; other records under that name are refused."""
    names = []
    for folder, step in (("a", 1), ("b", 1), ("c", 2)):
        pool = LabelPool(tmp_path / folder, IDENTITY, KEYS)
        put(pool, KEYS[0], step)
        names.append(pool.commit(5))
        pool.close()
    assert names[0] == names[1] != names[2]
    change(tmp_path / "a", "UPDATE labels SET step = 2")
    pool = LabelPool(tmp_path / "a", IDENTITY, KEYS)
    with pytest.raises(DataError, match=rf"records\.sqlite: {names[0]}.*do not belong together"):
        pool.rollback(names[0])
    assert pool.damaged() == [KEYS[0]]  # what the record says is not what its file says


def test_a_photo_keeps_two_labels_and_nothing_else_is_left(tmp_path: Path) -> None:
    """That of the last commit and the newest; before the first commit, the one before it."""
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    for step in range(1, 5):
        put(pool, KEYS[0], step)
    assert len(label_files(tmp_path)) == 2
    names = [pool.commit(4)]
    assert len(label_files(tmp_path)) == 1
    for step in range(5, 9):
        put(pool, KEYS[0], step)
        assert len(label_files(tmp_path)) == 2
    names.append(pool.commit(8))
    assert len(label_files(tmp_path)) == 2  # a kill now would leave the checkpoint of step 4
    pool.rollback(names[0])
    assert label(pool, KEYS[0]).step == 4
    assert len(label_files(tmp_path)) == 1


def test_a_run_that_keeps_labels_can_return_to_its_own_commits(tmp_path: Path) -> None:
    """Its steps are fewer than those of the run before, whose commits end with its first."""
    before = LabelPool(tmp_path, IDENTITY, KEYS)
    for step in (4500, 5000):
        put(before, KEYS[0], step)
        before.commit(step)
    before.close()
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    pool.keep()
    assert label(pool, KEYS[0]).step == 5000
    names = []
    for step in (1, 2, 3):
        put(pool, KEYS[0], step)
        put(pool, KEYS[1], step)
        names.append(pool.commit(step))
    assert {name for (name,) in change(tmp_path, "SELECT name FROM commits")} == set(names[1:])
    put(pool, KEYS[0], 4)
    pool.close()
    again = LabelPool(tmp_path, IDENTITY, KEYS)
    again.rollback(names[2])
    assert [label(again, key).step for key in KEYS[:2]] == [3, 3]
    assert [(e["run"], e["step"]) for e in again.history()] == [
        (1, 4500), (1, 5000), (2, 1), (2, 2), (2, 3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"network": "other"}, "network"),
        ({"block": 16}, "block"),
        ({"quality": "quality 0123456789ab"}, "quality"),
        ({"region": "whole"}, "region"),
        ({"scale": 0.5}, "scale"),
    ],
)
def test_a_pool_of_another_identity_is_refused(
    tmp_path: Path, change: dict[str, str | int | float], named: str
) -> None:
    LabelPool(tmp_path, IDENTITY, KEYS).close()
    with pytest.raises(DataError, match=rf"{named} is .* give another pool folder"):
        LabelPool(tmp_path, replace(IDENTITY, **change), KEYS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "limit"), [(150, 30e6), pytest.param(4800, 300e6, marks=pytest.mark.slow)]
)
def test_4800_photos_fit_in_3_gb_and_little_memory(
    tmp_path: Path, labels: int, limit: float
) -> None:
    keys = [f"{n:032x}-0" for n in range(4800)]
    before = resident_bytes()
    pool = LabelPool(tmp_path, replace(IDENTITY, side=288), keys)
    assert bytes_on_disk(tmp_path) < 3e9
    scene, weights = torch.rand(3, 288, 288), torch.rand(1, 9, 9)
    most = 0
    for step in (1, 2):
        for key in keys[:labels]:
            pool.put(key, scene, scene[:1], weights, 0.5, 0.5, step)
            assert pool.get(key) is not None
            most = max(most, resident_bytes())
        pool.commit(step)
    assert len(pool) == labels
    assert max(most, resident_bytes()) - before < limit
    pool.close()
    assert bytes_on_disk(tmp_path) < 3e9


def resident_bytes() -> int:
    text = Path("/proc/self/statm").read_text(encoding="utf-8")
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_an_existing_pool_opens_as_it_is(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path / "pool", IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    pool.commit(1)
    put(pool, KEYS[0], 2)
    pool.commit(2)
    pool.close()
    seen = open_existing(tmp_path / "pool")
    assert seen.identity == IDENTITY
    assert len(seen) == 1
    assert [entry["quality"] for entry in seen.history()] == [1.0, 2.0]
    with pytest.raises(DataError, match="no label pool"):
        open_existing(tmp_path)
