"""The files of a label pool: fixed-size records with checksums, maps, atomic writes."""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

RECORDS_FILE = "records.bin"

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
        ("reserved", "V20"),
    ]
)
"""One slot's record, 64 bytes. Revision 0 means empty; the checks are CRC-32."""


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


def map_file(path: Path, size: int) -> mmap.mmap:
    """Map a file for reading and writing, shared with other processes; it grows, never shrinks.

    What was never written reads as 0 and takes no room on disk.
    """
    with path.open("a+b") as stream:
        have = stream.seek(0, os.SEEK_END)
        size = max(size, have, 1)
        if size > have:
            stream.truncate(size)
        return mmap.mmap(stream.fileno(), size)


def write_atomically(path: Path, content: bytes | np.ndarray) -> None:
    """Write under a temporary name, flush to disk, rename: the old file or the new, never half."""
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
    finally:
        partial.unlink(missing_ok=True)
