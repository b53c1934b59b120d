"""The label pool on a real disk, with real processes that are really killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from pool_writer import IDENTITY, KEYS, SIDE, put

from corun.colabator import pool_records
from corun.colabator.label_pool import Label, LabelPool, open_existing, shards_of
from corun.errors import DataError

WRITER = Path(__file__).parent / "pool_writer.py"


def label(pool: LabelPool, key: str) -> Label:
    found = pool.get(key)
    assert found is not None
    return found


def change(folder: Path, statement: str, *values: object) -> list[Any]:
    """Run a statement on the records of a pool, as nobody but damage does."""
    with closing(sqlite3.connect(folder / "shards" / "0" / "records.sqlite")) as base, base:
        return base.execute(statement, values).fetchall()


def label_files(folder: Path) -> list[Path]:
    return sorted((folder / "shards" / "0" / "labels").iterdir())


def bytes_on_disk(folder: Path) -> int:
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*"))


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


def damage(folder: Path, key: str, *, newest: bool = False) -> None:
    """Change a byte of a photo's labels, or of its newest alone."""
    query = "SELECT digest FROM labels WHERE key = ? ORDER BY number DESC"
    for (digest,) in change(folder, query, key)[: 1 if newest else None]:
        path = folder / "shards" / "0" / "labels" / f"{digest}.label"
        content = bytearray(path.read_bytes())
        content[100] ^= 0xFF
        path.write_bytes(content)


