"""Whose pool it is: one run at a time, all of whose processes are on one machine."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corun.colabator.pool_records import cannot_write
from corun.errors import DataError
from corun.files import lock, take_lock


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time; released by the system if its holder dies."""
    path = folder / "lock"
    try:
        stream = lock(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    with stream:
        yield


class RunLock:
    """Keeps other runs out of a shard, as long as this object or this process lives."""

    def __init__(self, descriptor: int) -> None:
        self._released = weakref.finalize(self, os.close, descriptor)


_HELD: weakref.WeakValueDictionary[tuple[Path, str], RunLock] = weakref.WeakValueDictionary()


def hold(folder: Path, owner: str) -> RunLock:
    """The lock of a run on a shard; a run that failed may begin again in the same process.

    Args:
        folder: of the shard.
        owner: the folder of the run.

    Raises:
        DataError: another run is using it, or it cannot be written.
    """
    gc.collect()  # a run of this process that has ended may not have been freed yet
    known = _HELD.get((folder.resolve(), owner))
    if known is not None:
        return known
    path = folder / "run.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        held = RunLock(descriptor)
        take_lock(descriptor, wait=False)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"the run in {owner} (process {os.getpid()})".encode(), 0)
    except BlockingIOError as error:
        said = path.read_text(encoding="utf-8").strip() or "another run"
        raise DataError(
            f"{folder}: in use by {said}; wait for its end, or give another pool.folder"
        ) from error
    except OSError as error:
        raise cannot_write(path, error) from error
    _HELD[folder.resolve(), owner] = held
    return held


def leads() -> bool:
    """Whether this process speaks for all processes of its run."""
    return os.environ.get("RANK", "0") == "0"


def require_one_machine() -> None:
    """Refuse a run of which the launcher says that some processes are elsewhere."""
    world = os.environ.get("WORLD_SIZE", "1")
    here = os.environ.get("LOCAL_WORLD_SIZE", world)
    if here != world:
        raise DataError(
            f"the label pool needs all processes on one machine, but only {here} of {world} are on "
            "this one; start them with torchrun --standalone --nproc-per-node=N on one machine"
        )
