"""Scores that are known already, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corun.files import checksum, database_error

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    version TEXT NOT NULL,
    answer TEXT NOT NULL
) WITHOUT ROWID;
"""
PATIENCE = 10.0
"""Seconds that is waited for another program which has the file."""


class ScoreCache:
    """Answers by what they depend on: the metric, its version and the pictures' content.

    An interrupted run keeps everything up to the last answer. What goes wrong with the file, at any
    moment, is a DataError: it is something else, damaged, locked, or the disk is full.

    Args:
        path: the SQLite file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=PATIENCE)
            try:
                self._connection.executescript(_SCHEMA)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> ScoreCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, subject: str, version: str, contents: Sequence[str]) -> Any | None:
        """What was stored, or None.

        Args:
            subject: what was asked: a metric, a method.
            version: of the one who answered.
            contents: checksums of all it looked at.
        """
        with self._explained():
            row = self._connection.execute(
                "SELECT answer FROM answers WHERE key = ?", (_key(subject, version, contents),)
            ).fetchone()
            return None if row is None else json.loads(row[0])

    def put(self, subject: str, version: str, contents: Sequence[str], answer: Any) -> None:
        """Stores an answer, any JSON value, at once."""
        with self._explained(), self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                (_key(subject, version, contents), subject, version, json.dumps(answer)),
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors as one line each."""
        try:
            yield
        except (OSError, sqlite3.Error, ValueError) as error:
            remedy = "move it away to score anew, or give another --output folder"
            raise database_error(self.path, error, "scores", remedy) from error


def _key(subject: str, version: str, contents: Sequence[str]) -> str:
    return checksum(json.dumps([subject, version, *contents]).encode())
