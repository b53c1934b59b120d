"""Disks that are full, read-only, locked or on the network."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pool_checks import WRITER, change, label
from pool_writer import IDENTITY, KEYS, put

from corun.colabator import pool_records
from corun.colabator.label_pool import LabelPool, open_existing
from corun.errors import DataError


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
