"""What participants are asked, in an order of their own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from corun.data.images import list_images
from corun.errors import CorunError, DataError, escaped
from corun.files import checksum, is_text, same_name
from corun.pictures.colours import read_eight_bit

StudyMode = Literal["score", "pairs"]
"""One picture, 1 to 10; or two pictures of one photo, which is better."""

MODES: tuple[StudyMode, ...] = ("score", "pairs")
LOWEST, HIGHEST = 1, 10


@dataclass(frozen=True)
class Trial:
    """One question.

    Attributes:
        photo: which photo.
        methods: one method to be scored, or two to be compared, in the order shown.
    """

    photo: str
    methods: tuple[str, ...]

    @property
    def key(self) -> str:
        """The question whatever the order shown: a participant answers it once."""
        return "\t".join([self.photo, *sorted(self.methods)])


@dataclass(frozen=True)
class Study:
    """A study: methods, the photos they all have, and how people are asked.

    Attributes:
        mode: scores or pairs.
        methods: label → its folder.
        pictures: photo → method → file.
        originals: photo → the hazy picture shown for comparison; empty for none.
        left_out: photos that some method lacks or that cannot be shown, one line each.
        seed: of the orders.
    """

    mode: StudyMode
    methods: dict[str, Path]
    pictures: dict[str, dict[str, Path]]
    originals: dict[str, Path]
    left_out: tuple[str, ...]
    seed: int = 0

    def trials(self, participant: str) -> list[Trial]:
        """The participant's questions, always the same ones in the same order.

        Photos and methods are mixed, and so is who is left and who is right.
        """
        labels = list(self.methods)
        shown: list[tuple[str, ...]] = (
            [(label,) for label in labels]
            if self.mode == "score"
            else list(combinations(labels, 2))
        )
        order = random.Random(bytes.fromhex(checksum(f"{self.seed}\t{participant}".encode())))
        trials = []
        for photo in self.pictures:
            for methods in shown:
                sides = list(methods)
                order.shuffle(sides)
                trials.append(Trial(photo, tuple(sides)))
        order.shuffle(trials)
        return trials


def open_study(
    folders: Sequence[Path],
    mode: StudyMode,
    *,
    originals: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Study:
    """A study of folders of results; each folder is a method, pictures belong by stem.

    Every picture that will be shown is decoded once: a participant must not be the first to find
    a broken file.

    Args:
        folders: one for each method; named by their last part, or by more of the path where two
            end alike.
        mode: scores or pairs.
        originals: folder of the hazy photos, shown beside.
        limit: photos at most, chosen at random by the seed.
        seed: of the choice and the orders.

    Raises:
        DataError: too few folders, an empty one, two sound pictures of one stem, no common photo,
            or none that can be shown.
    """
    needed = 2 if mode == "pairs" else 1
    if len(folders) < needed:
        raise DataError(f"mode {mode} needs at least {needed} folder(s) of results")
    methods = dict(zip(_labels(folders), folders, strict=True))
    left_out: list[str] = []
    files = {label: _by_name(folder, left_out) for label, folder in methods.items()}
    every = sorted(set().union(*files.values()))
    left_out += [
        f"{photo}: missing in {', '.join(label for label in methods if photo not in files[label])}"
        for photo in every
        if any(photo not in own for own in files.values())
    ]
    common = [photo for photo in every if all(photo in own for own in files.values())]
    if not common:
        raise DataError(
            f"{', '.join(str(folder) for folder in folders)}: no photo that all of them have"
        )
    shown = _by_name(originals, left_out) if originals is not None else {}

    def pictures_of(photo: str) -> list[Path]:
        beside = [shown[photo]] if photo in shown else []
        return [own[photo] for own in files.values()] + beside

    problems: dict[str, str] = {}
    checked: set[str] = set()
    while True:
        usable = [photo for photo in common if photo not in problems]
        chosen = usable
        if limit is not None and limit < len(usable):
            chosen = sorted(random.Random(seed).sample(usable, limit))
        for photo in chosen:
            if photo not in checked:
                checked.add(photo)
                problem = _why_not_shown(pictures_of(photo))
                if problem:
                    problems[photo] = problem
        if not any(photo in problems for photo in chosen):
            break  # else others are chosen in place of those that cannot be shown
    if not chosen:
        raise DataError(f"no photo can be shown; {next(iter(problems.values()))}")
    left_out += [f"{photo}: {problem}" for photo, problem in sorted(problems.items())]
    return Study(
        mode,
        methods,
        {photo: {label: files[label][photo] for label in methods} for photo in chosen},
        {photo: shown[photo] for photo in chosen if photo in shown},
        tuple(left_out),
        seed,
    )


def _why_not_shown(paths: list[Path]) -> str:
    """What is wrong with the first of them that cannot be shown; "" if all can."""
    for path in paths:
        try:
            read_eight_bit(path)
        except CorunError as error:
            return str(error)
    return ""


def _by_name(folder: Path, left_out: list[str]) -> dict[str, Path]:
    """The pictures of a folder by the name of their photo; those without one are left out."""
    files: dict[str, Path] = {}
    for path in list_images(folder):
        name = same_name(path.stem)
        other = files.get(name)
        if not is_text(name):  # no database takes it, so no vote could be cast
            left_out.append(f"{path}: its name is not UTF-8; rename it")
        elif other is None:
            files[name] = path
        elif _why_not_shown([path]):
            left_out.append(f"{path}: {other.name} has the same stem, and can be shown")
        elif _why_not_shown([other]):
            left_out.append(f"{other}: {path.name} has the same stem, and can be shown")
            files[name] = path
        else:
            raise DataError(f"{path}: {other.name} has the same stem; keep one")
    if not files:
        raise DataError(f"{folder}: no pictures there")
    return files


def _labels(folders: Sequence[Path]) -> list[str]:
    for length in range(1, max(len(folder.resolve().parts) for folder in folders) + 1):
        labels = [
            escaped(same_name("/".join(folder.resolve().parts[-length:]))) for folder in folders
        ]
        if len(set(labels)) == len(labels):
            return labels
    raise DataError(f"{folders[0]}: is given twice; give each folder once")
