"""The optimal label pool: the best label ever made for each real photo, on disk.

A pool is a folder of shards, one per host of a run (``shards/0``, ``shards/1``, …), on a disk of
each host or on one of all. Each is on its own: its records in ``records.sqlite``, its labels as
files named by their content in ``labels``. A label's file is whole and on the disk before its
record is there, and a file that is not what its name says is never used. So:

- a process killed at any instant leaves the label before, or the new one;
- a photo whose label is damaged falls back to its older one, or gets a new one;
- a photo keeps its newest label and that of the last commit, so a pool has a bound, and
  :meth:`LabelPool.rollback` returns to exactly the labels of the commit that a checkpoint names,
  which is how a resumed run repeats an uninterrupted one;
- other processes see each label as a whole or not at all.

Each photo has one owner, the only process that offers labels for it. Photos are known by their
content, so a renamed folder keeps its labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from corun.colabator.pool_labels import Label, LabelFiles
from corun.colabator.pool_lock import hold, leads, locked
from corun.colabator.pool_records import (
    RECORDS,
    PoolIdentity,
    Record,
    Records,
    commit_name,
    damaged_file,
    network_disk,
    records_of,
    refuse_earlier,
    writing,
)
from corun.errors import DataError, tell

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["Label", "LabelPool", "PoolIdentity", "PoolReader", "open_existing", "shards_of"]


class PoolReader:
    """The labels of a shard, also while a run is writing to it.

    Args:
        folder: the pool.
        place: the shard's folder.
        records: the shard's records.

    Raises:
        DataError: as every method: a file is damaged, gone, or cannot be read.
    """

    def __init__(self, folder: Path, place: Path, records: Records) -> None:
        self.folder, self._records = folder, records
        labels = place / "labels"
        try:
            ((text,),) = records.rows("SELECT identity FROM pool")
            self.identity = PoolIdentity(**json.loads(text))
            self._files = LabelFiles(labels, self.identity.side, self.identity.block)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise damaged_file(records.path) from error
        if not labels.is_dir() and records.rows("SELECT 1 FROM labels LIMIT 1"):
            raise DataError(
                f"{labels}: gone, though there are records of labels; restore it, or move the "
                "pool's folder away to start anew"
            )

    def scores(self, keys: Sequence[str]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Q and D of the photos' labels; NaN where there is none yet."""
        found = [self.record(key) for key in keys]
        quality = [float("nan") if one is None else one.quality for one in found]
        density = [float("nan") if one is None else one.density for one in found]
        return torch.tensor(quality), torch.tensor(density)

    def record(self, key: str) -> Record | None:
        """Scores and step of the photo's label, or None while it has none."""
        found = self._current(key)
        return None if found is None else found[0]

    def get(self, key: str) -> Label | None:
        """The photo's label, or None while it has none."""
        found = self._current(key)
        return None if found is None else self._files.label(*found)

    def __len__(self) -> int:
        """How many photos have a label."""
        return sum(1 for _ in self.labelled())

    def photos(self) -> list[str]:
        """All photos it knows."""
        return [key for (key,) in self._records.rows("SELECT key FROM photos ORDER BY number")]

    def labelled(self) -> Iterator[str]:
        """The keys of the photos that have a label."""
        return (key for key in self.photos() if self._current(key) is not None)

    def damaged(self) -> list[str]:
        """The photos whose newest label cannot be used: its file is gone, or not what it was, or
        another photo's. They fall back to their older label, or have none."""
        return [key for key in self.photos() if self._has_lost(key)]

    def history(self) -> list[dict[str, float | int]]:
        """One entry per commit: run, step, labels, mean Q and D, replacements so far."""
        names = ("run", "step", "labels", "quality", "density", "replaced")
        rows = self._records.rows("SELECT * FROM history ORDER BY run, step")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def close(self) -> None:
        """Close the records."""
        self._records.close()

    def _versions(self, key: str) -> list[Record]:
        """A photo's records, the newest first."""
        query = "SELECT * FROM labels WHERE key = ? ORDER BY number DESC"
        return [Record(*row) for row in self._records.rows(query, key)]

    def _current(self, key: str) -> tuple[Record, bytes] | None:
        """The newest whole label of a photo: its record and its file."""
        versions = self._versions(key)
        for record in versions:
            if (content := self._files.read(record)) is not None:
                return record, content
            if self._versions(key) != versions:  # its owner has replaced it meanwhile
                return self._current(key)
        return None

    def _has_lost(self, key: str) -> bool:
        newest = self._versions(key)[:1]
        lost = any(self._files.read(record) is None for record in newest)
        return lost and self._versions(key)[:1] == newest


