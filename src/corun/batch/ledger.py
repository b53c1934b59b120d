"""What a batch has done: rows in parts below DEST/_manifest, each put in place whole.

A result is in place before its row. So a result without a row is one whose process was killed in
between, and a row without a result is a failure: nothing is done twice, whenever it was killed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from corun.batch.entries import Entry, Shard
from corun.batch.stores import Store
from corun.dehazing.file_jobs import Outcome
from corun.errors import ConfigurationError, DataError

FOLDER = "_manifest"
SETTINGS = f"{FOLDER}/job.json"
ROWS = 1000
"""Of a part, at most."""
REMOTE_PAUSE = 5.0
"""Seconds, at least, between two commits to a store that is not this disk: each is a request."""


class Ledger:
    """The rows of a batch in parts of JSON lines.

    Args:
        store: the destination.
        settings: what decides the results; a destination holds those of one setting.
        shard: which part of the batch this process does.

    Raises:
        ConfigurationError: the destination was filled with other settings.
        DataError: a part is damaged.
        StoreError: the destination cannot be read or written.
    """

    def __init__(self, store: Store, settings: Mapping[str, Any], shard: Shard) -> None:
        self._store = store
        self._part = f"{FOLDER}/{shard.index:05d}-of-{shard.count:05d}-{time.time_ns():x}"
        self._number = 0
        self._lines: list[str] = []
        self._unwritten = False
        self._least_pause = self._pause = 0.0 if store.local else REMOTE_PAUSE
        self._committed = time.monotonic()
        self.present = {store.relative(path) for path in store.files()}
        self._settings = dict(settings)
        self._stated = SETTINGS in self.present
        if self._stated:
            self._agree()
        self.rows = self._read()

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

    def _read(self) -> dict[str, dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}
        for relative in sorted(self.present):
            if not (relative.startswith(f"{FOLDER}/") and relative.endswith(".jsonl")):
                continue
            path = self._store.below(relative)
            try:
                for line in self._store.read(path).splitlines():
                    row = json.loads(line)
                    rows[row["output"]] = row
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
        self.rows[entry.output] = row
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
            self._store.write(self._store.below(SETTINGS), content)
            self._stated = True
        path = self._store.below(f"{self._part}-{self._number:05d}.jsonl")
        start = time.monotonic()
        self._store.write(path, ("\n".join(self._lines) + "\n").encode())
        self._unwritten = False
        self._committed = time.monotonic()
        self._pause = max(self._least_pause, 10 * (self._committed - start))
        if len(self._lines) >= ROWS:
            self._lines = []
            self._number += 1
