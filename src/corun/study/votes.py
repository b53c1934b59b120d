"""Votes in one SQLite file, safe under many participants and double clicks."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from corun.errors import DataError
from corun.files import database_error, same_name
from corun.study.trials import Study, Trial

_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS study (id INTEGER PRIMARY KEY CHECK (id = 1), facts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS participants (
    token TEXT PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    since TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE IF NOT EXISTS votes (
    participant TEXT NOT NULL REFERENCES participants (token),
    question TEXT NOT NULL,
    photo TEXT NOT NULL,
    first TEXT NOT NULL,
    second TEXT,
    value REAL NOT NULL,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (participant, question)
);
"""


PATIENCE = 30.0
"""Seconds that is waited for another program which has the file."""

_TABLES = {
    "participants": ["token", "code", "since"],
    "study": ["id", "facts"],
    "votes": ["participant", "question", "photo", "first", "second", "value", "at"],
}


def _tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The tables of a file and their columns."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return {
        str(name): [
            str(row[0])
            for row in connection.execute("SELECT name FROM pragma_table_info(?)", (name,))
        ]
        for (name,) in names.fetchall()
    }


class Vote(NamedTuple):
    """One answer.

    Attributes:
        participant: a token that says nothing about the person.
        photo: which photo.
        first: the method scored, or the one shown first of a pair.
        second: the other of a pair, or None.
        value: 1 to 10; of a pair 1 where the first is better, 0 where the second is, ½ for a tie.
        at: UTC.
    """

    participant: str
    photo: str
    first: str
    second: str | None
    value: float
    at: str


class VoteStore:
    """The votes of one study.

    Each call opens its own connection, so that threads do not share any; SQLite's primary key
    decides which of two answers to one question counts: the first.

    Args:
        path: the SQLite file; made if it is not there and may be.
        make: make it, or its tables in an empty file; else it must hold votes already.

    Raises:
        DataError: the file is no SQLite file, holds other tables, or cannot be made there.
    """

    def __init__(self, path: Path, *, make: bool = True) -> None:
        self.path = path
        if not make and not path.is_file():
            raise DataError(f"{path}: no such file; it is made by corun study")
        if make:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise database_error(path, error, "votes", "name another file") from error
        with self._connected() as connection:
            found = _tables(connection)
            if make and not found:
                connection.executescript(_SCHEMA)
                found = _TABLES
        if found != _TABLES:
            held = f"it holds {', '.join(found)}" if found else "it is empty"
            raise DataError(f"{path}: not a file of votes ({held}); name another")

    def bind(self, study: Study) -> None:
        """Ties the file to a study.

        Raises:
            DataError: it holds votes on other methods, photos or another mode.
        """
        facts = {
            "mode": study.mode,
            "methods": list(study.methods),
            "photos": list(study.pictures),
            "seed": study.seed,
        }
        with self._connected() as connection:
            connection.execute("INSERT OR IGNORE INTO study VALUES (1, ?)", (json.dumps(facts),))
        if self.facts() != facts:
            raise DataError(
                f"{self.path}: holds votes of another study (other methods, photos, mode or seed); "
                "name another file with --votes"
            )

    def facts(self) -> dict[str, object]:
        """What `bind` stored: mode, methods, photos, seed.

        Raises:
            DataError: no study has been bound to the file.
        """
        with self._connected() as connection:
            row = connection.execute("SELECT facts FROM study").fetchone()
        if row is None:
            raise DataError(f"{self.path}: holds no study yet; run corun study first")
        # version 0.1 stored names as the disk spelled them
        facts: dict[str, object] = {
            key: [same_name(name) for name in value] if isinstance(value, list) else value
            for key, value in json.loads(row[0]).items()
        }
        return facts

    def enrol(self, code: str) -> tuple[str, str]:
        """The token and code of a participant: the known one of the code, or a new one."""
        # a lone half of a letter, which JSON can say and SQLite cannot keep, becomes "?"
        code = same_name(" ".join(code.encode("utf-8", "replace").decode().split()))[:80]
        code = code or secrets.token_hex(4)
        with self._connected() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO participants (token, code) VALUES (?, ?)",
                (secrets.token_hex(16), code),
            )
            token: str = connection.execute(
                "SELECT token FROM participants WHERE code = ?", (code,)
            ).fetchone()[0]
        return token, code

    def knows(self, token: str) -> bool:
        """Whether a token belongs to somebody."""
        with self._connected() as connection:
            row = connection.execute("SELECT 1 FROM participants WHERE token = ?", (token,))
            return row.fetchone() is not None

    def answered(self, token: str) -> set[str]:
        """The keys of the questions a participant has answered."""
        with self._connected() as connection:
            rows = connection.execute("SELECT question FROM votes WHERE participant = ?", (token,))
            return {same_name(row[0]) for row in rows}

    def record(self, token: str, trial: Trial, value: float) -> bool:
        """Stores an answer; False, and nothing changes, where the question has one already."""
        first, second = trial.methods[0], trial.methods[1] if len(trial.methods) > 1 else None
        with self._connected() as connection:
            cursor = connection.execute(
                "INSERT OR IGNORE INTO votes (participant, question, photo, first, second, value) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (token, trial.key, trial.photo, first, second, value),
            )
            return cursor.rowcount == 1

    def votes(self) -> list[Vote]:
        """Every answer, in a stable order."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT participant, photo, first, second, value, at FROM votes "
                "ORDER BY participant, question"
            )
            return [
                Vote(
                    who, same_name(photo), same_name(first), second and same_name(second), value, at
                )
                for who, photo, first, second, value, at in rows
            ]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own; what goes wrong with the file, at any moment, is a DataError."""
        try:
            connection = sqlite3.connect(self.path, timeout=PATIENCE)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise database_error(self.path, error, "votes", "name another file") from error
