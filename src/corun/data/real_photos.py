"""Folders of real hazy photos without ground truth, as regions that stay the same.

A label belongs to a region of a photo, so the region is a function of the photo's content and
nothing else. Photo number i of process r is the same in every run, so an interrupted run resumes
exactly; each photo belongs to one process, which alone makes labels for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from corun.configuration import Strict
from corun.data.crops import resize
from corun.data.images import eight_bit, list_images, read_rgb
from corun.errors import DataError, ImageFileError, reason_of, tell
from corun.files import checksum


class RealPhotosConfig(Strict):
    """Where the real photos are and which region of each is used.

    Attributes:
        folder: of hazy photos.
        recursive: look into sub-folders too.
        side: height and width of the regions, pixels.
        region: ``crop``: a square cut whose place depends on the photo's content; ``whole``: the
            whole photo squeezed into the square.
        scale: with ``crop``, the short side of the photo is first brought to side/scale pixels, so
            that a cut shows this share of it, in (0,1].
        windows: with ``crop``, how many cuts each photo has, each with a label of its own.
        flip: mirror half of the regions, with their labels.
        cache: keep the decoded regions in memory (8 bits).
    """

    folder: Path
    recursive: bool = False
    side: int = Field(288, ge=16)
    region: Literal["crop", "whole"] = "crop"
    scale: float = Field(0.8, gt=0, le=1)
    windows: int = Field(1, ge=1)
    flip: bool = True
    cache: bool = True


class RealRegion(NamedTuple):
    """A region of a real photo.

    Attributes:
        hazy: RGB, [0,1], not flipped.
        key: names the region in the label pool.
        name: the photo's file name.
        flip: whether photo, label and weights are to be mirrored.
    """

    hazy: Float[Tensor, "3 s s"]
    key: str
    name: str
    flip: bool


class RealPhotoFolder:
    """Real photos on disk.

    Photos of equal content count once. A photo that cannot be read is named once on standard
    error, and the next one of the shuffled order takes its place.

    Args:
        config: where and how.
        seed: what all randomness comes from.

    Raises:
        DataError: the folder is missing, or holds no images that can be read.
    """

    def __init__(self, config: RealPhotosConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self._paths: dict[str, Path] = {}
        paths = list_images(config.folder, config.recursive)
        for path in paths:
            try:
                self._paths.setdefault(content_key(path), path)
            except OSError as error:
                tell(f"skipped: {path}: cannot be read ({reason_of(error)})")
        if not self._paths:
            found = "none of the photos can be read" if paths else "holds no images"
            raise DataError(f"{config.folder}: {found}; give a folder of real hazy photos")
        self.windows = config.windows if config.region == "crop" else 1
        # Sorted by content, so that a renamed photo keeps its number and its owner.
        self.keys = [f"{key}-{w}" for key in sorted(self._paths) for w in range(self.windows)]
        self._decoded: dict[str, NDArray[np.uint8]] = {}
        self._unreadable: set[str] = set()
        self._readable: set[str] = set()

    def __len__(self) -> int:
        return len(self.keys)

    def owned(self, rank: int, world: int) -> list[str]:
        """The regions that process ``rank`` of ``world`` owns."""
        return self.keys[rank::world]

    def require(self, batch: int, world: int) -> None:
        """Check that there are enough regions for batches without repetition.

        Raises:
            DataError: there are fewer regions than a batch of every process needs.
        """
        if len(self.keys) // world < batch:
            raise DataError(
                f"{self.config.folder}: {len(self.keys)} real photos are fewer than a batch of "
                f"{batch} in each of {world} processes; add photos, raise real.windows or lower "
                "run.batch"
            )

    def batch(
        self, start: int, count: int, rank: int = 0, world: int = 1, *, skip: int = 0
    ) -> list[RealRegion]:
        """Regions number ``start`` … ``start + count − 1`` of a process's sequence, none twice.

        Where an epoch ends within them, or a photo cannot be read, the next of the shuffled order
        that is not among them takes a repeated one's place. A region occurs twice only where too
        few can be read.

        Args:
            start: number of the first region of the batch.
            count: size of the batch.
            rank: the process.
            world: how many there are.
            skip: how many regions from the start to leave out of the answer: an earlier part of
                the same batch has them.

        Raises:
            DataError: none of the process's photos can be read.
        """
        taken: set[str] = set()
        regions = []
        for number in range(start, start + count):
            key = self._choose(number, rank, world, taken)
            taken.add(key)
            if number >= start + skip:
                regions.append(self._sampled(key, number, rank))
        return regions

    def sample(self, number: int, rank: int = 0, world: int = 1) -> RealRegion:
        """Region number ``number`` of the endless shuffled sequence of one process.

        Raises:
            DataError: none of the process's photos can be read.
        """
        return self._sampled(self._choose(number, rank, world, set()), number, rank)

    def _choose(self, number: int, rank: int, world: int, taken: set[str]) -> str:
        """The first region from the number's place in the order that is readable and not taken."""
        owned = self.owned(rank, world)
        epoch, position = divmod(number, len(owned))
        order = np.random.default_rng((self.seed, 3, epoch, rank)).permutation(len(owned))
        repeated = None
        for offset in range(len(owned)):
            key = owned[int(order[(position + offset) % len(owned)])]
            if key in taken:
                repeated = repeated or key
            elif self._is_readable(key):
                return key
        if repeated is not None:
            return repeated
        raise DataError(f"{self.config.folder}: none of the photos can be read")

    def _is_readable(self, key: str) -> bool:
        content = key.split("-")[0]
        return content in self._readable or self._region(key) is not None

    def _sampled(self, key: str, number: int, rank: int) -> RealRegion:
        pixels = self._region(key)
        if pixels is None:
            raise DataError(f"{self.path(key)}: changed while the run was going on")
        flip = bool(np.random.default_rng((self.seed, 4, number, rank)).random() < 0.5)
        hazy = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        return RealRegion(hazy, key, self.path(key).name, flip and self.config.flip)

    def path(self, key: str) -> Path:
        """The file of a region."""
        return self._paths[key.split("-")[0]]

    def _region(self, key: str) -> NDArray[np.uint8] | None:
        found = self._decoded.get(key)
        if found is not None:
            return found
        content, window = key.split("-")
        if content in self._unreadable:
            return None
        try:
            photo = read_rgb(self._paths[content])
        except ImageFileError as error:
            self._unreadable.add(content)
            tell(f"skipped: {error}")
            return None
        self._readable.add(content)
        region = cut_region(eight_bit(photo), content, int(window), self.config)
        if self.config.cache:
            self._decoded[key] = region
        return region


def content_key(path: Path) -> str:
    """32 hexadecimal digits made of the file's bytes (SHA-256)."""
    return checksum(path)[:32]


def cut_region(
    pixels: NDArray[np.uint8], content: str, window: int, config: RealPhotosConfig
) -> NDArray[np.uint8]:
    """The square region of a photo, 8-bit RGB (side,side,3); the same for the same content."""
    side = config.side
    height, width = pixels.shape[:2]
    if config.region == "whole":
        return resize(pixels, side, side)
    factor = side / config.scale / min(height, width)
    height, width = (max(side, round(length * factor)) for length in (height, width))
    resized = resize(pixels, height, width)
    rng = np.random.default_rng((int(content[:16], 16), window))
    top = int(rng.integers(height - side + 1))
    left = int(rng.integers(width - side + 1))
    return np.ascontiguousarray(resized[top : top + side, left : left + side])
