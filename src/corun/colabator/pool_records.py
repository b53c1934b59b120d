"""The records of a label pool: one SQLite file per shard, in which nothing is half done.

A record is a label's photo, scores and step, and the digest of the file that holds its pixels. A
commit is a set of records, to which a pool can return.

On a disk of this machine the journal is a write-ahead log, so that readers and writers do not wait
for each other. That log needs memory that all its processes share, so on a network disk the journal
is a plain file (``DELETE``), which is slower and needs none.
"""

from __future__ import annotations

import json
import re
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from corun.errors import DataError, reason_of
from corun.files import checksum

RECORDS = "records.sqlite"
VERSION = 3
PATIENCE = 60.0
"""Seconds that a process waits while another writes."""
MOUNTS = Path("/proc/self/mountinfo")
NETWORK_DISK = re.compile(
    r"(9p|afs|beegfs|ceph|cifs|fuse|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|smb3|smbfs"
    r"|virtiofs)(\..*)?"
)
"""Kinds of disks that several machines may share; ``fuse.sshfs`` and its like are among them."""
SCHEMA = f"""
CREATE TABLE pool (identity TEXT NOT NULL, owner TEXT, run INTEGER NOT NULL);
CREATE TABLE photos (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE labels (
  number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL REFERENCES photos (key),
  digest TEXT NOT NULL, step INTEGER NOT NULL, quality REAL NOT NULL, density REAL NOT NULL,
  first_quality REAL NOT NULL, first_density REAL NOT NULL, replaced INTEGER NOT NULL);
CREATE INDEX labels_by_photo ON labels (key, number);
CREATE INDEX labels_by_digest ON labels (digest);
CREATE TABLE commits (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE committed (
  name TEXT NOT NULL REFERENCES commits (name) ON DELETE CASCADE,
  label INTEGER NOT NULL REFERENCES labels (number) ON DELETE CASCADE,
  PRIMARY KEY (name, label)) WITHOUT ROWID;
CREATE INDEX committed_by_label ON committed (label);
CREATE TABLE history (
  run INTEGER NOT NULL, step INTEGER NOT NULL, labels INTEGER NOT NULL, quality REAL NOT NULL,
  density REAL NOT NULL, replaced INTEGER NOT NULL, PRIMARY KEY (run, step));
PRAGMA user_version = {VERSION}"""
"""Of a photo two labels are kept at most: the newest, and that of the last commit."""


@dataclass(frozen=True)
class PoolIdentity:
    """What a pool's labels have in common; a pool of another identity is refused.

    Attributes:
        network: the network that makes the labels, and the weights it started from.
        density: full name of the density evaluator, with what it was set to.
        quality: full name of the quality evaluator, likewise.
        side: height and width of the labels, pixels.
        block: side of the score blocks, pixels.
        rule: what the weights are made of.
        region: which part of a photo a label shows, ``crop`` or ``whole``.
        scale: with ``crop``, the share of the photo's short side that it shows, (0,1].
    """

    network: str
    density: str
    quality: str
    side: int
    block: int
    rule: str = "trusted"
    region: str = "crop"
    scale: float = 1.0


class Record(NamedTuple):
    """One label without its pixels: a row of ``labels``. See :class:`.pool_labels.Label`.

    Attributes:
        number: grows with every label; the newest of a photo has the largest.
        key: the photo.
        digest: SHA-256 of the label's file, 64 hexadecimal digits.
    """

    number: int
    key: str
    digest: str
    step: int
    quality: float
    density: float
    first_quality: float
    first_density: float
    replaced: int


