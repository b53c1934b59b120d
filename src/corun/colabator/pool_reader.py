"""Reading a label pool: whole labels only, without changing anything."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corun.colabator.pool_files import RECORD, PoolFile, damaged_file, read_json, valid
from corun.colabator.pool_identity import PoolIdentity
from corun.colabator.pool_labels import Label, LabelLayout
from corun.errors import DataError

LABELS, RECORDS, KEYS, HISTORY = "labels.bin", "records.bin", "keys.json", "history.json"


class PoolReader:
    """The labels of a pool, also while a run is writing to it.

    A label counts only if its record is whole, says that it is this photo's, and its checksum is
    that of the label's bytes. Everything that asks for a label asks :meth:`_current`.

    Args:
        folder: where it lies.
        identity: what its labels have in common.
        keys: all photos it knows, in the order of its files.
        writable: for :class:`corun.colabator.label_pool.LabelPool`.

    Raises:
        DataError: a file is missing or cut short.
    """

    def __init__(
        self,
        folder: Path,
        identity: PoolIdentity,
        keys: Sequence[str],
        *,
        writable: bool = False,
    ) -> None:
        self.folder, self.identity = folder, identity
        self._layout = LabelLayout(identity.side, identity.block)
        self._numbers = {key: number for number, key in enumerate(keys)}
        self._marks = [key_mark(key) for key in keys]
        count = len(self._marks)
        size = 2 * count * self._layout.stride
        self._labels = PoolFile(folder / LABELS, size, writable=writable)
        self._record_file = PoolFile(
            folder / RECORDS, 2 * count * RECORD.itemsize, writable=writable
        )
        records = np.frombuffer(self._record_file.map, RECORD, 2 * count)
        self._records = records.reshape(count, 2)

    def scores(self, keys: Sequence[str]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Q and D of the photos' labels; NaN where there is none yet."""
        found = [self._current(self._numbers[key]) for key in keys]
        quality = [np.nan if one is None else float(one[0]["quality"]) for one in found]
        density = [np.nan if one is None else float(one[0]["density"]) for one in found]
        return torch.tensor(quality), torch.tensor(density)

    def get(self, key: str) -> Label | None:
        """The photo's label, or None while it has none."""
        found = self._current(self._numbers[key])
        return None if found is None else self._layout.unpack(found[2], found[0])

    def __len__(self) -> int:
        """How many photos have a label."""
        return sum(1 for _ in self.labelled())

    def photos(self) -> list[str]:
        """All photos it knows."""
        return list(self._numbers)

    def labelled(self) -> Iterator[str]:
        """The keys of the photos that have a label."""
        for key, number in self._numbers.items():
            if self._current(number) is not None:
                yield key

    def damaged(self) -> list[str]:
        """The photos whose newest label cannot be used: its bytes are not those it was made of,
        or it is another photo's. They fall back to their older label, or have none."""
        return [key for key, number in self._numbers.items() if self._has_lost(number)]

    def history(self) -> list[dict[str, float | int]]:
        """One entry per commit: run, step, labels, mean Q and D, replacements so far.

        Raises:
            DataError: its file is damaged.
        """
        path = self.folder / HISTORY
        entries = read_json(path) or []
        names = ("run", "step", "labels", "quality", "density", "replaced")
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict)
            and all(isinstance(entry.get(name), int | float) for name in names)
            for entry in entries
        ):
            raise damaged_file(path)
        return entries

    def close(self) -> None:
        """Unmap."""
        self._labels.close()
        del self._records  # a view; a map with views cannot be closed
        self._record_file.close()

    # --- inside ------------------------------------------------------------------------------

    def _current(self, number: int) -> tuple[Any, int, bytes] | None:
        """The newest whole label of a photo: its record, its slot, its bytes."""
        for record, slot in self._claims(number):
            data = self._labels.read(self._start(number, slot), self._layout.size)
            if zlib.crc32(data) == int(record["label_check"]):
                return record, slot, data
        return None

    def _claims(self, number: int) -> list[tuple[Any, int]]:
        """Whole records of a photo with their slots, the newest first; the labels are not read."""
        pair = self._records[number].copy()
        good = [
            (pair[slot], slot)
            for slot in (0, 1)
            if valid(pair[slot]) and pair[slot]["key"].tobytes() == self._marks[number]
        ]
        return sorted(good, key=lambda item: -int(item[0]["revision"]))

    def _has_lost(self, number: int) -> bool:
        pair = self._records[number].copy()
        if any(valid(one) and one["key"].tobytes() != self._marks[number] for one in pair):
            return True
        for record, slot in self._claims(number)[:1]:
            data = self._labels.read(self._start(number, slot), self._layout.size)
            # Unless its owner has begun to write there meanwhile.
            unchanged = self._records[number, slot].tobytes() == record.tobytes()
            return unchanged and zlib.crc32(data) != int(record["label_check"])
        return False

    def _start(self, number: int, slot: int) -> int:
        return (2 * number + slot) * self._layout.stride


def key_mark(key: str) -> bytes:
    """16 bytes that stand for a photo's key (SHA-256)."""
    return hashlib.sha256(key.encode()).digest()[:16]


def read_keys(folder: Path) -> list[str]:
    """The photos a pool knows, in the order of its files; none if it is new.

    Raises:
        DataError: the list is damaged, or gone while there are labels.
    """
    path = folder / KEYS
    content = read_json(path)
    if content is None:
        records = folder / RECORDS
        if records.exists() and records.read_bytes().strip(b"\0"):
            raise DataError(
                f"{folder}: labels without {KEYS}, so nobody knows whose they are; restore the "
                "file, or move the folder away to start anew"
            )
        return []
    if not isinstance(content, list) or not all(isinstance(key, str) for key in content):
        raise damaged_file(path)
    if len(set(content)) != len(content):
        raise damaged_file(path)
    return content
