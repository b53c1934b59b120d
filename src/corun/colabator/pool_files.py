"""The files of a label pool: fixed-size records with checksums, mapped reading, safe writing."""

from __future__ import annotations

import json
import mmap
import os
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from corun.errors import DataError

PAGE = mmap.ALLOCATIONGRANULARITY

RECORD = np.dtype(
    [
        ("revision", "<i8"),
        ("step", "<i8"),
        ("quality", "<f4"),
        ("density", "<f4"),
        ("first_quality", "<f4"),
        ("first_density", "<f4"),
        ("replaced", "<i4"),
        ("label_check", "<u4"),
        ("record_check", "<u4"),
        ("key", "V16"),
        ("reserved", "V4"),
    ]
)
"""One slot's record, 64 bytes. Revision 0 means empty; the checks are CRC-32; the key is the mark
of the photo whose label it is, so that a label can never pass for another photo's."""


def checksum(record: Any) -> int:
    """CRC-32 of a record without its own check."""
    plain = record.copy()
    plain["record_check"] = 0
    return zlib.crc32(plain.tobytes())


def sealed(record: Any) -> Any:
    """The record with its check filled in."""
    record["record_check"] = checksum(record)
    return record


def valid(record: Any) -> bool:
    """Whether a record is whole and not empty."""
    return int(record["revision"]) > 0 and int(record["record_check"]) == checksum(record)


class PoolFile:
    """A file that is read through a shared map and written by system calls.

    Both go through the same pages, so that every process of the machine sees what another wrote.
    Writing into the map instead would kill the process (SIGBUS) once the disk is full.

    Args:
        path: the file.
        size: bytes that must be there.
        writable: whether :meth:`write` may be called.

    Raises:
        DataError: the file is missing, shorter than ``size``, or cannot be opened.
    """

    def __init__(self, path: Path, size: int, *, writable: bool = False) -> None:
        self.path = path
        try:
            descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be opened ({error.strerror}); the pool is incomplete: move its "
                "folder away, or restore the file"
            ) from error
        self._descriptor = descriptor
        self._closed = weakref.finalize(self, os.close, descriptor)
        have = os.fstat(descriptor).st_size
        if have < size:
            self._closed()
            raise DataError(
                f"{path}: cut short ({have} of {size} bytes); the pool is damaged: move its folder "
                "away, or restore the file"
            )
        self.map = mmap.mmap(descriptor, max(size, 1), access=mmap.ACCESS_READ)

    def read(self, start: int, size: int) -> bytes:
        """A copy of some bytes. Their pages leave this process again; the file keeps them."""
        data = self.map[start : start + size]
        if hasattr(self.map, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
            first = start // PAGE * PAGE
            self.map.madvise(mmap.MADV_DONTNEED, first, start + size - first)
        return data

    def write(self, start: int, data: bytes) -> None:
        """Write all the bytes at a place.

        Raises:
            DataError: the disk is full, or another error of the system.
        """
        write_all(self._descriptor, self.path, start, data)

    def flush(self) -> None:
        """Return when everything written is on the disk."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        """Unmap. Views of the map must be gone."""
        self.map.close()
        self._closed()


def write_all(descriptor: int, path: Path, start: int, data: bytes) -> None:
    """Write bytes at a place of an open file, whatever number of calls it takes.

    Raises:
        DataError: the disk is full, or another error of the system.
    """
    rest = memoryview(data)
    try:
        while len(rest):
            done = os.pwrite(descriptor, rest, start)
            rest, start = rest[done:], start + done
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> DataError:
    """What a failed write means, and what to do."""
    return DataError(
        f"{path}: cannot be written ({error.strerror or error}); the labels of the last checkpoint "
        "are intact: free some space and run the same command again, or choose another pool.folder"
    )


def grow(path: Path, size: int, *, reserve: bool) -> None:
    """Make a file at least so long; what is new reads as 0.

    Args:
        path: the file, made if absent.
        size: bytes.
        reserve: occupy the disk now. Otherwise what was never written takes no room.

    Raises:
        DataError: the disk is full, or another error of the system.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        have = os.fstat(descriptor).st_size
        if size > have and reserve:
            write_all(descriptor, path, have, bytes(size - have))
        elif max(size, 1) > have:
            os.ftruncate(descriptor, max(size, 1))
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes | np.ndarray) -> None:
    """Write under a temporary name, flush to disk, rename: the old file or the new, never half.

    Raises:
        DataError: the disk is full, or another error of the system.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                np.save(stream, content, allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What a JSON file holds; None if there is no such file.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise damaged_file(path) from error


def damaged_file(path: Path) -> DataError:
    """A file of the pool is not what this program wrote."""
    return DataError(f"{path}: damaged; move the pool's folder away, or restore the file")
