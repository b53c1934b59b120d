"""Whose pool it is: one run at a time, on one machine, and the commits that run can return to."""

from __future__ import annotations

import fcntl
import gc
import hashlib
import json
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from corun.colabator.pool_files import (
    RECORD,
    cannot_write,
    damaged_file,
    read_json,
    write_atomically,
)
from corun.errors import DataError

STATE = "state.json"


@dataclass(frozen=True)
class PoolState:
    """Which run made the labels.

    Attributes:
        owner: the folder of the run that last began or committed here; None if it gave none.
        run: its number among the runs that used the pool, from 1; 0 before the first commit.
        commits: names of its commits to which it can return, the newest last; two at most.
    """

    owner: str | None = None
    run: int = 0
    commits: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Replace the pool's state by this one."""
        write_atomically(folder / STATE, json.dumps(asdict(self), indent=1).encode())


def read_state(folder: Path) -> PoolState:
    """The pool's state; that of a new pool if there is none.

    Raises:
        DataError: its file is damaged.
    """
    path = folder / STATE
    content = read_json(path)
    if content is None:
        return PoolState()
    try:
        owner, run, commits = content["owner"], content["run"], content["commits"]
        whole = (
            (owner is None or isinstance(owner, str))
            and isinstance(run, int)
            and all(isinstance(name, str) for name in commits)
        )
    except (KeyError, TypeError) as error:
        raise damaged_file(path) from error
    if not whole:
        raise damaged_file(path)
    return PoolState(owner, run, tuple(commits))


def commit_name(step: int, snapshot: np.ndarray) -> str:
    """The file of a commit: its step, and twelve digits made of its content.

    So a checkpoint can only ever be continued with the very labels it was written with, and a run
    that is repeated exactly gives the same names.
    """
    return f"commit-{step:08d}-{hashlib.sha256(snapshot.tobytes()).hexdigest()[:12]}.npy"


def commit_step(name: str) -> int:
    """The step that a commit's name tells; -1 if it tells none."""
    digits = name.split("-")[1] if name.count("-") == 2 else ""
    return int(digits) if digits.isdigit() else -1


def read_commit(path: Path, photos: int) -> np.ndarray:
    """The records of a commit, (photos then known, 2).

    Raises:
        DataError: the commit is gone, damaged, or not the one that the name says.
    """
    try:
        content = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _lost_commit(path) from error
    fits = content.dtype == RECORD and content.ndim == 2 and content.shape[1:] == (2,)
    if not fits or len(content) > photos:
        raise _lost_commit(path)
    if commit_name(commit_step(path.name), content) != path.name:
        raise _lost_commit(path)
    return np.asarray(content)


def _lost_commit(path: Path) -> DataError:
    return DataError(
        f"{path}: the pool's state of that step is gone or damaged; the checkpoint and the pool do "
        "not belong together: move both away and start again"
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time; released by the system if its holder dies."""
    with (folder / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class RunLock:
    """Keeps other runs out of a pool, as long as this object or this process lives.

    Args:
        folder: of the pool.
        owner: the folder of the run.

    Raises:
        DataError: another run is using the pool.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self.owner = owner
        path = folder / "run.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            said = path.read_text(encoding="utf-8").strip() or "another run"
            raise DataError(
                f"{folder}: in use by {said}; wait for its end, or give another pool.folder"
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise DataError(
                f"{path}: cannot be locked ({error.strerror}); give a pool.folder on a disk of "
                "this machine"
            ) from error
        self._released = weakref.finalize(self, os.close, descriptor)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"the run in {owner} (process {os.getpid()})".encode(), 0)
        except OSError as error:
            self._released()
            raise cannot_write(path, error) from error


_LOCKS: weakref.WeakValueDictionary[tuple[Path, str], RunLock] = weakref.WeakValueDictionary()


def hold(folder: Path, owner: str) -> RunLock:
    """The lock of a run on a pool; a run that failed may begin again in the same process.

    Raises:
        DataError: another run is using the pool.
    """
    place = (folder.resolve(), owner)
    lock = _LOCKS.get(place)
    if lock is None:
        try:
            lock = RunLock(folder, owner)
        except DataError:
            gc.collect()  # a run of this process that has ended may not have been freed yet
            lock = RunLock(folder, owner)
        _LOCKS[place] = lock
    return lock


def leads() -> bool:
    """Whether this process speaks for all processes of its run."""
    return os.environ.get("RANK", "0") == "0"


def require_one_machine() -> None:
    """Refuse processes on several machines: they do not see each other's maps.

    Raises:
        DataError: the launcher says that some processes are elsewhere.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    here = os.environ.get("LOCAL_WORLD_SIZE", world)
    if here != world:
        raise DataError(
            f"the label pool needs all processes on one machine, but only {here} of {world} are on "
            "this one; start them with torchrun --standalone --nproc-per-node=N on one machine"
        )
