"""Folders of clean photos with depth, as random crops that depend on nothing but a seed.

Sample number i is the same crop of the same photo in every run: the order, the scale, the place
and the flip are drawn from (seed, i). A run that is interrupted therefore resumes exactly by
starting at the next number, in any number of processes.
"""

from __future__ import annotations

from collections.abc import Set
from copy import copy
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from corun.data.crops import CropConfig, draw_crop, evenly_spread, resize, shuffled
from corun.data.images import DEPTH_SUFFIXES, eight_bit, list_images, read_depth, read_rgb
from corun.errors import DataError
from corun.files import is_text, same_name
from corun.physics.transmission import DepthConvention, normalise_depth
from corun.physics.window_filters import guided_filter

OUTLINE_RANGE = (0.1, 0.2)
"""Differences of normalised distance in a window between which a slope becomes an outline."""
ALIGN_EPSILON = 3e-3
"""Texture of the photo weaker than √ε does not become texture of the depth."""


class DepthCropConfig(CropConfig):
    """How photos are cropped, and how their depth is read.

    Attributes:
        depth_key: the array's name in .mat and .h5 files.
        align_radius: about how far, in pixels of the photo, depth is blurred at outlines, which are
            then made sharp and brought to the photo's edges; 0 leaves them. Haze made of blurred
            depth thins out towards a near object, and a network that learnt to expect that leaves
            a hazy rim on real photos, whose haze does not.
    """

    depth_key: str | None = None
    align_radius: int = Field(0, ge=0)


class CleanDepthConfig(DepthCropConfig):
    """Where the clean photos and their depth are, and how they are cropped.

    Attributes:
        clean: folder of clean photos.
        depth: folder of depth maps with the same stems (npy, png, jpg, mat, h5), of any size.
        convention: what the depth files hold: ``distance`` (larger = farther) or ``inverse``.
    """

    clean: Path
    depth: Path
    convention: DepthConvention


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
        depth: d, normalised distance, uint16, 65535 = 1, (h,w): a map of its own size, or of the
            photo's once aligned. 8 bits would turn slopes into steps, and those into contours in
            thick haze.
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
        stems = {same_name(p.stem) for p in self.photos}
        maps = [
            p
            for p in sorted(config.depth.iterdir())
            if p.suffix.lower() in DEPTH_SUFFIXES and same_name(p.stem) in stems
        ]
        _refuse_shared_stems(maps)
        by_stem = {same_name(p.stem): p for p in maps}
        without = [p.name for p in self.photos if same_name(p.stem) not in by_stem]
        if without:
            raise DataError(
                f"{config.depth}: no depth for {len(without)} of {len(self.photos)} photos, "
                f"first {without[0]}; depth files carry the photos' names"
            )
        return [by_stem[same_name(p.stem)] for p in self.photos]

    def __len__(self) -> int:
        return len(self.photos)

    def split(self, share: float) -> tuple[CleanDepthFolder, CleanDepthFolder]:
        """Most of the photos, and an evenly spread share of them, 1 to 64.

        Raises:
            DataError: there is only one photo, which cannot be shared.
        """
        if len(self.photos) < 2:
            raise DataError(
                f"{self.config.clean}: one photo cannot be trained on and validated on; give more, "
                "another validation.clean, or validation=null"
            )
        held = evenly_spread(len(self.photos), share)
        return self._only(set(range(len(self.photos))) - held), self._only(held)

    def without(self, photos: Set[Path]) -> CleanDepthFolder:
        """The same, but for photos at these resolved paths."""
        kept = {n for n, photo in enumerate(self.photos) if photo.resolve() not in photos}
        return self._only(kept)

    def _only(self, numbers: set[int]) -> CleanDepthFolder:
        part = copy(self)
        part._decoded = {}
        part.photos = [self.photos[n] for n in sorted(numbers)]
        part.depths = [self.depths[n] for n in sorted(numbers)]
        return part

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
        photo = read_rgb(self.photos[index])
        raw = read_depth(self.depths[index], key=config.depth_key)
        d = normalise_depth(raw[None], convention=config.convention)
        if config.align_radius:
            d = align_depth(photo[None], d, radius=config.align_radius)
        clean = eight_bit(photo)
        return CleanDepthPhoto(clean, (d[0, 0] * 65535).round().numpy().astype(np.uint16))

    def sample(self, number: int) -> CleanDepthSample:
        """Crop number ``number`` of the endless shuffled sequence.

        Raises:
            CorunError: the photo or its depth cannot be read.
        """
        index = shuffled(number, len(self.photos), self.seed)
        photo = self.photo(index)
        height, width = photo.clean.shape[:2]
        crop = draw_crop(self.config, height, width, self.seed, 2, number)
        depth = crop.mirrored(crop_depth(photo, crop.window, crop.side))
        return CleanDepthSample(
            crop.cut(photo.clean), torch.from_numpy(depth)[None], self.photos[index].name
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


def align_depth(
    photo: Float[Tensor, "b 3 h w"], depth: Float[Tensor, "b 1 h2 w2"], *, radius: int
) -> Float[Tensor, "b 1 h w"]:
    """Depth at the photo's size, its outlines sharp and where the photo's are.

    A pixel takes the least or the greatest depth of its window, whichever is closer to its own,
    where the two are apart (an outline, not a slope): morphological toggling (Kramer and Bruckner,
    1975). A guided filter by the photo then moves the outline to the photo's edge.

    Args:
        photo: RGB, [0,1].
        depth: d, normalised distance, [0,1], of any size.
        radius: of both windows, pixels of the photo, at least 1: about how far depth is blurred.

    Returns:
        d, [0,1].
    """
    d = F.interpolate(depth, size=photo.shape[-2:], mode="bilinear", antialias=True)
    side = 2 * radius + 1
    greatest = F.max_pool2d(d, side, stride=1, padding=radius)
    least = -F.max_pool2d(-d, side, stride=1, padding=radius)
    toggled = torch.where(d - least < greatest - d, least, greatest)
    low, high = OUTLINE_RANGE
    outline = ((greatest - least - low) / (high - low)).clamp(0, 1)
    d = torch.lerp(d, toggled, outline)
    guides = photo.permute(0, 2, 3, 1).numpy()
    aligned = [
        guided_filter(guide, one.numpy(), radius=radius, epsilon=ALIGN_EPSILON)
        for guide, one in zip(guides, d[:, 0], strict=True)
    ]
    return torch.from_numpy(np.stack(aligned))[:, None].clamp(0, 1)


def _refuse_shared_stems(paths: list[Path]) -> None:
    """One photo, one depth map and one name for what is made of them: a stem is used once."""
    seen: dict[str, Path] = {}
    for path in paths:
        if not is_text(path.stem):
            raise DataError(f"{path}: its name is not UTF-8, which tables need; rename it")
        other = seen.setdefault(same_name(path.stem), path)
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
