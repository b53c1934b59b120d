"""The pictures a comparison is made on: inputs and results, all saved PNGs of known content.

Everything is scored as a file, so that anyone can score the same files again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from corun.data.datasets.photo_sets import central_box
from corun.data.images import list_images
from corun.errors import CorunError, DataError, ImageFileError
from corun.files import checksum, same_name, written_atomically
from corun.metrics.pictures import prepare, read_picture
from corun.pictures.colours import read_colours, read_eight_bit
from corun.pictures.reading import read_size

SizeRule = Literal["refuse", "resize"]
"""What happens to a result of another size than its input."""


@dataclass(frozen=True)
class Made:
    """A picture that is there to be scored, or why it is not.

    Attributes:
        path: the file; "" where there is none.
        checksum: SHA-256 of its bytes.
        notes: what was done to it.
        problem: why there is none.
    """

    path: str = ""
    checksum: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""

    @classmethod
    def of(cls, path: Path, notes: tuple[str, ...] = ()) -> Made:
        """A picture that is there."""
        return cls(str(path), checksum(path), notes)


def prepare_input(
    source: Path, target: Path, long_side: int | None, *, crop_like: Path | None = None
) -> None:
    """Writes a photo as 8-bit RGB PNG, scaled down to a long side as `metrics.pictures` says.

    Args:
        source: the photo.
        target: where to; left alone where it holds the very pixels that would be written, else
            replaced. Dates tell nothing: another source may be older than its predecessor.
        long_side: the longer side at most, pixels; None for the size it has.
        crop_like: a photo whose size the source is cut to around its centre, before scaling.

    Raises:
        ImageFileError: the photo cannot be read, or is smaller than the one it is cut to.
    """
    photo = _photo(source)
    if crop_like is not None:
        photo = _cut(photo, source, crop_like)
    picture = photo if long_side is None else prepare(photo, long_side=long_side)
    if not _holds(target, picture):
        _save(picture, target)


def _save(picture: UInt8[np.ndarray, "h w 3"], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(target) as partial:
        Image.fromarray(picture).save(partial, format="PNG")


def _photo(source: Path) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit RGB; photos, unlike results, may have alpha or 16 bits."""
    return np.rint(read_colours(source) * np.float32(255)).astype(np.uint8)


def _holds(target: Path, picture: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether a prepared file is there and its pixels, as scorers read them, are these."""
    try:
        return target.is_file() and np.array_equal(read_picture(target), picture)
    except ImageFileError:
        return False


def _cut(photo: UInt8[np.ndarray, "h w 3"], source: Path, like: Path) -> UInt8[np.ndarray, "p q 3"]:
    height, width = _photo(like).shape[:2]
    box = central_box((photo.shape[1], photo.shape[0]), (width, height))
    if box is None:
        raise ImageFileError(
            f"{source}: {photo.shape[1]}x{photo.shape[0]}, smaller than {like}, "
            f"{width}x{height}: it cannot be cut to that size"
        )
    left, top, right, bottom = box
    return np.ascontiguousarray(photo[top:bottom, left:right])


def _is_picture(path: Path) -> bool:
    try:
        read_size(path)
    except CorunError:
        return False
    return True


def index_results(folder: Path, dataset: str) -> dict[str, list[Path]]:
    """The pictures of a folder of results by stem.

    Those of its sub-folder for the data set go first, then its own, then those of a sub-folder as
    others' test scripts make it.

    Raises:
        DataError: the folder holds no picture.
    """
    is_part = dataset not in (".", "..") and Path(dataset).name == dataset
    own = [folder / dataset, folder / "visualization" / dataset] if is_part else []
    for root in (*own, folder, folder / "imgs", folder / "output"):
        found: dict[str, list[Path]] = {}
        for path in list_images(root, recursive=False) if root.is_dir() else ():
            found.setdefault(same_name(path.stem), []).append(path)
        if found:
            return found
    raise DataError(f"{folder}: no pictures there; give the folder the results are in")


def common_ending(results: Collection[str], photos: Collection[str]) -> str:
    """What follows the photos' names in the stems of their results: mostly "", or as "_RIDCP".

    It is the one that most photos have a result of. Without a letter in it, it would be part of
    the name of another photo (RESIDE: 1400 and 1400_1).
    """
    count = Counter(
        stem[end:]
        for stem in results
        for end in range(len(stem) + 1)
        if stem[:end] in photos and (end == len(stem) or _is_ending(stem[end:]))
    )
    return max(count, key=lambda ending: (count[ending], -len(ending)), default="")


def _is_ending(text: str) -> bool:
    return text[0] in "_-. " and any(character.isalpha() for character in text)


def adopt_result(
    candidates: list[Path], hazy: Path, target: Path, *, sizes: SizeRule, replace: bool = False
) -> Made:
    """Takes somebody's result for a photo.

    8-bit RGB PNGs of the input's size are scored as they are. Other file formats, opaque alpha
    and 16 bits are written as 8-bit RGB PNG first, with a note.

    Args:
        candidates: files of the photo's stem.
        hazy: the prepared input.
        target: where a converted result goes.
        sizes: whether results of another size are refused or resized (Lanczos).
        replace: the result is our own, and its conversion may take its place. Somebody's folder
            is never written into.

    Returns:
        The file to score: theirs where it is an 8-bit RGB PNG of the right size.

    Raises:
        ImageFileError: none or several files, unreadable, transparent, another size, or a
            conversion would be written into the folder of the results themselves.
    """
    if not candidates:
        raise ImageFileError(f"{hazy.stem}: no result of that name")
    if len(candidates) > 1:  # what cannot be read is no result beside one that can
        candidates = [path for path in candidates if _is_picture(path)] or candidates
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise ImageFileError(f"{hazy.stem}: several results ({names}); keep one")
    path = candidates[0]
    pixels, notes = read_eight_bit(path)
    wanted = read_size(hazy)
    size = (pixels.shape[1], pixels.shape[0])
    if size != wanted:
        described = f"{size[0]}x{size[1]}, its input is {wanted[0]}x{wanted[1]}"
        if sizes == "refuse":
            raise ImageFileError(
                f"{path}: {described}; say --sizes resize to score it at the input's size"
            )
        notes.append(f"resized: {described}")
        pixels = np.asarray(Image.fromarray(pixels).resize(wanted, Image.Resampling.LANCZOS))
    if not notes and path.suffix.lower() == ".png":
        return Made.of(path)
    if not replace and target.parent.resolve() == path.parent.resolve():
        raise ImageFileError(
            f"{path}: would have to be converted ({'; '.join(notes) or 'to PNG'}), and lies where "
            "conversions are written; move the folder, or give another --output"
        )
    _save(pixels, target)
    return Made.of(target, tuple(notes))