def test_a_damaged_label_is_not_read_and_the_older_one_is(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    put(pool, KEYS[0], 2)
    pool.close()
    damage(tmp_path, KEYS[0], newest=True)
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    assert label(pool, KEYS[0]).step == 1
    assert pool.scores(KEYS[:1])[0].tolist() == [1.0]
    assert pool.damaged() == [KEYS[0]]


def test_a_photo_whose_label_is_damaged_gets_a_new_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its scores are unknown, so whatever comes is better; the loss is told."""
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    for key in KEYS[:3]:
        put(pool, key, 9)
    name = pool.commit(9)
    pool.close()
    damage(tmp_path, KEYS[1])
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    pool.rollback(name)
    assert "1 of 6 labels are damaged" in capsys.readouterr().err
    quality, density = pool.scores(KEYS[:3])
    assert quality.isnan().tolist() == density.isnan().tolist() == [False, True, False]
    assert pool.get(KEYS[1]) is None
    assert len(pool) == 2
    assert list(pool.labelled()) == [KEYS[0], KEYS[2]]
    put(pool, KEYS[1], 3)
    assert_whole(label(pool, KEYS[1]))
    again = pool.commit(10)
    pool.rollback(again)
    assert [label(pool, key).step for key in KEYS[:3]] == [9, 3, 9]
    assert pool.damaged() == []


def test_no_label_passes_for_another_photos(tmp_path: Path) -> None:
    """If the records changed hands, the labels would not: each says whose it is."""
    pool = LabelPool(tmp_path, IDENTITY, KEYS[:2])
    put(pool, KEYS[1], 7)
    pool.close()
    change(tmp_path, "UPDATE labels SET key = ?", KEYS[0])
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    assert pool.get(KEYS[0]) is None
    assert pool.get(KEYS[1]) is None
    assert len(pool) == 0
    assert pool.damaged() == [KEYS[0]]


@pytest.mark.parametrize(
    ("column", "value"), [("quality", 9.5), ("density", 0.0), ("step", 8), ("replaced", 1)]
)
def test_a_changed_record_is_not_believed(tmp_path: Path, column: str, value: float) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 7)
    pool.close()
    change(tmp_path, f"UPDATE labels SET {column} = ?", value)
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    assert pool.scores(KEYS[:1])[0].isnan().all()
    assert pool.damaged() == [KEYS[0]]


def broken_page(path: Path) -> None:
    """A page of a table in the middle of the file is overwritten."""
    content = bytearray(path.read_bytes())
    content[8192:12288] = os.urandom(4096)
    path.write_bytes(content)


DAMAGES = {
    "cut short": (lambda path: os.truncate(path, 5000), r"records\.sqlite: damaged"),
    "another file": (lambda path: path.write_bytes(b"x" * 9000), r"records\.sqlite: damaged"),
    "a broken page": (broken_page, r"records\.sqlite: damaged"),
    "emptied": (lambda path: os.truncate(path, 0), r"records\.sqlite: gone or empty.*restore it"),
    "gone": (Path.unlink, r"records\.sqlite: gone or empty.*restore it"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_records_are_refused(tmp_path: Path, kind: str) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    for key in KEYS:
        put(pool, key, 1)
    pool.close()
    labels = label_files(tmp_path)
    damage_it, message = DAMAGES[kind]
    damage_it(tmp_path / "shards" / "0" / "records.sqlite")
    for use in (lambda: LabelPool(tmp_path, IDENTITY, KEYS), lambda: open_existing(tmp_path)) * 2:
        with pytest.raises(DataError, match=message):  # a refusal must not repair
            use()
    assert label_files(tmp_path) == labels


def test_labels_that_are_gone_are_missed(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    pool.close()
    (tmp_path / "shards" / "0" / "labels").rename(tmp_path / "elsewhere")
    for use in (lambda: LabelPool(tmp_path, IDENTITY, KEYS), lambda: open_existing(tmp_path)) * 2:
        with pytest.raises(DataError, match=r"shards/0/labels: gone.*restore it"):
            use()


@pytest.mark.parametrize("name", ["pool.json", "labels.bin"])
def test_a_pool_of_the_version_before_is_refused_and_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"of layout 2")
    for use in (lambda: LabelPool(tmp_path, IDENTITY, KEYS), lambda: open_existing(tmp_path)):
        with pytest.raises(DataError, match=rf"earlier version of corun \({name}\).*move this"):
            use()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_pool_of_a_version_to_come_is_refused(tmp_path: Path) -> None:
    LabelPool(tmp_path, IDENTITY, KEYS).close()
    change(tmp_path, "PRAGMA user_version = 4")
    with pytest.raises(DataError, match=r"another version of corun \(layout 4, not 3\)"):
        LabelPool(tmp_path, IDENTITY, KEYS)


def test_a_full_disk_is_an_error_and_not_a_signal(tmp_path: Path) -> None:
    """A disk of 4 MB, and labels of 290 kB."""
    program = tmp_path / "program.py"
    program.write_text(FILL_THE_DISK)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = f"mount -t tmpfs -o size=4m none {disk} && {sys.executable} {program} {disk}/pool"
    possible = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o size=4m none {disk}"],
        capture_output=True,
    )
    if possible.returncode:
        pytest.skip("needs to mount a small disk in a namespace of its own")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", mounted], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ".label: cannot be written (No space left on device)" in done.stdout
    assert "free some space" in done.stdout
    assert "whole: True" in done.stdout


FILL_THE_DISK = """
import sys
from pathlib import Path
import torch
from corun.colabator.label_pool import LabelPool, PoolIdentity
from corun.errors import DataError
keys = [f"{n:032x}-0" for n in range(64)]
pool = LabelPool(Path(sys.argv[1]), PoolIdentity("n", "d", "q", 288, 32), keys)
done = 0
try:
    for key in keys:
        pool.put(key, torch.rand(3, 288, 288), None, torch.rand(1, 9, 9), 0.5, 0.5, 1)
        done += 1
except DataError as error:
    print(error)
print("whole:", 0 < done < 64 and list(pool.labelled()) == keys[:done])
"""


def in_a_namespace(command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command that may mount disks; skip the test where none may."""
    possible = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
    )
    if possible.returncode:
        pytest.skip("needs to mount a small disk in a namespace of its own")
    return subprocess.run(["unshare", "-rm", "sh", "-c", command], capture_output=True, text=True)


RECORDS_ON_A_FULL_DISK = """
import sys
from pathlib import Path
from pool_writer import IDENTITY, KEYS, put
from corun.colabator.label_pool import LabelPool
from corun.errors import DataError
folder = Path(sys.argv[1])
pool = LabelPool(folder / "pool", IDENTITY, KEYS)
put(pool, KEYS[0], 1)
name = pool.commit(1)
with (folder / "ballast").open("wb", buffering=0) as stream:
    try:
        while stream.write(bytes(4096)):
            pass
    except OSError:
        print("full")
try:
    for step in range(1000):
        with pool._records.transaction() as base:
            base.execute("UPDATE pool SET owner = ?", ("x" * 5000 * (step + 1),))
except DataError as error:
    print(error)
(folder / "ballast").unlink()
pool.rollback(name)
put(pool, KEYS[1], 2)
print("steps", [pool.get(key).step for key in KEYS[:2]])
"""


