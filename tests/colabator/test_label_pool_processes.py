"""Real processes that share a label pool, and are really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pool_checks import WRITER, assert_whole, label, label_files
from pool_writer import IDENTITY, KEYS, put

from corun.colabator import pool_records
from corun.colabator.label_pool import LabelPool, open_existing, shards_of
from corun.errors import DataError


def test_machines_that_share_a_folder_have_a_shard_each(tmp_path: Path) -> None:
    """Neither waits for the other, empties what the other made, or removes its files."""
    pools = [
        LabelPool(tmp_path, IDENTITY, KEYS[n::2], owner=tmp_path / f"run{n}", shard=n)
        for n in (0, 1)
    ]
    for pool in pools:
        pool.rollback(None)
        put(pool, pool.photos()[0], 3)
    pools[0].rollback(pools[0].commit(3))
    pools[1].commit(3)
    assert shards_of(tmp_path) == [0, 1]
    for number in (0, 1):
        assert list(open_existing(tmp_path, number).labelled()) == [KEYS[number]]
    with pytest.raises(DataError, match=r"shards/1: in use by the run in .*/run1"):
        LabelPool(tmp_path, IDENTITY, KEYS, owner=tmp_path / "run0", shard=1)


def test_another_runs_labels_are_not_emptied(tmp_path: Path) -> None:
    """Only for the run that made them, or in that run's own folder."""
    shared, first, second = tmp_path / "pool", tmp_path / "one", tmp_path / "two"
    pool = LabelPool(shared, IDENTITY, KEYS, owner=first)
    pool.rollback(None)
    put(pool, KEYS[0], 1)
    pool.close()
    other = LabelPool(shared, IDENTITY, KEYS, owner=second)
    with pytest.raises(DataError, match=r"1 labels of the run in .*/one.*pool\.keep=true"):
        other.rollback(None)
    assert label(other, KEYS[0]).step == 1
    other.keep()
    put(other, KEYS[1], 2)
    name = other.commit(2)
    other.close()
    mine = LabelPool(shared, IDENTITY, KEYS, owner=second)
    mine.rollback(name)
    mine.rollback(None)  # started over
    assert len(mine) == 0
    mine.close()
    inside = LabelPool(first / "pool", IDENTITY, KEYS, owner=first)
    put(inside, KEYS[0], 1)
    inside.commit(1)
    inside.close()
    first.rename(tmp_path / "renamed")
    renamed = tmp_path / "renamed"
    moved = LabelPool(renamed / "pool", IDENTITY, KEYS, owner=renamed)
    moved.rollback(None)
    assert len(moved) == 0


def test_two_runs_do_not_use_one_pool_at_once(tmp_path: Path) -> None:
    """Until the first ends, however it ends; the processes of one run share it."""
    shared = tmp_path / "pool"
    environment = {**os.environ, "OWNER": str(tmp_path / "one")}
    process = subprocess.Popen(
        [sys.executable, WRITER, shared, "0", "1", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "started"
    for name in ("two", "one"):  # a run that was started twice is another one too
        with pytest.raises(DataError, match=rf"in use by the run in .*/one .process {process.pid}"):
            LabelPool(shared, IDENTITY, KEYS, owner=tmp_path / name)
    assert len(open_existing(shared)) > 0
    process.kill()
    process.wait()
    process.stdout.close()
    pool = LabelPool(shared, IDENTITY, KEYS, owner=tmp_path / "two")
    with pytest.raises(DataError, match="in use by"):
        LabelPool(shared, IDENTITY, KEYS, owner=tmp_path / "one")
    assert LabelPool(shared, IDENTITY, KEYS, owner=tmp_path / "two").photos() == pool.photos()


def test_the_second_process_of_a_run_is_let_in(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path / "pool", IDENTITY, KEYS, owner=tmp_path)
    put(pool, KEYS[0], 1)
    environment = {**os.environ, "OWNER": str(tmp_path), "RANK": "1"}
    command = [sys.executable, WRITER, tmp_path / "pool", "1", "2", "1"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert set(pool.labelled()) == {KEYS[0], *KEYS[1::2]}


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


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from pool_writer import IDENTITY, KEYS, put
from corun.colabator import pool_labels
from corun.colabator.label_pool import LabelPool
pool = LabelPool(Path(sys.argv[1]), IDENTITY, KEYS)
for key in KEYS:
    put(pool, key, 1)
print(pool.commit(1), flush=True)
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "in the file":
    pool_labels.os.fsync = die
elif sys.argv[2] == "before the record":
    pool._records.transaction = die
else:
    pool._files.remove = die
put(pool, KEYS[0], 2)
put(pool, KEYS[0], 3)
"""


@pytest.mark.parametrize(
    ("moment", "step", "files"),
    [("in the file", 1, 7), ("before the record", 1, 7), ("before the old file goes", 2, 7)],
)
def test_killed_in_the_middle_of_an_offer(
    tmp_path: Path, moment: str, step: int, files: int
) -> None:
    """The label before or the new one; what is left over goes when the run continues."""
    folder = tmp_path / "pool"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{WRITER.parent}:{os.environ.get('PYTHONPATH', '')}",
    }
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT, folder, moment],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert len(label_files(folder)) == files
    assert label(open_existing(folder), KEYS[0]).step == step  # type: ignore[arg-type]
    pool = LabelPool(folder, IDENTITY, KEYS)
    for key in KEYS:
        assert_whole(label(pool, key))
    assert label(pool, KEYS[0]).step == step
    pool.rollback(done.stdout.strip())
    assert {label(pool, key).step for key in KEYS} == {1}
    assert len(label_files(folder)) == len(KEYS)
    assert pool.damaged() == []


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


def test_a_label_that_is_replaced_while_it_is_read_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file goes between the reader's look at the records and at the file."""
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    reader = open_existing(tmp_path)
    read, steps = reader._files.read, iter((2, 3, 4, 5))

    def late(record: pool_records.Record) -> bytes | None:
        for step in (next(steps, None), next(steps, None)):
            if step is not None:
                put(pool, KEYS[0], step)
        return read(record)

    monkeypatch.setattr(reader._files, "read", late)
    found = reader.get(KEYS[0])
    assert found is not None
    assert found.step == 5
    steps = iter((6, 7))
    assert reader.damaged() == []
