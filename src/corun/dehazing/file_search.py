"""Which pictures are meant: files, folders and patterns as they are typed."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from corun.dehazing.file_naming import (
    DEFAULT_SUFFIX,
    TRANSMISSION_SUFFIX,
    Found,
    Naming,
    unusable,
)
from corun.errors import reason_of
from corun.files import user_path
from corun.pictures.formats import READABLE_SUFFIXES, VIDEO_SUFFIXES


@dataclass
class Search:
    """What was found.

    Attributes:
        found: the pictures, each name of a file once.
        failures: what cannot be read, or holds nothing: (input, why).
        left_out: results of earlier runs, which are not dehazed again.
        videos: of folders, which are left for `corun video`.
    """

    found: list[Found] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)


def search(inputs: list[str], naming: Naming, recursive: bool) -> Search:
    """Finds the pictures that inputs mean.

    Two names of one file (links) are two pictures; a name that is given twice is one. Folders and
    patterns leave out the results of earlier runs, and so do names beside those of the photos they
    were made of, as a shell's pattern gives them.

    Args:
        inputs: files, folders, glob patterns.
        naming: where results go.
        recursive: whether folders are searched to the bottom.
    """
    result = Search()
    found: dict[Path, Found] = {}
    for text in inputs:
        try:
            for picture in _pictures_of(text, naming, recursive, result):
                picture.path.resolve()  # a circle of links is told here, once
                entry = picture.path.parent.resolve() / picture.path.name
                found.setdefault(entry, picture)
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            result.failures.append((text, _not_readable(text, error)))
    for entry, picture in found.items():
        if _is_result_of(entry, naming, found):
            result.left_out.append(picture.path)
        else:
            result.found.append(picture)
    return result


def _is_result_of(entry: Path, naming: Naming, entries: dict[Path, Found]) -> bool:
    """Whether a file has the name of the result of another of the files."""
    sources = {
        name
        for other in entries
        if other != entry and other.parent == entry.parent
        for name in (other.stem, other.name)
    }
    if entry.name.endswith(TRANSMISSION_SUFFIX):
        return entry.name.removesuffix(TRANSMISSION_SUFFIX) in sources
    return any(
        infix and entry.stem.endswith(infix) and entry.stem.removesuffix(infix) in sources
        for infix in (naming.infix, DEFAULT_SUFFIX)
    )


def _pictures_of(text: str, naming: Naming, recursive: bool, result: Search) -> list[Found]:
    path = user_path(text)
    if path.is_dir():
        failures, left_out = len(result.failures), len(result.left_out)
        pictures = _pictures_in(path, naming, recursive, result)
        if not pictures and len(result.failures) == failures:
            hint = "" if recursive else "; add --recursive to look into its folders"
            what = "only results of earlier runs" if result.left_out[left_out:] else "no pictures"
            result.failures.append((text, f"{text}: the folder holds {what}{hint}"))
        return pictures
    if not path.exists() and glob.has_magic(text):
        return _pictures_matching(text, path, naming, result)
    return [Found(path, Path(path.name))]


def _pictures_matching(text: str, pattern: Path, naming: Naming, result: Search) -> list[Found]:
    """What a pattern matches, without results of earlier runs unless it asks for them by name."""
    matches = sorted(map(Path, glob.glob(_with_literal_folders(pattern), recursive=True)))  # noqa: PTH207 (absolute patterns)
    files = []
    failures = len(result.failures)
    for match in matches:
        if match.is_file():
            files.append(match)
        elif _dangles(match):
            result.failures.append((str(match), _dangling(match)))
    place = _resolved_place(naming)
    pictures = []
    for file in files:
        among_results = place in (None, file.parent.resolve())
        if _named_as_result(file, naming, among_results) and not _named_as_result(
            pattern, naming, among_results
        ):
            result.left_out.append(file)
        else:
            pictures.append(Found(file, Path(file.name)))
    if files and not pictures:
        result.failures.append((text, f"{text}: matches only results of earlier runs"))
    elif len(result.failures) == failures and not pictures:
        result.failures.append((text, f"{text}: matches no file; check the pattern"))
    return pictures


def _with_literal_folders(pattern: Path) -> str:
    """The pattern with its leading folders escaped that exist as they are written.

    A folder called "x[1]" is that folder, not a pattern for "x1".
    """
    folder = Path(pattern.anchor)
    parts = pattern.parts[1:] if pattern.anchor else pattern.parts
    count = 0
    for part in parts[:-1]:
        if not (folder / part).is_dir():
            break
        folder, count = folder / part, count + 1
    escaped = [glob.escape(part) for part in parts[:count]]
    return str(Path(pattern.anchor, *escaped, *parts[count:]))


def _named_as_result(path: Path, naming: Naming, among_results: bool) -> bool:
    """Whether a file (or a pattern for it) has the name of a result.

    A suffix of the user's own choice counts only in the folder of the results.
    """
    if path.name.endswith(TRANSMISSION_SUFFIX) or path.stem.endswith(DEFAULT_SUFFIX):
        return True
    return among_results and bool(naming.infix) and path.stem.endswith(naming.infix)


def _not_readable(name: str | Path, error: OSError | RuntimeError) -> str:
    return f"{name}: cannot be read ({reason_of(error)}); check its name and permissions"


def _dangles(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _dangling(link: Path) -> str:
    return f"{link}: its link leads nowhere ({link.readlink()}); mend or remove it"


def _files_in(folder: Path, recursive: bool, result: Search) -> Iterator[Path]:
    """What a folder holds, hidden entries and folders aside; folders that are links stay shut."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        result.failures.append((str(folder), _not_readable(folder, error)))
        return
    for entry in entries:
        try:
            if entry.is_file():
                yield entry
            elif entry.suffix.lower() in READABLE_SUFFIXES and _dangles(entry):
                result.failures.append((str(entry), _dangling(entry)))
            elif recursive and entry.is_dir() and not entry.is_symlink():
                yield from _files_in(entry, recursive, result)
        except OSError as error:
            if recursive or entry.suffix.lower() in READABLE_SUFFIXES:
                result.failures.append((str(entry), _not_readable(entry, error)))


def _pictures_in(folder: Path, naming: Naming, recursive: bool, result: Search) -> list[Found]:
    """The pictures of a folder, without hidden files and without results of earlier runs."""
    place = _resolved_place(naming)
    among_results = place in (None, folder.resolve())
    pictures = []
    for path in sorted(_files_in(folder, recursive, result)):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            result.videos.append(path)
        if path.suffix.lower() not in READABLE_SUFFIXES:
            continue
        inside = place is not None and place in path.resolve().parents
        if _named_as_result(path, naming, among_results) or (inside and place != folder.resolve()):
            result.left_out.append(path)
        else:
            pictures.append(Found(path, path.relative_to(folder)))
    return pictures


def _resolved_place(naming: Naming) -> Path | None:
    place = naming.place
    try:
        return None if place is None else place.resolve()
    except (OSError, RuntimeError) as error:
        raise unusable(naming, error) from error
