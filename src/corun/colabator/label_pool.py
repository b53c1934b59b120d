"""The optimal label pool: the best label ever made for each real photo, on disk.

A label is a dehazed scene (uint8), its transmission at half size (float16), block weights
(float16), the scores that chose it, and the step it was made at. Labels live in one memory-mapped
file of two slots per photo. A new label goes into the slot that neither the last commit nor the
photo's current label uses, and counts only once its record, with checksums of label and record, is
written after it. So at any instant:

- a process killed while it writes leaves a record or a label whose checksum is wrong, which is
  never read: the photo falls back to its other slot;
- the labels of the last commit are untouched, and :meth:`LabelPool.rollback` returns to exactly
  what they were, which is how a resumed run repeats an uninterrupted one;
- other processes see each label as a whole or not at all.

Each photo has one owner, the only process that offers labels for it; all processes map the same
files, so all see the same pool. Photos are known by their content: the key is made of it, and a
renamed folder keeps its labels.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corun.colabator.evaluators.protocols import block_count
from corun.colabator.pool_files import (
    RECORD,
    map_file,
    sealed,
    valid,
    write_atomically,
)
from corun.colabator.pool_identity import (
    VERSION,
    PoolIdentity,
    check_identity,
    read_identity,
)
from corun.errors import DataError

PAGE = mmap.ALLOCATIONGRANULARITY


class Label(NamedTuple):
    """The pool's label of one photo.

    Attributes:
        scene: J*, RGB, [0,1].
        transmission: T̄ at half size, unitless, [0,1]; zeros where the network gives none.
        weights: trusted weights of the blocks, [0,1].
        quality: Q of the scene.
        density: D of the scene, [0,1].
        step: when it was made.
        first_quality: Q of the photo's first label.
        first_density: D of the photo's first label.
        replaced: how often the photo's label was replaced.
    """

    scene: Float[Tensor, "3 s s"]
    transmission: Float[Tensor, "1 t t"]
    weights: Float[Tensor, "1 m m"]
    quality: float
    density: float
    step: int
    first_quality: float
    first_density: float
    replaced: int


class LabelPool:
    """The pool of one run.

    Args:
        folder: where it lies; made if absent.
        identity: what its labels have in common.
        keys: the photos it must have room for, in any order; more can come in a later run.

    Raises:
        DataError: the folder holds a pool of another identity, or something that is no pool.
    """

    def __init__(self, folder: Path, identity: PoolIdentity, keys: Sequence[str]) -> None:
        self.folder, self.identity = folder, identity
        folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            check_identity(folder, identity)
            self._numbers = self._admit(keys)
        count = len(self._numbers)
        self._scene_bytes = 3 * identity.side**2
        self._half = -(-identity.side // 2)
        self._blocks = block_count(identity.side, identity.block)
        size = self._scene_bytes + 2 * self._half**2 + 2 * self._blocks**2
        self._slot_bytes = size
        self._stride = -(-size // PAGE) * PAGE
        with self._lock():
            self._labels = map_file(folder / "labels.bin", 2 * count * self._stride)
            self._maps = (
                map_file(folder / "records.bin", 2 * count * RECORD.itemsize),
                map_file(folder / "committed.bin", count),
            )
            self._records = np.frombuffer(self._maps[0], RECORD, 2 * count).reshape(count, 2)
            # 0: no committed label; 1 and 2: it lies in slot 0 and 1. Shared by all processes.
            self._committed = np.frombuffer(self._maps[1], np.int8, count)
            self._adopt(self._last_commit())

    # --- what a training step asks -----------------------------------------------------------

    def scores(self, keys: Sequence[str]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Q and D of the photos' labels; NaN where there is none yet."""
        found = [self._current(self._numbers[key]) for key in keys]
        quality = [np.nan if r is None else float(r["quality"]) for r, _ in found]
        density = [np.nan if r is None else float(r["density"]) for r, _ in found]
        return torch.tensor(quality), torch.tensor(density)

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
        number = self._numbers[key]
        current, slot = self._current(number)
        protected = int(self._committed[number]) - 1
        if protected < 0:
            protected = slot if current is not None else 1
        target = 1 - protected
        record = np.zeros((), dtype=RECORD)
        record["revision"] = 1 if current is None else current["revision"] + 1
        record["step"] = step
        record["quality"], record["density"] = quality, density
        record["first_quality"] = quality if current is None else current["first_quality"]
        record["first_density"] = density if current is None else current["first_density"]
        record["replaced"] = 0 if current is None else current["replaced"] + 1
        data = self._packed(scene, transmission, weights)
        record["label_check"] = zlib.crc32(data)
        self._records[number, target] = np.zeros((), dtype=RECORD)
        start = (2 * number + target) * self._stride
        self._labels[start : start + self._slot_bytes] = data
        self._records[number, target] = sealed(record)
        self._forget(start)

    def get(self, key: str) -> Label | None:
        """The photo's label, or None while it has none."""
        number = self._numbers[key]
        for record, slot in self._candidates(number):
            start = (2 * number + slot) * self._stride
            data = self._labels[start : start + self._slot_bytes]
            self._forget(start)
            if zlib.crc32(data) == int(record["label_check"]):
                return self._unpacked(data, record)
        return None

    # --- commits -----------------------------------------------------------------------------

    def commit(self, step: int) -> str:
        """Make the present labels the state to which :meth:`rollback` returns.

        Call it from one process while no other offers labels.

        Args:
            step: steps done; it names the commit.

        Returns:
            The commit's name.
        """
        self._labels.flush()
        name = f"commit-{step:08d}.npy"
        snapshot = np.zeros_like(self._records)
        for number in range(len(self._records)):
            record, slot = self._current(number)
            if record is not None:
                snapshot[number, slot] = record
        with self._lock():
            write_atomically(self.folder / name, snapshot)
            self._adopt(snapshot)
            self._record_history(step, snapshot)
            # The one before stays: a process killed before its checkpoint is renamed needs it.
            for old in sorted(self.folder.glob("commit-*.npy"))[:-2]:
                old.unlink(missing_ok=True)
        return name

    def rollback(self, name: str | None) -> None:
        """Return to a commit, or with None to an empty pool. All processes may, at once.

        Raises:
            DataError: the commit is gone; the checkpoint and the pool do not belong together.
        """
        with self._lock():
            snapshot = np.zeros_like(self._records)
            if name is not None:
                committed = self._read_commit(self.folder / name)
                snapshot[: len(committed)] = committed
            self._records[:] = snapshot
            for later in self.folder.glob("commit-*.npy"):
                if name is None or later.name > name:
                    later.unlink(missing_ok=True)
            if name is None:
                (self.folder / "history.json").unlink(missing_ok=True)
            self._adopt(snapshot)

    def __len__(self) -> int:
        """How many photos have a label."""
        return sum(self._current(number)[0] is not None for number in range(len(self._records)))

    def photos(self) -> list[str]:
        """All photos it knows."""
        return list(self._numbers)

    def labelled(self) -> Iterator[str]:
        """The keys of the photos that have a label."""
        for key, number in self._numbers.items():
            if self._current(number)[0] is not None:
                yield key

    def history(self) -> list[dict[str, float | int]]:
        """One entry per commit: step, labels, mean Q and D, replacements so far."""
        path = self.folder / "history.json"
        entries: list[dict[str, float | int]] = (
            json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        )
        return entries

    def close(self) -> None:
        """Write back and unmap."""
        self._labels.flush()
        self._labels.close()
        del self._records, self._committed  # views; a map with views cannot be closed
        for part in self._maps:
            part.flush()
            part.close()

    # --- inside ------------------------------------------------------------------------------

    def _candidates(self, number: int) -> list[tuple[Any, int]]:
        """Valid records of a photo with their slots, the newest first."""
        pair = self._records[number].copy()
        good = [(pair[slot], slot) for slot in (0, 1) if valid(pair[slot])]
        return sorted(good, key=lambda item: -int(item[0]["revision"]))

    def _current(self, number: int) -> tuple[Any, int]:
        candidates = self._candidates(number)
        return candidates[0] if candidates else (None, 0)

    def _packed(self, scene: Tensor, transmission: Tensor | None, weights: Tensor) -> bytes:
        pixels = (scene.detach().float().clamp(0, 1) * 255).round().byte().cpu().contiguous()
        if transmission is None:
            half = torch.zeros(1, self._half, self._half)
        else:
            half = torch.nn.functional.avg_pool2d(
                transmission.detach().float()[None], 2, ceil_mode=True, count_include_pad=False
            )[0]
        pieces = (
            pixels.numpy().tobytes(),
            half.half().cpu().numpy().tobytes(),
            weights.detach().half().cpu().contiguous().numpy().tobytes(),
        )
        data = b"".join(pieces)
        if len(data) != self._slot_bytes:
            raise ValueError(
                f"a label of this pool is {self.identity.side} pixels square with "
                f"{self._blocks} blocks a side; got {tuple(scene.shape)} and {tuple(weights.shape)}"
            )
        return data

    def _unpacked(self, data: bytes, record: Any) -> Label:
        side, half, blocks = self.identity.side, self._half, self._blocks
        scene = np.frombuffer(data, np.uint8, 3 * side**2).reshape(3, side, side)
        transmission = np.frombuffer(data, np.float16, half**2, self._scene_bytes)
        weights = np.frombuffer(data, np.float16, blocks**2, self._scene_bytes + 2 * half**2)
        return Label(
            torch.from_numpy(scene.astype(np.float32)) / 255,
            torch.from_numpy(transmission.astype(np.float32)).view(1, half, half),
            torch.from_numpy(weights.astype(np.float32)).view(1, blocks, blocks),
            float(record["quality"]),
            float(record["density"]),
            int(record["step"]),
            float(record["first_quality"]),
            float(record["first_density"]),
            int(record["replaced"]),
        )

    def _forget(self, start: int) -> None:
        """Drop the slot's pages from this process; the file keeps them."""
        if hasattr(self._labels, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
            self._labels.madvise(mmap.MADV_DONTNEED, start, self._stride)

    def _last_commit(self) -> np.ndarray:
        commits = sorted(self.folder.glob("commit-*.npy"))
        return self._read_commit(commits[-1]) if commits else self._records[:0]

    def _adopt(self, snapshot: np.ndarray) -> None:
        """Protect the labels of a commit, and only those."""
        slots = np.zeros_like(self._committed)
        for slot in (0, 1):
            slots[np.flatnonzero(snapshot[:, slot]["revision"])] = slot + 1
        self._committed[:] = slots

    def _read_commit(self, path: Path) -> np.ndarray:
        try:
            content = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: the pool's state of that step is gone; the checkpoint and the pool do "
                "not belong together: move both away and start again"
            ) from error
        return np.asarray(content, dtype=RECORD)

    def _record_history(self, step: int, snapshot: np.ndarray) -> None:
        records = snapshot[snapshot["revision"] > 0]
        if not len(records):
            return
        entries = [entry for entry in self.history() if entry["step"] < step]
        entries.append(
            {
                "step": step,
                "labels": len(records),
                "quality": float(records["quality"].mean()),
                "density": float(records["density"].mean()),
                "replaced": int(records["replaced"].sum()),
            }
        )
        text = json.dumps(entries)
        write_atomically(self.folder / "history.json", text.encode())

    def _admit(self, keys: Sequence[str]) -> dict[str, int]:
        path = self.folder / "keys.json"
        known: list[str] = json.loads(path.read_text()) if path.exists() else []
        numbers = {key: number for number, key in enumerate(known)}
        new = [key for key in keys if key not in numbers]
        if new:
            for key in new:
                numbers.setdefault(key, len(numbers))
            write_atomically(path, json.dumps(list(numbers)).encode())
        return numbers

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One process at a time; released by the system if its holder dies."""
        with (self.folder / "lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def open_existing(folder: Path) -> LabelPool:
    """Open a pool as it is, to look at it.

    Raises:
        DataError: there is no pool in the folder, or it is of another version of corun.
    """
    content = read_identity(folder)
    version = content.pop("version", None)
    if version != VERSION or set(content) != set(PoolIdentity.__dataclass_fields__):
        raise DataError(f"{folder}: a pool of another version of corun ({version})")
    return LabelPool(folder, PoolIdentity(**content), [])