class Records:
    """The SQLite file of a shard. What goes wrong with it, anywhere, is a :class:`DataError`:
    it is damaged, of another version, locked, or cannot be read or written.

    Args:
        path: the file.
        writable: made if absent. Otherwise it is only read, and nothing beside it is made.

    Attributes:
        is_new: whether it has no tables yet.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path, self._writable = path, writable
        with self._explained():
            self._base = self._to_write() if writable else self._to_read()
            self.close = weakref.finalize(self, self._base.close)
            sound = self._base.execute("PRAGMA quick_check (1)").fetchone() == ("ok",)
            self._base.execute("PRAGMA foreign_keys = ON")
        self.is_new = not self.rows("SELECT 1 FROM sqlite_master")
        if not sound or (self.is_new and not writable):
            raise damaged_file(path)
        ((version,),) = self.rows("PRAGMA user_version")
        if version != VERSION and not self.is_new:
            raise DataError(
                f"{path}: a label pool of another version of corun (layout {version}, not "
                f"{VERSION}); give another pool.folder, or move this one away to start anew"
            )

    def make(self, identity: PoolIdentity) -> None:
        """Make the tables of a new pool."""
        with self.transaction(durable=True) as base:
            for statement in SCHEMA.split(";"):
                base.execute(statement)
            base.execute("INSERT INTO pool VALUES (?, NULL, 0)", (json.dumps(asdict(identity)),))

    def rows(self, query: str, *values: object) -> list[Any]:
        """What one statement returns."""
        with self._explained():
            return self._base.execute(query, values).fetchall()

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Changes of which all happen or none, while other processes wait.

        Args:
            durable: return when they are on the disk. Otherwise a loss of power, but not of the
                process, may undo the latest of them.
        """
        with self._explained():
            self._base.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            finally:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")

    def _to_write(self) -> sqlite3.Connection:
        base = _connect(str(self.path))
        base.execute(f"PRAGMA journal_mode = {'DELETE' if network_disk(self.path) else 'WAL'}")
        return base

    def _to_read(self) -> sqlite3.Connection:
        """SQLite would make files beside a log that is at rest, unless the file is said to be
        immutable. Then it is copied, in case a run begins meanwhile."""
        with self.path.open("rb") as stream:
            has_log = stream.read(20)[18:19] == b"\x02"
        rests = has_log and not self.path.with_name(f"{self.path.name}-wal").exists()
        uri = f"{self.path.resolve().as_uri()}?mode=ro"
        if not rests:
            return _connect(uri)
        base, copy = _connect(f"{uri}&immutable=1"), _connect(":memory:")
        try:
            base.backup(copy)
        finally:
            base.close()
        return copy

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the disk, or another program, does to the file into one line."""
        explain = cannot_write if self._writable else cannot_read
        try:
            yield
        except OSError as error:
            raise explain(self.path, error) from error
        except sqlite3.DatabaseError as error:
            kind = getattr(error, "sqlite_errorname", "")
            if re.match("SQLITE_(CORRUPT|NOTADB)", kind):
                raise damaged_file(self.path) from error
            if re.match("SQLITE_(BUSY|LOCKED)", kind):
                raise DataError(
                    f"{self.path}: locked by another process for {PATIENCE:.0f} s; end that "
                    "process and run the same command again"
                ) from error
            if re.match("SQLITE_(FULL|IOERR|CANTOPEN|READONLY|PERM)", kind):
                raise explain(self.path, error) from error
            raise


def _connect(place: str) -> sqlite3.Connection:
    return sqlite3.connect(
        place,
        timeout=PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        uri=place.startswith("file:"),
    )


def records_of(place: Path, *, writable: bool) -> Records:
    """The records of a shard; a new one's are made, but never beside labels."""
    path = place / RECORDS
    has_records = path.exists() and path.stat().st_size > 0
    if not has_records and (not writable or next((place / "labels").glob("*"), None)):
        raise DataError(
            f"{path}: gone or empty, so nobody knows whose the labels beside it are; restore it, "
            "or move the pool's folder away to start anew"
        )
    return Records(path, writable=writable)


def refuse_earlier(folder: Path) -> None:
    """Refuse a pool of layout 1 or 2, which lay in other files."""
    found = next((name for name in ("pool.json", "labels.bin") if (folder / name).exists()), None)
    if found is not None:
        raise DataError(
            f"{folder}: a label pool of an earlier version of corun ({found}); give another "
            "pool.folder, or move this one away, and last.ckpt of its run too, to start anew"
        )


def commit_name(step: int, records: Sequence[Record]) -> str:
    """A commit's name: its step, and twelve digits made of its records and their labels.

    So a checkpoint can only ever be continued with the very labels it was written with, and a run
    that is repeated exactly gives the same names.
    """
    content = json.dumps(sorted(record[1:] for record in records))
    return f"commit-{step:08d}-{checksum(content.encode())[:12]}"


def network_disk(path: Path) -> str | None:
    """The kind of the network disk that a path lies on; None on a disk of this machine.

    Told by the kernel's list of mounts; where there is none (not Linux), the disk counts as local.
    """
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, depth, kind = path.resolve(), 0, ""
    for line in lines:
        mount, _, disk = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), mount.split()[4]))
        if place.is_relative_to(point) and len(point.parts) >= depth:
            depth, kind = len(point.parts), disk.split()[0]
    return kind if NETWORK_DISK.fullmatch(kind) else None


def cannot_write(path: Path, error: Exception) -> DataError:
    """What a failed write means, and what to do."""
    return DataError(
        f"{path}: cannot be written ({reason_of(error)}); the labels of the last checkpoint are "
        "intact: free some space and run the same command again, or choose another pool.folder"
    )


def cannot_read(path: Path, error: Exception) -> DataError:
    """What a failed read means, and what to do."""
    return DataError(
        f"{path}: cannot be read ({reason_of(error)}); restore the file or the right to read it, "
        "or move the pool's folder away"
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the system as what :func:`cannot_write` says."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def damaged_file(path: Path) -> DataError:
    """A file of the pool is not what this program wrote."""
    return DataError(f"{path}: damaged; move the pool's folder away, or restore the file")
