"""Scores that are known already, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from corun.errors import DataError
from corun.files import checksum

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


class ScoreCache:
    """Answers by what they depend on: the metric, its version and the pictures' content.

    Only one process writes; an interrupted run keeps everything up to the last answer.

    Args:
        path: the SQLite file; made if it is not there.

    Raises:
        DataError: the file is something else, or cannot be made there.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path)
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.OperationalError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"{path}: scores cannot be kept there ({reason}); give another --output folder"
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{path}: not a cache of scores ({error}); delete it") from error

    def __enter__(self) -> ScoreCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def get(self, subject: str, version: str, contents: Sequence[str]) -> Any | None:
        """What was stored, or None.

        Args:
            subject: what was asked: a metric, a method.
            version: of the one who answered.
            contents: checksums of all it looked at.
        """
        row = self._connection.execute(
            "SELECT answer FROM answers WHERE key = ?", (_key(subject, version, contents),)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, subject: str, version: str, contents: Sequence[str], answer: Any) -> None:
        """Stores an answer, any JSON value, at once."""
        with self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                (_key(subject, version, contents), subject, version, json.dumps(answer)),
            )


def _key(subject: str, version: str, contents: Sequence[str]) -> str:
    return checksum(json.dumps([subject, version, *contents]).encode())
