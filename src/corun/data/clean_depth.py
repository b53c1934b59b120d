"""Folders of clean photos with depth, as random crops that depend on nothing but a seed.

Sample number i is the same crop of the same photo in every run: the order, the scale, the place
and the flip are drawn from (seed, i). A run that is interrupted therefore resumes exactly by
starting at the next number, in any number of processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from corun.configuration import Range, Strict, ordered
from corun.data.images import DEPTH_SUFFIXES, list_images, read_depth, read_rgb
from corun.errors import DataError
from corun.physics.transmission import DepthConvention, normalise_depth


class CleanDepthConfig(Strict):
    """Where the clean photos and their depth are, and how they are cropped.

    Attributes:
        clean: folder of clean photos.
        depth: folder of depth maps with the same stems (npy, png, jpg, mat, h5), of any size.
        convention: what the depth files hold: ``distance`` (larger = farther) or ``inverse``.
        depth_key: the array's name in .mat and .h5 files.
        crop: side of the square crops, pixels.
        scale: range of the random resize before the crop, > 0; 1 keeps the photo's size. A photo is
            never made smaller than the crop.
        flip: mirror half of the crops.
        cache: keep decoded photos (8 bits) and depth (16 bits) in memory; worth it where they fit.
    """

    clean: Path
    depth: Path
    convention: DepthConvention
    depth_key: str | None = None
    crop: int = Field(288, ge=8)
    scale: Annotated[Range, ordered(above=0.0)] = (0.5, 1.0)
    flip: bool = True
    cache: bool = True


class CleanDepthSample(NamedTuple):
    """One crop.

    Attributes:
        clean: RGB, [0,1], (3,S,S).
        depth: d, normalised distance over the whole photo, [0,1], (1,S,S).
        name: the photo's file name.
    """

    clean: Float[Tensor, "3 s s"]
    depth: Float[Tensor, "1 s s"]
    name: str


class CleanDepthPhoto(NamedTuple):
    """One whole photo, as it is kept in memory.

    Attributes:
        clean: RGB, uint8, (H,W,3).
        depth: d, normalised distance, uint16, 65535 = 1, (h,w): a map of its own size. 8 bits would
            turn slopes into steps, and those into contours in thick haze.
    """

    clean: np.ndarray
    depth: np.ndarray


class CleanDepthFolder:
    """Photos with depth on disk.

    Args:
        config: where and how.
        seed: what all randomness comes from.

    Raises:
        DataError: a folder is missing or empty, a photo has no depth, or two files share a stem.
    """

    def __init__(self, config: CleanDepthConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.photos = list_images(config.clean)
        if not self.photos:
            raise DataError(f"{config.clean}: holds no images; give the folder of clean photos")
        if not config.depth.is_dir():
            raise DataError(f"{config.depth}: no such folder; give the folder of depth maps")
        self.depths = self._depth_files()
        self._decoded: dict[int, CleanDepthPhoto] = {}

    def _depth_files(self) -> list[Path]:
        """The depth map of each photo, which is the one file with the photo's stem."""
        config = self.config
        _refuse_shared_stems(self.photos)
        stems = {p.stem for p in self.photos}
        maps = [
            p
            for p in sorted(config.depth.iterdir())
            if p.suffix.lower() in DEPTH_SUFFIXES and p.stem in stems
        ]
        _refuse_shared_stems(maps)
        by_stem = {p.stem: p for p in maps}
        without = [p.name for p in self.photos if p.stem not in by_stem]
        if without:
            raise DataError(
                f"{config.depth}: no depth for {len(without)} of {len(self.photos)} photos, "
                f"first {without[0]}; depth files carry the photos' names"
            )
        return [by_stem[p.stem] for p in self.photos]

    def __len__(self) -> int:
        return len(self.photos)

    def photo(self, index: int) -> CleanDepthPhoto:
        """The decoded photo number ``index`` and its normalised depth."""
        found = self._decoded.get(index)
        if found is None:
            found = self._decode(index)
            if self.config.cache:
                self._decoded[index] = found
        return found

    def _decode(self, index: int) -> CleanDepthPhoto:
        config = self.config
        clean = (read_rgb(self.photos[index]) * 255).round().byte().permute(1, 2, 0).numpy()
        raw = read_depth(self.depths[index], key=config.depth_key)
        d = normalise_depth(raw[None], convention=config.convention)[0, 0]
        return CleanDepthPhoto(clean, (d * 65535).round().numpy().astype(np.uint16))

    def sample(self, number: int) -> CleanDepthSample:
        """Crop number ``number`` of the endless shuffled sequence.

        Raises:
            CorunError: the photo or its depth cannot be read.
        """
        epoch, position = divmod(number, len(self.photos))
        order = np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.photos))
        index = int(order[position])
        rng = np.random.default_rng((self.seed, 2, number))
        photo = self.photo(index)
        height, width = photo.clean.shape[:2]
        side = self.config.crop
        scale = rng.uniform(*self.config.scale)
        window = min(height, width, max(1, round(side / scale)))
        top = int(rng.integers(height - window + 1))
        left = int(rng.integers(width - window + 1))
        clean = resize(photo.clean[top : top + window, left : left + window], side, side)
        depth = crop_depth(photo, (top, left, window), side)
        if self.config.flip and rng.random() < 0.5:
            clean, depth = clean[:, ::-1], depth[:, ::-1]
        return CleanDepthSample(
            torch.from_numpy(np.ascontiguousarray(clean)).permute(2, 0, 1).float() / 255,
            torch.from_numpy(np.ascontiguousarray(depth))[None],
            self.photos[index].name,
        )

    def whole(self, index: int, *, multiple: int = 1) -> CleanDepthSample:
        """A whole photo with its depth, cropped to a multiple of ``multiple``, for validation."""
        photo = self.photo(index)
        height, width = (size - size % multiple for size in photo.clean.shape[:2])
        depth = resize(photo.depth, photo.clean.shape[0], photo.clean.shape[1])
        return CleanDepthSample(
            torch.from_numpy(photo.clean[:height, :width].copy()).permute(2, 0, 1).float() / 255,
            torch.from_numpy(depth[:height, :width].astype(np.float32) / 65535)[None],
            self.photos[index].name,
        )


def _refuse_shared_stems(paths: list[Path]) -> None:
    """One photo, one depth map and one name for what is made of them: a stem is used once."""
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise DataError(
                f"{path.parent}: {other.name} and {path.name} share the name {path.stem!r}; "
                "rename or remove one"
            )


def crop_depth(photo: CleanDepthPhoto, window: tuple[int, int, int], side: int) -> np.ndarray:
    """The depth of a square window of the photo, whatever the depth map's own size.

    Args:
        photo: the photo and its depth.
        window: top, left and side in the photo's pixels.
        side: side of the result.

    Returns:
        d, float32, (side,side).
    """
    top, left, size = window
    ratio_y = photo.depth.shape[0] / photo.clean.shape[0]
    ratio_x = photo.depth.shape[1] / photo.clean.shape[1]
    # Pixel centres of the result in the depth map's coordinates.
    centres = (np.arange(side, dtype=np.float32) + 0.5) * (size / side)
    y = (centres + top) * ratio_y - 0.5
    x = (centres + left) * ratio_x - 0.5
    grid_x, grid_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    border = cv2.BORDER_REPLICATE
    out = cv2.remap(photo.depth, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(out, np.float32) / np.float32(65535)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area average downwards, bicubic upwards; 8 bits stay 8 bits, and 16 stay 16."""
    if image.shape[:2] == (height, width):
        return image
    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=method))
