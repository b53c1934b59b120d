"""Folders of hazy photos with clear ones of the same view, as random crops of both alike.

Which belong together is told by their names, by one of :data:`RULES` for a whole folder; crops are
functions of their number, as those of photos with depth are.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from copy import copy
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Tensor

from corun.configuration import Range, Strict, ordered
from corun.data.crops import CropConfig, draw_crop, evenly_spread, shuffled
from corun.data.datasets.photo_sets import (
    Layout,
    Photo,
    before_underscore,
    read_layout,
    same_stem,
    without_role,
)
from corun.data.images import eight_bit, list_images, read_rgb
from corun.errors import DataError
from corun.pictures.reading import read_size

Rule = Literal["same", "role", "reside"]

RULES: dict[Rule, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "same": (same_stem, same_stem),
    "role": (without_role, without_role),
    "reside": (before_underscore, same_stem),
}
"""What of a hazy photo's stem, and of a clear one's, is the same for both."""

SHOWN = 5
"""How many names a message lists."""


class PairFolders(Strict):
    """Hazy photos, and clear ones of the same views and sizes.

    Attributes:
        hazy: folder of hazy photos.
        clear: folder of clear photos; the same folder where stems end in ``_hazy`` and ``_GT``.
        rule: which belong together: those of the ``same`` stem; but for their ``role`` (01_hazy and
            01_GT); as in ``reside``, where 0001_0.8_0.2 belongs to 0001; by default, whichever of
            these gives the most pairs.
    """

    hazy: Path
    clear: Path
    rule: Rule | Literal["auto"] = "auto"


class PairsConfig(PairFolders):
    """A folder of pairs to train on.

    Attributes:
        weight: how many crops come of it, relative to the weights of the other sources.
        scale: range of its random resize before the crop, where the other sources' does not fit.
    """

    weight: float = Field(1.0, gt=0)
    scale: Annotated[Range, ordered(above=0.0)] | None = None


class PairSample(NamedTuple):
    """A crop of both photos of a pair.

    Attributes:
        hazy: P, RGB, [0,1].
        clear: G, RGB, [0,1].
        name: the hazy photo's file name.
    """

    hazy: Float[Tensor, "3 h w"]
    clear: Float[Tensor, "3 h w"]
    name: str


class Matched(NamedTuple):
    """Which photos of two folders belong together.

    Attributes:
        pairs: hazy photos with their references, by name.
        rule: what they were matched by.
        alone: photos of either folder without one of the other.
    """

    pairs: tuple[Photo, ...]
    rule: Rule
    alone: tuple[Path, ...]


def match_pairs(folders: PairFolders) -> Matched:
    """The pairs of two folders.

    Raises:
        DataError: a folder is missing, or no two photos belong together.
    """
    for folder in (folders.hazy, folders.clear):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give the folders of hazy and clear photos")
    rules: tuple[Rule, ...] = tuple(RULES) if folders.rule == "auto" else (folders.rule,)
    best = max((_matched_by(rule, folders) for rule in rules), key=lambda found: len(found.pairs))
    if not best.pairs:
        raise DataError(
            f"{folders.hazy}: none of its photos has a clear one in {folders.clear}; a pair has "
            "the same stem, or 01_hazy and 01_GT, or 0001_0.8_0.2 and 0001"
        )
    return best


def _matched_by(rule: Rule, folders: PairFolders) -> Matched:
    together = folders.hazy.resolve() == folders.clear.resolve()
    hazy_key, clear_key = RULES[rule]
    layout = Layout(
        images=(str(folders.hazy.absolute()),),
        references=(str(folders.clear.absolute()),),
        image_key=hazy_key,
        reference_key=clear_key,
        image_ends="_hazy" if together else "",
        reference_ends="_GT" if together else "",
    )
    pairs = read_layout("pairs", folders.hazy, layout).photos
    used = {photo.image for photo in pairs} | {photo.reference for photo in pairs}
    everything = dict.fromkeys(
        path.absolute() for folder in (folders.hazy, folders.clear) for path in list_images(folder)
    )
    return Matched(pairs, rule, tuple(path for path in everything if path not in used))


class PairFolder:
    """Pairs on disk.

    One pair of each clear photo is measured at once, the others when they are read.

    Args:
        folders: where they are.
        crops: how they are cropped.
        seed: what all randomness comes from.

    Raises:
        DataError: a folder is missing, no two photos belong together, or two that do differ in
            size.
    """

    def __init__(self, folders: PairFolders, crops: CropConfig, *seed: int) -> None:
        self.folders, self.crops, self.seed = folders, crops, seed
        found = match_pairs(folders)
        self.pairs, self.rule, self.alone = found.pairs, found.rule, found.alone
        one_each = {photo.reference: photo for photo in reversed(self.pairs)}
        _require_equal_sizes(
            [(_size(p.image), _size(p.reference), p) for p in reversed(one_each.values())]
        )
        self._decoded: dict[Path, UInt8[np.ndarray, "h w 3"]] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def summary(self) -> str:
        """How many pairs there are, by which rule, and what is left out, by name."""
        clear = len({photo.reference for photo in self.pairs})
        told = f"{len(self)} pairs of {clear} clear photos, by the rule {self.rule!r}"
        if not self.alone:
            return told
        return f"{told}; {len(self.alone)} without a counterpart left out: {_names(self.alone)}"

    def split(self, share: float) -> tuple[PairFolder, PairFolder]:
        """Most of the pairs, and one hazy photo of each of an evenly spread share of clear ones.

        No clear photo is in both.

        Raises:
            DataError: there is only one clear photo, which cannot be shared.
        """
        clear = list(dict.fromkeys(photo.reference for photo in self.pairs))
        if len(clear) < 2:
            raise DataError(
                f"{self.folders.clear}: one clear photo cannot be trained on and validated on; "
                "give more, another validation.pairs, or validation=null"
            )
        held = {clear[number] for number in evenly_spread(len(clear), share)}
        shown = {photo.reference: photo for photo in self.pairs if photo.reference in held}
        kept = tuple(photo for photo in self.pairs if photo.reference not in held)
        return self._only(kept), self._only(tuple(shown.values()))

    def without(self, clear: Set[Path]) -> PairFolder:
        """The same, but for pairs whose clear photos are at these resolved paths."""
        return self._only(tuple(pair for pair in self.pairs if _clear(pair) not in clear))

    def clear_photos(self) -> set[Path]:
        """Resolved paths."""
        return {_clear(pair) for pair in self.pairs}

    def _only(self, pairs: tuple[Photo, ...]) -> PairFolder:
        part = copy(self)
        part.pairs, part._decoded = pairs, {}
        return part

    def sample(self, number: int) -> PairSample:
        """Crop number ``number`` of the endless shuffled sequence.

        Raises:
            CorunError: a photo cannot be read, or the two differ in size.
        """
        photo = self.pairs[shuffled(number, len(self.pairs), *self.seed)]
        hazy, clear = self._read(photo)
        crop = draw_crop(self.crops, *hazy.shape[:2], *self.seed, 2, number)
        return PairSample(crop.cut(hazy), crop.cut(clear), photo.image.name)

    def whole(self, index: int) -> PairSample:
        """Both photos of a pair."""
        photo = self.pairs[index]
        hazy, clear = (
            torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p in self._read(photo)
        )
        return PairSample(hazy, clear, photo.image.name)

    def _read(self, photo: Photo) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
        assert photo.reference is not None
        hazy, clear = self._pixels(photo.image), self._pixels(photo.reference)
        _require_equal_sizes([(hazy.shape[1::-1], clear.shape[1::-1], photo)])
        return hazy, clear

    def _pixels(self, path: Path) -> UInt8[np.ndarray, "h w 3"]:
        found = self._decoded.get(path)
        if found is None:
            found = eight_bit(read_rgb(path))
            if self.crops.cache:
                self._decoded[path] = found
        return found


def _clear(pair: Photo) -> Path:
    assert pair.reference is not None
    return pair.reference.resolve()


def _size(path: Path | None) -> tuple[int, int]:
    assert path is not None
    return read_size(path)


def _require_equal_sizes(pairs: list[tuple[tuple[int, ...], tuple[int, ...], Photo]]) -> None:
    """Raises a DataError that names the pairs whose sizes, width and height, differ."""
    wrong = [
        f"{photo.image} is {hazy[0]}x{hazy[1]}, {photo.reference} {clear[0]}x{clear[1]}"
        for hazy, clear, photo in pairs
        if hazy != clear
    ]
    if wrong:
        more = f", and {len(wrong) - SHOWN} more pairs" if len(wrong) > SHOWN else ""
        raise DataError(
            f"{'; '.join(wrong[:SHOWN])}{more}: pairs are of one size; cut the clear photos to "
            "what the hazy ones show, or take them out"
        )


def _names(paths: tuple[Path, ...]) -> str:
    named = ", ".join(path.name for path in paths[:SHOWN])
    return f"{named} and {len(paths) - SHOWN} more" if len(paths) > SHOWN else named