class LabelPool(PoolReader):
    """The shard of one run.

    Args:
        folder: the pool; made if absent.
        identity: what its labels have in common.
        keys: the photos it must have room for, in any order; more can come in a later run.
        owner: the folder of the run. While the shard is open, runs of other folders are refused;
            its labels are emptied only for the run that made them, or if the pool lies in the
            run's folder. Without an owner nothing is refused.
        shard: its number. Machines that write to one folder write to a shard each.

    Raises:
        DataError: the folder holds a pool of another identity or version; its files are damaged;
            another run is using it; or, as every method, the disk is full or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        identity: PoolIdentity,
        keys: Sequence[str],
        *,
        owner: Path | None = None,
        shard: int = 0,
    ) -> None:
        refuse_earlier(folder)
        place = folder / "shards" / str(shard)
        _make(place)
        self._owner = None if owner is None else str(owner.resolve())
        self._run_lock: FileLock | None = None
        # What this run last committed or returned to; None until it has.
        self._commit: str | None = None
        with locked(place):
            if self._owner is not None and leads():
                self._run_lock = hold(place, self._owner)
            records = records_of(place, writable=True)
            if records.is_new:
                records.make(identity)
            super().__init__(folder, place, records)
            self._require_same(identity)
            with records.transaction(durable=True) as base:
                add = "INSERT OR IGNORE INTO photos (key) VALUES (?)"
                base.executemany(add, ((key,) for key in keys))
            _make(place / "labels")
        if leads() and (kind := network_disk(place)):
            tell(
                f"note: {folder}: lies on a network disk ({kind}), so its records have no "
                "write-ahead log (journal_mode=DELETE) and are written more slowly"
            )

    def put(
        self,
        key: str,
        scene: Float[Tensor, "3 s s"],
        transmission: Float[Tensor, "1 s s"] | None,
        weights: Float[Tensor, "1 m m"],
        quality: float,
        density: float,
        step: int,
    ) -> None:
        """Replace the photo's label. Only the photo's owner may.

        Args:
            key: the photo.
            scene: RGB, [0,1]; stored with 8 bits.
            transmission: T̄, unitless, [0,1]; stored at half size with 16.
            weights: of the blocks, [0,1]; stored with 16 bits.
            quality: Q of the scene, finite.
            density: D of the scene, finite.
            step: the step it was made at.
        """
        old = self.record(key)
        first = (quality, density) if old is None else old[6:8]
        replaced = 0 if old is None else old.replaced + 1
        record = Record(0, key, "", step, quality, density, *first, replaced)
        record = record._replace(digest=self._files.write(record, scene, transmission, weights))
        # What stays beside it: the label of the last commit; before the first, the one before.
        others = (
            "FROM labels WHERE key = :key AND number NOT IN (:new, COALESCE("
            "(SELECT label FROM committed JOIN labels ON number = label WHERE key = :key AND name ="
            " (SELECT name FROM commits ORDER BY number DESC LIMIT 1)), :old))"
        )
        with self._records.transaction() as base:
            insert = "INSERT INTO labels VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)"
            new = base.execute(insert, record[1:]).lastrowid
            values = {"key": key, "new": new, "old": new if old is None else old.number}
            stale = {digest for (digest,) in base.execute(f"SELECT digest {others}", values)}
            base.execute(f"DELETE {others}", values)
            needed = "SELECT digest FROM labels WHERE key = ?"
            stale -= {digest for (digest,) in base.execute(needed, (key,))}
        self._files.remove(stale)

    def commit(self, step: int) -> str:
        """Make the present labels the state to which :meth:`rollback` returns.

        Call it from one process while no other offers labels. The first commit of a run that
        began with another run's labels ends that run's commits.

        Args:
            step: steps done.

        Returns:
            The commit's name, made of step and content.
        """
        found = (self.record(key) for key in self.photos())
        records = [record for record in found if record is not None]
        name = commit_name(step, records)
        self._files.settle()
        with self._records.transaction(durable=True) as base:
            ((run,),) = base.execute("SELECT run FROM pool")
            run = max(1, run if self._commit is not None else run + 1)
            base.execute("UPDATE pool SET owner = ?, run = ?", (self._owner, run))
            # The one before stays: a process killed before its checkpoint is renamed needs it.
            stale = "DELETE FROM commits WHERE name IS NOT ? OR name = ?"
            base.execute(stale, (self._commit, name))
            base.execute("INSERT INTO commits (name) VALUES (?)", (name,))
            members = ((name, record.number) for record in records)
            base.executemany("INSERT INTO committed VALUES (?, ?)", members)
            # The newest stays even if its file is damaged, so that the loss is told.
            base.execute(
                "DELETE FROM labels WHERE number NOT IN (SELECT label FROM committed) "
                "AND number NOT IN (SELECT MAX(number) FROM labels GROUP BY key)"
            )
            base.execute("DELETE FROM history WHERE (run, step) >= (?, ?)", (run, step))
            base.execute(
                "INSERT INTO history SELECT ?, ?, COUNT(*), AVG(quality), AVG(density), "
                "SUM(replaced) FROM committed JOIN labels ON number = label WHERE name = ? "
                "HAVING COUNT(*) > 0",
                (run, step, name),
            )
        self._commit = name
        self._collect()
        return name

    def rollback(self, name: str | None) -> None:
        """Return to a commit of this run, or with None to an empty pool.

        All processes may, at once, before any offers labels.

        Raises:
            DataError: the commit is gone, so that checkpoint and pool do not belong together; or
                the pool is to be emptied, but another run made its labels.
        """
        with self._records.transaction(durable=True) as base:
            if name is None:
                self._require_own()
                base.execute("DELETE FROM history")
                base.execute("UPDATE pool SET owner = ?, run = 0", (self._owner,))
            else:
                self._require_commit(name)
                base.execute("UPDATE pool SET owner = ?, run = MAX(1, run)", (self._owner,))
            last = "COALESCE((SELECT number FROM commits WHERE name = ?), 0)"
            base.execute(f"DELETE FROM commits WHERE number > {last}", (name,))
            base.execute("DELETE FROM labels WHERE number NOT IN (SELECT label FROM committed)")
        self._commit = name
        self._begin()

    def keep(self) -> None:
        """Begin a run with the labels that are there, whoever made them."""
        self._commit = None
        self._begin()

    def close(self) -> None:
        """Close the records, and let other runs in."""
        super().close()
        self._run_lock = None

    # --- inside ------------------------------------------------------------------------------

    def _require_same(self, identity: PoolIdentity) -> None:
        mine, theirs = asdict(identity), asdict(self.identity)
        different = [name for name in mine if theirs[name] != mine[name]]
        if different:
            said = "; ".join(f"{n} is {theirs[n]!r}, not {mine[n]!r}" for n in different)
            raise DataError(
                f"{self.folder}: a pool of another run ({said}); give another pool folder, or "
                "move this one away to start anew"
            )

    def _require_own(self) -> None:
        """Refuse to empty a pool whose labels another run made."""
        ((owner,),) = self._records.rows("SELECT owner FROM pool")
        if self._owner is None or owner == self._owner:
            return
        ((labels,),) = self._records.rows("SELECT COUNT(DISTINCT key) FROM labels")
        commits = self._records.rows("SELECT 1 FROM commits")
        if (labels or commits) and not self.folder.resolve().is_relative_to(self._owner):
            whose = "another run" if owner is None else f"the run in {owner}"
            raise DataError(
                f"{self.folder}: holds {labels} labels of {whose}, which this run would delete; "
                "give another pool.folder, begin with these labels (pool.keep=true), or move them "
                "away"
            )

    def _require_commit(self, name: str) -> None:
        """Refuse a commit that is gone, or not the one that its name says."""
        query = "SELECT labels.* FROM committed JOIN labels ON number = label WHERE name = ?"
        records = [Record(*row) for row in self._records.rows(query, name)]
        known = self._records.rows("SELECT 1 FROM commits WHERE name = ?", name)
        if not known or commit_name(int(name.split("-")[1]), records) != name:
            raise DataError(
                f"{self._records.path}: {name}, the pool's state of that step, is gone or damaged; "
                "the checkpoint and the pool do not belong together: move both away and start again"
            )

    def _collect(self) -> None:
        """Remove the files that no record needs; a killed process may have left some."""
        digests = self._records.rows("SELECT digest FROM labels")
        self._files.collect({digest for (digest,) in digests})

    def _begin(self) -> None:
        """Tidy up, look at all labels, and say how many are lost."""
        if not leads():
            return
        self._collect()
        if damaged := self.damaged():
            tell(
                f"note: {self.folder}: {len(damaged)} of {len(self.photos())} labels are damaged; "
                "these photos fall back to an older label, or get a new one"
            )


def shards_of(folder: Path) -> list[int]:
    """The numbers of a pool's shards.

    Raises:
        DataError: there is no pool in the folder, or it is of an earlier version of corun.
    """
    refuse_earlier(folder)
    found = sorted(int(p.name) for p in folder.glob("shards/*") if p.name.isdecimal())
    if not found:
        raise DataError(f"{folder}: holds no label pool (no shards/0/{RECORDS})")
    return found


def open_existing(folder: Path, shard: int = 0) -> PoolReader:
    """Open a shard of a pool to look at it; nothing is written.

    Raises:
        DataError: there is no pool in the folder, it is damaged, or it is of another version of
            corun.
    """
    shards_of(folder)
    place = folder / "shards" / str(shard)
    return PoolReader(folder, place, records_of(place, writable=False))


def _make(folder: Path) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
