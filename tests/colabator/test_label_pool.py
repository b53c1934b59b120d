"""The label pool on a real disk, with real processes that are really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from pool_writer import IDENTITY, KEYS, SIDE, put

from corun.colabator.label_pool import Label, LabelPool, open_existing
from corun.errors import DataError

WRITER = Path(__file__).parent / "pool_writer.py"


def label(pool: LabelPool, key: str) -> Label:
    found = pool.get(key)
    assert found is not None
    return found


def assert_whole(found: Label) -> None:
    """All parts of a label are of the same step."""
    value = found.step % 256 / 255
    torch.testing.assert_close(found.scene, torch.full((3, SIDE, SIDE), value))
    half = torch.full_like(found.transmission, value)
    torch.testing.assert_close(found.transmission, half, atol=1e-3, rtol=0)
    assert found.quality == found.step


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
    with pytest.raises(DataError, match=r"commit-00000005\.npy.*do not belong together"):
        pool.rollback("commit-00000005.npy")


@pytest.mark.parametrize(
    ("change", "named"), [({"network": "other"}, "network"), ({"block": 16}, "block")]
)
def test_a_pool_of_another_identity_is_refused(
    tmp_path: Path, change: dict[str, str | int], named: str
) -> None:
    LabelPool(tmp_path, IDENTITY, KEYS).close()
    with pytest.raises(DataError, match=rf"{named} is .* give another pool folder"):
        LabelPool(tmp_path, replace(IDENTITY, **change), KEYS)  # type: ignore[arg-type]


def test_a_damaged_label_is_not_read_and_the_older_one_is(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    put(pool, KEYS[0], 2)
    pool.close()
    content = bytearray((tmp_path / "labels.bin").read_bytes())
    stride = len(content) // (2 * len(KEYS))
    newest = [s for s in (0, 1) if content[s * stride] == 2]
    content[newest[0] * stride + 100] ^= 0xFF
    (tmp_path / "labels.bin").write_bytes(bytes(content))
    assert label(LabelPool(tmp_path, IDENTITY, KEYS), KEYS[0]).step == 1


def test_no_torn_label_after_kill_at_any_instant(tmp_path: Path) -> None:
    for trial in range(2):
        folder = tmp_path / str(trial)
        process = subprocess.Popen(
            [sys.executable, WRITER, folder, "0", "1", "0"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "started"
        time.sleep(0.03 * (trial + 1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        pool = LabelPool(folder, IDENTITY, KEYS)
        assert len(pool) == len(KEYS)
        for key in KEYS:
            assert_whole(label(pool, key))


def test_two_processes_and_a_reader_share_one_pool(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, WRITER, tmp_path, str(rank), "2", "40"], stdout=subprocess.DEVNULL
        )
        for rank in (0, 1)
    ]
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    seen = 0
    while any(w.poll() is None for w in writers):
        for key in KEYS:
            found = pool.get(key)
            if found is not None:
                assert_whole(found)
                seen += 1
    assert all(w.returncode == 0 for w in writers)
    assert seen > 0
    assert {label(pool, key).step for key in KEYS} == {39}


def test_4800_photos_fit_in_3_gb_and_little_memory(tmp_path: Path) -> None:
    keys = [f"{n:032x}-0" for n in range(4800)]
    pool = LabelPool(tmp_path, replace(IDENTITY, side=288), keys)
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert total < 3e9
    before = resident_bytes()
    scene, weights = torch.rand(3, 288, 288), torch.rand(1, 9, 9)
    for key in keys[:150]:
        pool.put(key, scene, scene[:1], weights, 0.5, 0.5, 1)
        assert pool.get(key) is not None
    assert resident_bytes() - before < 30e6
    pool.close()


def resident_bytes() -> int:
    text = Path("/proc/self/statm").read_text()
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
