"""What a batch consists of: each picture's address, and where its result goes below DEST."""

from __future__ import annotations

import glob
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from corun.batch.stores import Store
from corun.errors import ConfigurationError, DataError, MissingExtraError, one_line
from corun.pictures.formats import (
    FORMAT_OF_SUFFIX,
    RAW_SUFFIXES,
    READABLE_SUFFIXES,
    SUFFIX_OF_FORMAT,
)

LISTS = (".txt", ".jsonl", ".ndjson", ".parquet")
"""Suffixes of files that list pictures."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a batch.

    Attributes:
        input: its path or URL.
        output: its result's path below the destination, with "/".
    """

    input: str
    output: str


@dataclass(frozen=True)
class Shard:
    """The i-th of n parts of a batch, i from 1; which part a picture is in depends on its name."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Of "i/n".

        Raises:
            ConfigurationError: it is not of that form, or i is not among 1..n.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()) or not (
            1 <= int(index) <= int(count)
        ):
            raise ConfigurationError(
                f"--shard {text}: expected i/n with i from 1 to n, for example 3/16"
            )
        return cls(int(index), int(count))

    def has(self, entry: Entry) -> bool:
        """Whether the entry is of this part."""
        digest = zlib.crc32(entry.output.encode("utf-8", "surrogateescape"))
        return digest % self.count == self.index - 1

    def overlaps(self, other: Shard) -> bool:
        """Whether a picture can be of both: two residues meet if they agree modulo the divisor."""
        return (self.index - other.index) % gcd(self.count, other.count) == 0


def read_entries(source: str, destination: str, file_format: str | None = None) -> list[Entry]:
    """The pictures of a source.

    Args:
        source: a folder, searched to the bottom; a picture; a glob pattern; or a list of pictures:
            .txt (one a line), .jsonl or .parquet (`input`, and if wanted `output`). Each a path or
            a URL. Paths in a list are relative to the list's folder.
        destination: what lies there is no input.
        file_format: Pillow's name of the results' format; None: each input's own.

    Raises:
        DataError: no picture, an unreadable list, two results of one name, or a result that has
            the place of its picture.
        StoreError: the source cannot be read.
        MissingExtraError: a driver or pyarrow is not installed.
    """
    store = Store(source)
    suffix = PurePosixPath(urlsplit(source).path if not store.local else source).suffix.lower()
    if suffix in LISTS:
        entries = list(_listed(store, suffix, file_format))
    elif glob.has_magic(source) and not (store.local and store.exists(store.root)):
        fixed = len(_fixed_folder(store.root))
        entries = _found(store, store.matching(), fixed, destination, file_format)
    elif store.is_folder():
        base = len(store.root.rstrip("/")) + 1
        entries = _found(store, store.files(), base, destination, file_format)
    elif store.exists(store.root):
        entries = [Entry(store.name(store.root), _result(_last(store.root), file_format))]
    else:
        entries = []
    if not entries:
        raise DataError(f"{source}: no pictures there; check the address")
    _refuse_same_results(entries)
    target = Store(destination)
    for entry in entries:
        if target.name(target.below(entry.output)) == entry.input:
            raise DataError(
                f"{entry.input}: would be written over by its own result; choose another "
                "destination"
            )
    return entries


def _found(
    store: Store, paths: list[str], base: int, destination: str, file_format: str | None
) -> list[Entry]:
    """The pictures among paths; what follows their first `base` characters is kept."""
    target = Store(destination)
    own = f"{target.root.rstrip('/')}/" if target.protocol == store.protocol else None
    if own == f"{store.root.rstrip('/')}/":
        raise DataError(f"{destination}: is the source itself; choose another destination")
    entries = []
    for path in paths:
        relative = path[base:]
        hidden = any(part.startswith(".") for part in PurePosixPath(relative).parts)
        if not hidden and _is_picture(relative) and not (own and path.startswith(own)):
            entries.append(Entry(store.name(path), _result(relative, file_format)))
    return entries


def _is_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in READABLE_SUFFIXES


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _fixed_folder(pattern: str) -> str:
    """The part of a pattern before the first folder that has a wildcard, with its slash."""
    fixed = ""
    for part in pattern.split("/")[:-1]:
        if glob.has_magic(part):
            break
        fixed += part + "/"
    return fixed


def _result(relative: str, file_format: str | None) -> str:
    """Where the result of a picture goes: its path, with the suffix of what is written."""
    parts = PurePosixPath(relative.replace("\\", "/")).parts
    path = PurePosixPath(*(part.rstrip(":") for part in parts if part not in _UP))
    own = FORMAT_OF_SUFFIX.get(path.suffix.lower())
    if file_format is not None and own != file_format:
        return str(path.with_suffix(SUFFIX_OF_FORMAT[file_format]))
    if own:
        return str(path)
    raw = path.suffix.lower() in RAW_SUFFIXES
    return str(path.with_suffix(".png")) if raw else f"{path}.png"


_UP = ("/", "//", ".", "..")


def _listed(store: Store, suffix: str, file_format: str | None) -> Iterator[Entry]:
    content = store.read(store.root)
    read = {".txt": _text_rows, ".parquet": _parquet_rows}.get(suffix, _json_rows)
    folder = store.name(store.root).rpartition("/")[0]
    for number, row in enumerate(read(content, store.url), 1):
        address = row.get("input") if isinstance(row, dict) else None
        output = row.get("output") if isinstance(row, dict) else None
        if not isinstance(address, str) or not address or not isinstance(output, str | None):
            raise DataError(
                f"{store.url}, row {number}: no picture's address under 'input'; "
                "each row needs one, and may have 'output'"
            )
        whole = "://" in address or address.startswith("/") or address[1:3] == ":\\"
        where = address if whole else f"{folder}/{address}" if folder else address
        if output is None:
            yield Entry(where, _result(_without_scheme(address), file_format))
            continue
        parts = PurePosixPath(output).parts
        if not parts or set(parts) & set(_UP) or not _is_picture(output):
            raise DataError(
                f"{store.url}, row {number}: output {output!r} is no path of a picture below the "
                "destination; leave out '..' and a leading slash, and end it with .jpg, .png, ..."
            )
        yield Entry(where, output)


def _without_scheme(address: str) -> str:
    if address.startswith(("http://", "https://")):
        parts = urlsplit(address)
        return f"{parts.netloc}/{unquote(parts.path)}"
    return address.rpartition("://")[2]


def _text_rows(content: bytes, name: str) -> Iterator[Any]:
    for line in _decoded(content, name).splitlines():
        if line.strip() and not line.startswith("#"):
            yield {"input": line.strip()}


def _json_rows(content: bytes, name: str) -> Iterator[Any]:
    for number, line in enumerate(_decoded(content, name).splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{name}, line {number}: is no JSON; each line is one object"
                ) from error


def _parquet_rows(content: bytes, name: str) -> Iterator[Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "batch") from error
    try:
        opened = parquet.ParquetFile(pa.BufferReader(content))
        wanted = [column for column in ("input", "output") if column in opened.schema_arrow.names]
        for batch in opened.iter_batches(columns=wanted):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name}: is no readable Parquet file ({one_line(error)})") from error


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: is no text in UTF-8; save it as such") from error


def _refuse_same_results(entries: list[Entry]) -> None:
    writers: dict[str, str] = {}
    for entry in entries:
        other = writers.setdefault(entry.output, entry.input)
        if other != entry.input:
            raise DataError(
                f"{other} and {entry.input} would both be written to {entry.output}; "
                "give them outputs in a .jsonl list, or leave out --format"
            )
    if len(writers) < len(entries):
        entries[:] = [Entry(source, output) for output, source in writers.items()]
