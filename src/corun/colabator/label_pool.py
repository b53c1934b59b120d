"""The optimal label pool: the best label ever made for each real photo, on disk.

A label is a dehazed scene (uint8), its transmission at half size (float16), block weights
(float16), the scores that chose it, and the step it was made at. Labels live in one memory-mapped
file of two slots per photo. A photo's label of the last commit is never written over. A new label
goes into the other slot (before the first commit: into the one that the present label does not
use), and counts only once its record, with checksums of label and record, is written after it. So:

- a process killed while it writes leaves a record or a label whose checksum is wrong, which is
  never read: the photo falls back to its other slot, that is to its label of the last commit if it
  has one. Between two commits the present label may be the one that is written over; what is lost
  then is a label that the continued run makes again;
- the labels of the last commit are untouched, and :meth:`LabelPool.rollback` returns to exactly
  what they were, which is how a resumed run repeats an uninterrupted one;
- other processes see each label as a whole or not at all.

Each photo has one owner, the only process that offers labels for it; all processes map the same
files, so all see the same pool. Mapped files are shared by the processes of one machine only: all
of them must run on it. Photos are known by their content: the key is made of it, a mark of it is in
each record, and a renamed folder keeps its labels.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from corun.colabator.pool_files import (
    RECORD,
    PoolFile,
    cannot_write,
    grow,
    sealed,
    write_atomically,
)
from corun.colabator.pool_identity import PoolIdentity, check_identity, read_identity
from corun.colabator.pool_labels import Label, LabelLayout
from corun.colabator.pool_reader import (
    HISTORY,
    KEYS,
    LABELS,
    RECORDS,
    PoolReader,
    read_keys,
)
from corun.colabator.pool_runs import (
    PoolState,
    RunLock,
    commit_name,
    hold,
    leads,
    locked,
    read_commit,
    read_state,
    require_one_machine,
)
from corun.errors import DataError

__all__ = ["Label", "LabelPool", "PoolIdentity", "open_existing"]

COMMITTED = "committed.bin"


class LabelPool(PoolReader):
    """The pool of one run.

    Args:
        folder: where it lies, on a disk of this machine; made if absent.
        identity: what its labels have in common.
        keys: the photos it must have room for, in any order; more can come in a later run.
        owner: the folder of the run. While the pool is open, runs of other folders are refused;
            its labels are emptied only for the run that made them, or if the pool lies in the
            run's folder. Without an owner nothing is refused.

    Raises:
        DataError: the folder holds a pool of another identity, or something that is no pool; its
            files are damaged; another run is using it; the disk is full; or the processes of the
            run are on several machines.
    """

    def __init__(
        self,
        folder: Path,
        identity: PoolIdentity,
        keys: Sequence[str],
        *,
        owner: Path | None = None,
    ) -> None:
        require_one_machine()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        self._owner = None if owner is None else str(owner.resolve())
        self._run_lock: RunLock | None = None
        # What this run last committed or returned to; None until it has.
        self._commit: str | None = None
        with locked(folder):
            check_identity(folder, identity)
            if self._owner is not None and leads():
                self._run_lock = hold(folder, self._owner)
            super().__init__(folder, identity, _admit(folder, identity, keys), writable=True)
            count = len(self._marks)
            # 0: no committed label; 1 and 2: it lies in slot 0 and 1. Shared by all processes.
            self._slots = PoolFile(folder / COMMITTED, count, writable=True)
            self._committed = np.frombuffer(self._slots.map, np.int8, count)
            self._protect(self._last_commit())

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

        Raises:
            DataError: the disk is full.
        """
        number = self._numbers[key]
        found = self._current(number)
        current, slot = (None, 1) if found is None else found[:2]
        protected = int(self._committed[number]) - 1
        target = 1 - (slot if protected < 0 else protected)
        revisions = [int(record["revision"]) for record, _ in self._claims(number)]
        record = np.zeros((), dtype=RECORD)
        record["revision"] = max(revisions, default=0) + 1
        record["step"] = step
        record["quality"], record["density"] = quality, density
        record["first_quality"] = quality if current is None else current["first_quality"]
        record["first_density"] = density if current is None else current["first_density"]
        record["replaced"] = 0 if current is None else current["replaced"] + 1
        record["key"] = np.void(self._marks[number])
        data = self._layout.pack(scene, transmission, weights)
        record["label_check"] = zlib.crc32(data)
        place = (2 * number + target) * RECORD.itemsize
        self._record_file.write(place, bytes(RECORD.itemsize))
        self._labels.write(self._start(number, target), data)
        self._record_file.write(place, sealed(record).tobytes())

    # --- commits -----------------------------------------------------------------------------

    def commit(self, step: int) -> str:
        """Make the present labels the state to which :meth:`rollback` returns.

        Call it from one process while no other offers labels. The first commit of a run that
        began with another run's labels ends that run's commits.

        Args:
            step: steps done.

        Returns:
            The commit's name, made of step and content.

        Raises:
            DataError: the disk is full.
        """
        self._labels.flush()
        snapshot = np.zeros_like(self._records)
        for number in range(len(self._records)):
            found = self._current(number)
            if found is not None:
                snapshot[number, found[1]] = found[0]
        name = commit_name(step, snapshot)
        with locked(self.folder):
            state = read_state(self.folder)
            run = max(1, state.run if self._commit is not None else state.run + 1)
            # The one before stays: a process killed before its checkpoint is renamed needs it.
            kept = tuple(c for c in (self._commit,) if c is not None and c != name)
            write_atomically(self.folder / name, snapshot)
            PoolState(self._owner, run, (*kept, name)).write(self.folder)
            self._protect(snapshot)
            self._record_history(run, step, snapshot)
            self._remove_commits(except_for=(*kept, name))
        self._commit = name
        return name

    def rollback(self, name: str | None) -> None:
        """Return to a commit of this run, or with None to an empty pool.

        All processes may, at once, before any offers labels.

        Raises:
            DataError: the commit is gone, so that checkpoint and pool do not belong together; or
                the pool is to be emptied, but another run made its labels.
        """
        with locked(self.folder):
            snapshot = np.zeros_like(self._records)
            if name is None:
                self._require_own()
                state = PoolState(self._owner)
                (self.folder / HISTORY).unlink(missing_ok=True)
            else:
                committed = read_commit(self.folder / name, len(snapshot))
                snapshot[: len(committed)] = committed
                old = read_state(self.folder)
                before = old.commits[: old.commits.index(name)] if name in old.commits else ()
                state = PoolState(self._owner, max(1, old.run), (*before, name))
            self._record_file.write(0, snapshot.tobytes())
            state.write(self.folder)
            self._protect(snapshot)
            self._remove_commits(except_for=state.commits)
        self._commit = name
        if name is not None:
            self._tell_damaged()

    def keep(self) -> None:
        """Begin a run with the labels that are there, whoever made them."""
        self._commit = None
        self._tell_damaged()

    def close(self) -> None:
        """Write back, unmap, and let other runs in."""
        self._labels.flush()
        super().close()
        del self._committed
        self._slots.close()
        self._run_lock = None

    # --- inside ------------------------------------------------------------------------------

    def _require_own(self) -> None:
        """Refuse to empty a pool whose labels another run made."""
        state = read_state(self.folder)
        if self._owner is None or state.owner == self._owner:
            return
        if self.folder.resolve().is_relative_to(self._owner):
            return
        labels = int((self._records["revision"] > 0).any(1).sum())
        if labels or state.commits:
            whose = "another run" if state.owner is None else f"the run in {state.owner}"
            raise DataError(
                f"{self.folder}: holds {labels} labels of {whose}, which this run would delete; "
                "give another pool.folder, begin with these labels (pool.keep=true), or move them "
                "away"
            )

    def _tell_damaged(self) -> None:
        """Look at all labels, and say how many are lost."""
        if leads() and (damaged := self.damaged()):
            sys.stderr.write(
                f"note: {self.folder}: {len(damaged)} of {len(self._marks)} labels are damaged; "
                "these photos fall back to an older label, or get a new one\n"
            )

    def _last_commit(self) -> np.ndarray:
        for name in reversed(read_state(self.folder).commits):
            try:
                return read_commit(self.folder / name, len(self._records))
            except DataError:
                continue  # a run that needs this commit is told so when it returns to it
        return self._records[:0]

    def _protect(self, snapshot: np.ndarray) -> None:
        """Keep the labels of a commit, and only those, from being written over."""
        slots = np.zeros(len(self._records), np.int8)
        for slot in (0, 1):
            slots[np.flatnonzero(snapshot[:, slot]["revision"])] = slot + 1
        self._slots.write(0, slots.tobytes())

    def _remove_commits(self, *, except_for: Sequence[str]) -> None:
        for path in self.folder.glob("commit-*.npy"):
            if path.name not in except_for:
                path.unlink(missing_ok=True)

    def _record_history(self, run: int, step: int, snapshot: np.ndarray) -> None:
        records = snapshot[snapshot["revision"] > 0]
        if not len(records):
            return
        try:
            past = self.history()
        except DataError as error:  # it is there to be read by people; no run depends on it
            sys.stderr.write(f"note: {error}; it is begun anew\n")
            past = []
        entries = [entry for entry in past if (entry["run"], entry["step"]) < (run, step)]
        entries.append(
            {
                "run": run,
                "step": step,
                "labels": len(records),
                "quality": float(records["quality"].mean()),
                "density": float(records["density"].mean()),
                "replaced": int(records["replaced"].sum()),
            }
        )
        write_atomically(self.folder / HISTORY, json.dumps(entries).encode())


def _admit(folder: Path, identity: PoolIdentity, keys: Sequence[str]) -> list[str]:
    """Make room for photos; all that the pool knows. The files grow before their list does."""
    known = read_keys(folder)
    layout = LabelLayout(identity.side, identity.block)
    if known:
        PoolReader(folder, identity, known).close()  # refuses files that are gone or cut short
    old = set(known)
    together = known + [key for key in dict.fromkeys(keys) if key not in old]
    count = len(together)
    grow(folder / LABELS, 2 * count * layout.stride, reserve=False)
    grow(folder / RECORDS, 2 * count * RECORD.itemsize, reserve=True)
    grow(folder / COMMITTED, count, reserve=True)
    if count > len(known):
        write_atomically(folder / KEYS, json.dumps(together).encode())
    return together


def open_existing(folder: Path) -> PoolReader:
    """Open a pool to look at it; nothing is written.

    Raises:
        DataError: there is no pool in the folder, it is damaged, or it is of another version of
            corun.
    """
    return PoolReader(folder, read_identity(folder), read_keys(folder))
