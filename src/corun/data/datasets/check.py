"""`corun data check`: what a folder holds of a data set, what is missing, and where to get it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corun.data.datasets.boxes import read_voc
from corun.data.datasets.catalogue import DatasetCard, dataset_card, open_dataset
from corun.data.datasets.photo_sets import Photo, central_box
from corun.errors import DataError, ImageFileError
from corun.pictures.colours import read_colours
from corun.pictures.reading import read_size


@dataclass(frozen=True)
class DatasetCheck:
    """What was found.

    Attributes:
        card: the data set that was asked for.
        folder: where.
        photos: usable photos.
        references: distinct clear photos behind them.
        boxes: objects by class.
        problems: one line each.
    """

    card: DatasetCard
    folder: Path
    photos: int
    references: int
    boxes: dict[str, int]
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is wrong and no photo is missing; more than published are no harm."""
        enough = self.card.count is None or self.photos >= self.card.count
        return enough and not self.problems

    def lines(self) -> Iterator[str]:
        """The report, line by line."""
        card = self.card
        yield f"{card.name}: {card.title}"
        yield f"  folder: {self.folder}"
        if card.count is None:
            yield f"  photos: {self.photos}"
        else:
            verdict = "as published" if self.photos == card.count else _difference(self)
            yield f"  photos: {self.photos} of {card.count} published ({verdict})"
        if card.note:
            yield f"  note: {card.note}"
        if self.references:
            yield f"  clear references: {self.references}"
        if self.boxes:
            total = sum(self.boxes.values())
            classes = ", ".join(f"{name} {count}" for name, count in self.boxes.items())
            yield f"  boxes: {total} ({classes})"
        for problem in self.problems:
            yield f"  problem: {problem}"
        if not self.complete:
            yield f"  obtain it from: {card.where}"


def check_dataset(name: str, folder: Path | str, *, decode: bool = False) -> DatasetCheck:
    """Looks at every file of a data set.

    Args:
        name: one of `catalogue.DATASETS`.
        folder: where it was unpacked.
        decode: decode every picture instead of reading its header only; finds files cut short.

    Raises:
        DataError: no such data set or folder, or the folder is laid out otherwise.
    """
    card = dataset_card(name)
    found = open_dataset(name, folder)
    problems = list(found.problems)
    usable: list[Photo] = []
    boxes: Counter[str] = Counter()
    for photo in found.photos:
        wrong = list(_problems_of(photo, decode, boxes))
        problems += wrong
        if not wrong:
            usable.append(photo)
    references = {photo.reference for photo in usable if photo.reference is not None}
    return DatasetCheck(
        card, Path(folder), len(usable), len(references), dict(boxes.most_common()), tuple(problems)
    )


def _problems_of(photo: Photo, decode: bool, boxes: Counter[str]) -> Iterator[str]:
    sizes = []
    for path in (photo.image, photo.reference):
        if path is None:
            continue
        try:
            sizes.append(_size(path, decode))
        except ImageFileError as error:
            yield str(error)
    if len(sizes) == 2 and not _fits(photo, *sizes):
        (width, height), (other_width, other_height) = sizes
        yield (
            f"{photo.image}: {width}x{height}, but its reference {photo.reference} is "
            f"{other_width}x{other_height}"
        )
    if photo.annotation is not None:
        try:
            boxes.update(read_voc(photo.annotation).labels)
        except DataError as error:
            yield str(error)


def _fits(photo: Photo, size: tuple[int, int], reference: tuple[int, int]) -> bool:
    """Whether photo and reference show the same, if need be after the set's central crop."""
    if photo.reference_crop == "centre":
        return central_box(reference, size) is not None
    return size == reference


def _size(path: Path, decode: bool) -> tuple[int, int]:
    if decode:
        height, width = read_colours(path).shape[:2]
        return width, height
    return read_size(path)


def _difference(check: DatasetCheck) -> str:
    assert check.card.count is not None
    difference = check.photos - check.card.count
    return f"{-difference} missing" if difference < 0 else f"{difference} more"
