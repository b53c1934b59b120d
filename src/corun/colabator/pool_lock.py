"""Whose shard it is: one run at a time, which has one process on each host that speaks for all."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from corun.colabator.pool_records import cannot_write, writing
from corun.errors import DataError
from corun.files import write_atomically

if TYPE_CHECKING:
    from filelock import FileLock


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time; released by the system if its holder dies."""
    from filelock import FileLock

    lock = FileLock(folder / "lock")
    with writing(folder / "lock"):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


_HELD: WeakValueDictionary[tuple[Path, str], FileLock] = WeakValueDictionary()


def hold(folder: Path, owner: str) -> FileLock:
    """The lock of a run on a shard, which keeps other runs out as long as it is referred to.

    A run that failed may begin again in the same process.

    Args:
        folder: of the shard.
        owner: the folder of the run.

    Raises:
        DataError: another run is using it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    gc.collect()  # a run of this process that has ended may not have been freed yet
    lock = _HELD.get((folder.resolve(), owner))
    if lock is not None:
        return lock
    lock, holder = FileLock(folder / "run.lock", thread_local=False), folder / "run.holder"
    try:
        lock.acquire(timeout=0)
        write_atomically(holder, f"the run in {owner} (process {os.getpid()})")
    except Timeout as error:
        said = holder.read_text(encoding="utf-8") if holder.exists() else "another run"
        raise DataError(
            f"{folder}: in use by {said}; wait for its end, or give another pool.folder"
        ) from error
    except OSError as error:
        raise cannot_write(folder / "run.lock", error) from error
    _HELD[folder.resolve(), owner] = lock
    return lock


def leads() -> bool:
    """Whether this process speaks for all processes of its run on this host."""
    return os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0"
