"""One way to write a file and one checksum: whoever writes or sums up a file does it with these.

A file is whole or not there. It is written under a temporary name in its own folder, flushed to
the disk and put under its name in one step. The temporary name states the host and the process,
so that what a killed process left behind is told from what a living one is writing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

TEMPORARY_PREFIX = ".corun-"
TEMPORARY_MARK = ".partial"
DAY = 86400.0
"""Seconds after which a temporary file of another host is nobody's any more."""

_NO_LINKS = (
    *(errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV),
    *(errno.EACCES, errno.EINVAL),
)
"""How file systems without hard links (FAT, some network disks) answer; the last on Windows."""

_numbers = count()
_swept: set[tuple[int, str]] = set()
_sweeping = threading.Lock()


def checksum(source: Path | bytes | Iterable[bytes]) -> str:
    """SHA-256 of a file's bytes, of bytes, or of several in a row: 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for part in (source,) if isinstance(source, bytes) else source:
        digest.update(part)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes | str, *, overwrite: bool = True) -> None:
    """Puts content under `path` in one step: the file is there whole, or not at all.

    Args:
        path: the file to write; a symbolic link is followed. A device or pipe is written to.
        content: all of its bytes, or its text, written in UTF-8 with the line ends it has.
        overwrite: whether a file of that name is replaced.

    Raises:
        FileExistsError: there is a file of that name, made by whomever and whenever, and
            `overwrite` is false.
        OSError: the folder is missing, not writable or full; nothing changes then.
    """
    data = content.encode() if isinstance(content, str) else content
    with written_atomically(path, overwrite=overwrite) as partial, partial.open("wb") as stream:
        stream.write(data)


@contextmanager
def written_atomically(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """A temporary name to write a file under, which then becomes `path`, as `write_atomically`.

    Whatever goes wrong before that, an interrupt included, the temporary file is removed. Where
    `path` is a device or a pipe, it is given as it is.

    Args:
        path: the file to write; a symbolic link is followed.
        overwrite: whether a file of that name is replaced.

    Yields:
        A name in the folder of `path`, with the same suffix; nothing is there yet.

    Raises:
        FileExistsError: there is a file of that name, and `overwrite` is false.
        OSError: the folder is missing, not writable or full; nothing changes then.
    """
    target = path.resolve() if path.is_symlink() else path
    if _is_stream(target):
        yield target
        return
    remove_stale(target.parent)
    partial = target.parent / (
        f"{TEMPORARY_PREFIX}{_host()}-{os.getpid()}-{next(_numbers)}{TEMPORARY_MARK}{target.suffix}"
    )
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        if overwrite:
            with suppress(FileNotFoundError):
                partial.chmod(stat.S_IMODE(target.stat().st_mode))
            partial.replace(target)
        else:
            _put_new(partial, target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_stale(folder: Path) -> None:
    """Removes the temporary files that dead processes left in a folder, once per process.

    A file is stale where its process is of this host and no longer runs, or where it is older
    than a day.
    """
    with _sweeping:
        key = os.getpid(), str(folder)
        if key in _swept:
            return
        _swept.add(key)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(TEMPORARY_PREFIX) and TEMPORARY_MARK in entry.name:
                with suppress(OSError):
                    if _is_stale(entry):
                        os.unlink(entry)  # noqa: PTH108 (an entry, not a path)


def _put_new(partial: Path, target: Path) -> None:
    """Gives a whole file its name, unless somebody has that name.

    Raises:
        FileExistsError: somebody has.
    """
    try:
        target.hardlink_to(partial)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # The name is taken first, empty, by the one call that fails where it exists.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        partial.replace(target)


def _is_stream(target: Path) -> bool:
    try:
        mode = target.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_stale(entry: os.DirEntry[str]) -> bool:
    if time.time() - entry.stat(follow_symlinks=False).st_mtime > DAY:
        return True
    host, process, *_ = entry.name.removeprefix(TEMPORARY_PREFIX).split("-")
    return host == _host() and process.isdecimal() and not _lives(int(process))


def _lives(process: int) -> bool:
    if os.name == "nt":  # signal 0 would end the process there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    """Eight digits for this host and, in a container, its own numbering of processes."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (no path: "pid:[4026531836]")
    return checksum(f"{platform.node()}\n{space}".encode())[:8]
