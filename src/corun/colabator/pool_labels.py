"""A label and its file: scene (8 bits), transmission at half size and weights (16 bits).

A label's file is named by the SHA-256 of what it holds and written under another name first, so a
torn or rotten one is known by its name and never used. It holds its record as well (photo, scores,
step): no label can pass for another photo's, and no two photos share a file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corun.colabator.pool_records import Record, cannot_read, cannot_write, writing
from corun.files import checksum, write_atomically
from corun.judges.protocols import block_count

HEAD = struct.Struct("<32sqddddq")
"""SHA-256 of the photo's key, then a record from its step on: 80 bytes."""
NAME = re.compile(r"([0-9a-f]{64})\.label|\.corun-.*\.partial\.label")


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


class LabelFiles:
    """The label files of a shard.

    Args:
        folder: that they lie in.
        side: height and width of the labels, pixels.
        block: side of the score blocks, pixels.
    """

    def __init__(self, folder: Path, side: int, block: int) -> None:
        self.folder = folder
        self._side, self._half, self._blocks = side, -(-side // 2), block_count(side, block)
        self._size = HEAD.size + 3 * side**2 + 2 * self._half**2 + 2 * self._blocks**2

    def write(
        self,
        record: Record,
        scene: Float[Tensor, "3 s s"],
        transmission: Float[Tensor, "1 s s"] | None,
        weights: Float[Tensor, "1 m m"],
    ) -> str:
        """Write a label, its transmission averaged over 2×2 pixels; return when it is on the disk.

        Returns:
            Its digest.

        Raises:
            ValueError: the sizes are not those of this pool.
            DataError: the disk is full, or another error of the system.
        """
        half = torch.zeros(1, self._half, self._half)
        if transmission is not None:
            half = torch.nn.functional.avg_pool2d(
                transmission.detach().float()[None], 2, ceil_mode=True, count_include_pad=False
            )[0]
        pixels = (scene.detach().float().clamp(0, 1) * 255).round().byte()
        tensors = (pixels, half.half(), weights.detach().half())
        head = HEAD.pack(_mark(record), *record[3:])
        content = b"".join([head, *(one.cpu().contiguous().numpy().tobytes() for one in tensors)])
        if len(content) != self._size:
            raise ValueError(
                f"a label of this pool is {self._side} pixels square with {self._blocks} blocks a "
                f"side; got {tuple(scene.shape)} and {tuple(weights.shape)}"
            )
        digest = checksum(content)
        with writing(self._path(digest)):
            write_atomically(self._path(digest), content)
        return digest

    def read(self, record: Record) -> bytes | None:
        """A record's file; None if it is gone, or not what it was, or of another record.

        Raises:
            DataError: it may not be read.
        """
        path = self._path(record.digest)
        try:
            content = path.read_bytes()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EIO):
                return None
            raise cannot_read(path, error) from error
        whole = checksum(content) == record.digest and len(content) == self._size
        mine = whole and HEAD.unpack_from(content) == (_mark(record), *record[3:])
        return content if mine else None

    def label(self, record: Record, content: bytes) -> Label:
        """The label that a file holds."""
        side, half, blocks = self._side, self._half, self._blocks
        scene = np.frombuffer(content, np.uint8, 3 * side**2, HEAD.size).astype(np.float32)
        rest = np.frombuffer(content, np.float16, offset=HEAD.size + 3 * side**2)
        transmission, weights = np.split(rest.astype(np.float32), [half**2])
        return Label(
            torch.from_numpy(scene).view(3, side, side) / 255,
            torch.from_numpy(transmission).view(1, half, half),
            torch.from_numpy(weights).view(1, blocks, blocks),
            *(record.quality, record.density, record.step),
            *(record.first_quality, record.first_density, record.replaced),
        )

    def remove(self, digests: Iterable[str]) -> None:
        """Remove files that no record needs any more."""
        self._remove(self._path(digest) for digest in digests)

    def collect(self, needed: set[str]) -> None:
        """Remove all files but those that are needed, and what killed processes have left.

        Only while no process writes: a label's file is there before its record is.
        """
        found = ((path, NAME.fullmatch(path.name)) for path in list(self.folder.iterdir()))
        self._remove(path for path, name in found if name and name[1] not in needed)

    def settle(self) -> None:
        """Return when the names of all files are on the disk; Windows flushes no folders."""
        if os.name == "nt":
            return
        try:
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks cannot
                raise cannot_write(self.folder, error) from error

    def _path(self, digest: str) -> Path:
        return self.folder / Path(f"{digest}.label").name  # damaged records name no other folder

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            with writing(path):
                path.unlink(missing_ok=True)


def _mark(record: Record) -> bytes:
    return hashlib.sha256(record.key.encode()).digest()