def test_records_on_a_full_disk(tmp_path: Path) -> None:
    """One line, and everything is as before once there is room."""
    disk, program = tmp_path / "disk", tmp_path / "program.py"
    disk.mkdir()
    program.write_text(RECORDS_ON_A_FULL_DISK)
    done = in_a_namespace(
        f"mount -t tmpfs -o size=4m none {disk} && "
        f"PYTHONPATH={WRITER.parent}:$PYTHONPATH {sys.executable} {program} {disk}"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "records.sqlite: cannot be written (" in done.stdout
    assert "free some space" in done.stdout
    assert done.stdout.endswith("steps [1, 2]\n")


def test_a_disk_that_may_only_be_read(tmp_path: Path) -> None:
    """A pool there can be looked at and not written; a new one cannot be made."""
    pool = LabelPool(tmp_path / "pool", IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    pool.close()
    program = tmp_path / "program.py"
    program.write_text(READ_ONLY)
    done = in_a_namespace(
        f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path} && "
        f"cd / && PYTHONPATH={WRITER.parent}:$PYTHONPATH {sys.executable} {program} {tmp_path}"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "1 label"
    for line, name in zip(lines[1:], ("pool/shards/0/lock", "new/shards/0"), strict=True):
        assert f"{name}: cannot be written (Read-only file system)" in line
        assert "choose another pool.folder" in line


READ_ONLY = """
import sys
from pathlib import Path
from pool_writer import IDENTITY, KEYS
from corun.colabator.label_pool import LabelPool, open_existing
from corun.errors import DataError
folder = Path(sys.argv[1])
print(len(open_existing(folder / "pool")), "label")
for name in ("pool", "new"):
    try:
        LabelPool(folder / name, IDENTITY, KEYS)
    except DataError as error:
        print(error)
"""


def test_records_that_another_program_has_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_records, "PATIENCE", 0.2)
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    path = tmp_path / "shards" / "0" / "records.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError, match=r"records\.sqlite: locked by another process"):
            put(pool, KEYS[0], 2)
        assert label(pool, KEYS[0]).step == 1
    put(pool, KEYS[0], 3)
    assert label(pool, KEYS[0]).step == 3


def journal_files(folder: Path) -> set[str]:
    found = {path.name for path in (folder / "shards" / "0").glob("records.sqlite-*")}
    return {name.removeprefix("records.sqlite-") for name in found}


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "cifs"])
def test_no_write_ahead_log_on_a_network_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    folder = tmp_path / "a disk"
    mounts = tmp_path / "mountinfo"
    named = str(folder).replace(" ", "\\040")
    mounts.write_text(
        f"1 0 8:1 / / rw shared:1 - ext4 /dev/a rw\n2 1 0:50 / {named} rw - {kind} host:/a rw\n"
    )
    monkeypatch.setattr(pool_records, "MOUNTS", mounts)
    pool = LabelPool(folder / "pool", IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    assert journal_files(folder / "pool") == set()
    assert change(folder / "pool", "PRAGMA journal_mode") == [("delete",)]
    assert f"lies on a network disk ({kind})" in capsys.readouterr().err
    assert len(open_existing(folder / "pool")) == 1  # while it is written
    local = LabelPool(tmp_path / "pool", IDENTITY, KEYS)
    put(local, KEYS[0], 1)
    assert journal_files(tmp_path / "pool") == {"wal", "shm"}
    local.close()
    assert journal_files(tmp_path / "pool") == set()
    assert capsys.readouterr().err == ""
    (tmp_path / "pool").rename(folder / "moved")  # a log that is at rest is given up
    moved = LabelPool(folder / "moved", IDENTITY, KEYS)
    assert label(moved, KEYS[0]).step == 1
    assert change(folder / "moved", "PRAGMA journal_mode") == [("delete",)]


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


def test_processes_on_several_machines_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    with pytest.raises(DataError, match="only 8 of 16 are on this one"):
        LabelPool(tmp_path / "pool", IDENTITY, KEYS)
    assert not (tmp_path / "pool").exists()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    LabelPool(tmp_path / "pool", IDENTITY, KEYS)


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
