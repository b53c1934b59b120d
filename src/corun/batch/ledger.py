"""What a batch has done: rows in parts below DEST/_manifest, each put in place whole.

A result is in place before its row. So a result without a row is one whose process was killed in
between, and a row without a result is a failure: nothing is done twice, whenever it was killed. Of
several rows of an output the one that is no failure counts: it was tried again until it was done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from corun.batch.entries import Entry, Shard
from corun.batch.stores import Store, StoreError, persistently
from corun.dehazing.file_jobs import Outcome
from corun.errors import ConfigurationError, DataError

FOLDER = "_manifest"
SETTINGS = f"{FOLDER}/job.json"
ROWS = 1000
"""Of a part, at most."""
REMOTE_PAUSE = 5.0
"""Seconds, at least, between two commits to a store that is not this disk: each is a request."""


class Row(NamedTuple):
    """What is remembered of a row: of a million, all that is needed."""

    failed: bool
    input: str


class Ledger:
    """The rows of a batch in parts of JSON lines.

    Args:
        store: the destination.
        settings: what decides the results; a destination holds those of one setting.
        shard: which part of the batch this process does.
        retries: how often a commit is tried again where the error may pass.

    Raises:
        ConfigurationError: the destination was filled with other settings, or another process does
            pictures of this part.
        DataError: a part is damaged.
        StoreError: the destination cannot be read or written.
    """

    def __init__(
        self, store: Store, settings: Mapping[str, Any], shard: Shard, retries: int = 0
    ) -> None:
        self._store, self._retries = store, retries
        self._shard = shard
        self._part = f"{FOLDER}/{_name(shard)}-{time.time_ns():x}"
        self._number = 0
        self._lines: list[str] = []
        self._unwritten = False
        self._least_pause = self._pause = 0.0 if store.local else REMOTE_PAUSE
        self._committed = time.monotonic()
        self._settings = dict(settings)
        self._lock = self._held()  # before it is read what was done
        try:
            self.present = {store.relative(path) for path in store.files()}
            self._stated = SETTINGS in self.present
            if self._stated:
                self._agree()
            self.rows = self._read()
        except BaseException:
            self.release()
            raise

    def _agree(self) -> None:
        path = self._store.below(SETTINGS)
        try:
            before = json.loads(self._store.read(path))
        except ValueError as error:
            raise DataError(f"{self._store.name(path)}: is damaged; remove it") from error
        differing = [
            f"{key} {before.get(key)!r}, now {value!r}"
            for key, value in self._settings.items()
            if before.get(key) != value
        ]
        if differing:
            raise ConfigurationError(
                f"{self._store.url}: holds results of other settings ({'; '.join(differing)}); "
                "choose another destination"
            )

    def _read(self) -> dict[str, Row]:
        rows: dict[str, Row] = {}
        for relative in sorted(self.present):
            if not (relative.startswith(f"{FOLDER}/") and relative.endswith(".jsonl")):
                continue
            path = self._store.below(relative)
            try:
                for line in self._store.read(path).splitlines():
                    said = json.loads(line)
                    row = Row(said["status"] == "failed", said["input"])
                    if not row.failed or said["output"] not in rows:
                        rows[said["output"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self._store.name(path)}: is damaged; remove it, its pictures are found"
                ) from error
        return rows

    def record(self, entry: Entry, outcome: Outcome) -> None:
        """Adds what became of an entry, and commits where it is time to.

        Raises:
            StoreError: the destination cannot be written.
        """
        row = {**outcome.as_dict(), "output": entry.output}
        self._lines.append(json.dumps(row))
        self._unwritten = True
        if len(self._lines) >= ROWS or time.monotonic() - self._committed >= self._pause:
            self.commit()

    def commit(self) -> None:
        """Puts the open part in place, with every row so far.

        Raises:
            StoreError: the destination cannot be written.
        """
        if not self._unwritten:
            return
        if not self._stated:  # not before: a run that does nothing decides nothing
            content = json.dumps(self._settings, indent=2).encode()
            self._write(SETTINGS, content)
            self._stated = True
        start = time.monotonic()
        content = ("\n".join(self._lines) + "\n").encode()
        self._write(f"{self._part}-{self._number:05d}.jsonl", content)
        self._unwritten = False
        self._committed = time.monotonic()
        self._pause = max(self._least_pause, 10 * (self._committed - start))
        if len(self._lines) >= ROWS:
            self._lines = []
            self._number += 1

    def release(self) -> None:
        """Let other processes have this part."""
        if self._lock is not None:
            self._lock.release()

    def _held(self) -> FileLock | None:
        """Keeps others that share this store's disk from doing the same pictures at the same time.

        Raises:
            ConfigurationError: one does.
            StoreError: the destination cannot be written.
        """
        if not self._store.local:
            return None
        own = Path(self._store.below(f"{FOLDER}/{_name(self._shard)}.lock"))
        lock = FileLock(own)
        try:
            own.parent.mkdir(parents=True, exist_ok=True)
            # One at a time looks who is there, so that nobody takes a look for a run.
            with FileLock(own.with_name("opening.lock")):
                for path in {own, *own.parent.glob("[0-9]*-of-[0-9]*.lock")}:
                    if self._shard.overlaps(_shard_of(path)):
                        _require_free(path, self._store.url)
                lock.acquire(timeout=0)
        except NotImplementedError:  # a network disk without locks
            return None
        except OSError as error:
            raise StoreError(
                f"{own}: {error.strerror or error}; check the rights of the folder"
            ) from error
        return lock

    def _write(self, relative: str, content: bytes) -> None:
        path = self._store.below(relative)
        persistently(lambda: self._store.write(path, content), self._retries)


def _name(shard: Shard) -> str:
    return f"{shard.index:05d}-of-{shard.count:05d}"


def _shard_of(path: Path) -> Shard:
    index, _, count = path.stem.partition("-of-")
    return Shard(int(index), int(count))


def _require_free(path: Path, destination: str) -> None:
    """Raises a ConfigurationError that names the run that holds a lock, if one does."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        shard = _shard_of(path)
        raise ConfigurationError(
            f"{destination}: another process is doing this part of it, as --shard "
            f"{shard.index}/{shard.count}; wait for its end, or give each another i of one i/n"
        ) from error
    lock.release()
