"""Files and their names: one way to write, one checksum, one lock, one spelling.

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
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from itertools import count
from pathlib import Path

from corun.errors import DataError, reason_of

TEMPORARY_PREFIX = ".corun-"
TEMPORARY_MARK = ".partial"
DAY = 86400.0
"""Seconds after which a temporary file of another host is nobody's any more."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
WEB_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body")

_NO_LINKS = (
    *(errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV),
    *(errno.EACCES, errno.EINVAL),
)
"""How file systems without hard links (FAT, some network disks) answer; the last on Windows."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_numbers = count()
_swept: set[tuple[int, str]] = set()
_sweeping = threading.Lock()


def user_path(text: str | Path) -> Path:
    """A path as a person writes it: ``~/`` is the home folder.

    What exists under the very name goes first, and a name that is nobody's (``~draft.jpg``) stays
    what it is.
    """
    path = Path(text)
    if str(text).startswith("~"):
        with suppress(OSError, RuntimeError):  # the name cannot be one; there is no such user
            return path if path.exists() else path.expanduser()
    return path


def same_name(name: str) -> str:
    """A name in the one spelling that it is compared and kept in (Unicode's NFC).

    Disks and programs spell "é" as one letter or as two (NFD); to a person it is one name.
    """
    return unicodedata.normalize("NFC", name)


def is_text(name: str) -> bool:
    """Whether a name is UTF-8, so that a report, a database and a page can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def database_error(path: Path, error: Exception, what: str, remedy: str) -> DataError:
    """One line about a SQLite file. Errors of one class mean many things.

    Args:
        path: the file.
        error: of SQLite, of the system, or of what was read from the file.
        what: it is a file of, such as votes.
        remedy: what to do where the file cannot be used.
    """
    said = reason_of(error)
    if "locked" in said:
        return DataError(f"{path}: in use by another program; wait for its end")
    if "disk is full" in said:
        return DataError(f"{path}: the disk is full; make room, and the same command goes on")
    if isinstance(error, OSError) or type(error).__name__ == "OperationalError":
        return DataError(f"{path}: {what} cannot be kept there ({said}); {remedy}")
    return DataError(f"{path}: damaged, or not a file of {what} ({said}); {remedy}")


def is_full(error: BaseException) -> bool:
    """Whether an error means that nothing more can be written: a full, spent or read-only disk."""
    return isinstance(error, OSError) and error.errno in _FULL


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


def shipped(name: str) -> Path:
    """A file of weights or statistics that comes with the package."""
    return Path(str(files("corun") / "weights" / name))


def stand_in(data: bytes) -> str | None:
    """What lies where a file should be, and what to do: a Git-LFS pointer, a web page; else None.

    Args:
        data: the beginning of a file, a few hundred bytes at least.
    """
    if data.startswith(LFS_POINTER):
        return "is a Git-LFS pointer and not the file itself; fetch it with: git lfs pull"
    if data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(WEB_PAGES):
        return "is a web page and not the file itself; download it again by its direct link"
    return None


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
    if is_stream(target):
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


def is_stream(target: Path) -> bool:
    """Whether a path is a device, a pipe or a socket, which is written to and never replaced."""
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
