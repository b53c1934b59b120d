"""The folder that takes everything: one comparison at a time, and nobody's files in its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from corun.errors import ConfigurationError, CorunError, DataError, system_errors_as, tell
from corun.evaluation.report_files import REPORT_NAMES, load_report

CACHE_NAME = "scores.sqlite"
LOCK_NAME = ".corun-evaluate.lock"


@contextmanager
def held(output: Path) -> Iterator[None]:
    """Makes the folder where it is not there, and waits until no other comparison writes into it.

    Raises:
        DataError: it cannot be made or written.
    """
    lock = FileLock(output / LOCK_NAME)
    what, remedy = f"{output}: scores cannot be kept there", "give another --output folder"
    with system_errors_as(DataError, what, remedy):
        output.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"corun: waiting for another corun evaluate that writes into {output}")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def refuse_overwriting(output: Path, inputs: Iterable[Path], targets: Iterable[Path]) -> None:
    """Nothing that is compared is written over, and in a folder that is not ours nothing is.

    A folder is ours where it holds kept scores or a report of ours.

    Args:
        output: the folder.
        inputs: every file that is read.
        targets: every picture that will be written.

    Raises:
        ConfigurationError: names the first file in the way.
    """
    known = {path.resolve() for path in inputs}
    writes = [output / name for name in (CACHE_NAME, *REPORT_NAMES)] + list(targets)
    for target in writes:
        if target.resolve() in known:
            raise ConfigurationError(
                f"{target}: is compared, and would be written over; give another --output folder"
            )
    if (output / CACHE_NAME).exists() or _has_report(output):
        return
    for target in writes:
        if target.exists():
            raise ConfigurationError(
                f"{target}: is there already and not of an earlier corun evaluate; "
                "give another --output folder"
            )


def _has_report(output: Path) -> bool:
    try:
        load_report(output)
    except CorunError:
        return False
    return True
