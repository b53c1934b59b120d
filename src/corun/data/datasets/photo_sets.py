"""A data set as a list of photos with what belongs to each, and how a folder becomes one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from corun.data.images import DEPTH_SUFFIXES, list_images
from corun.errors import DataError
from corun.files import is_text, same_name

ReferenceCrop = Literal["none", "centre"]
"""Whether clear views are published larger than the hazy photos, which are their middle."""


@dataclass(frozen=True)
class Photo:
    """One photo of a data set and the files that belong to it.

    Attributes:
        name: unique within the set; what results are called. The stem, below a sub-folder with
            the sub-folder's name before it.
        image: the photo: hazy, except in sets of clear photos with depth.
        reference: the same view without haze, if the set has one.
        annotation: its boxes (VOC XML), if the set has them.
        depth: its depth map, if the set has one.
        reference_crop: "centre" where the photo shows the middle of a larger reference.
    """

    name: str
    image: Path
    reference: Path | None = None
    annotation: Path | None = None
    depth: Path | None = None
    reference_crop: ReferenceCrop = "none"


@dataclass(frozen=True)
class PhotoSet:
    """What a folder holds.

    Attributes:
        name: the data set's name.
        photos: sorted by name.
        problems: one line for each thing that is missing or in the way; such photos are listed
            here and not in `photos`.
    """

    name: str
    photos: tuple[Photo, ...]
    problems: tuple[str, ...] = field(default=())


def same_stem(stem: str) -> str:
    """Pairs carry the same name."""
    return stem


def before_underscore(stem: str) -> str:
    """RESIDE: 1400_1 and 0025_0.8_0.1 belong to the clear photos 1400 and 0025."""
    return stem.split("_", 1)[0]


def without_role(stem: str) -> str:
    """NTIRE: 01_outdoor_hazy and 01_outdoor_GT belong together."""
    for role in ("_hazy", "_GT", "_gt", "_clear"):
        if stem.endswith(role):
            return stem.removesuffix(role)
    return stem


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its files, below the folder a person gives.

    Of several folders the first that exists is taken; "" is the folder itself.

    Attributes:
        images: where the photos are.
        references: where the clear views are; none for sets without.
        annotations: where the VOC XML files are.
        depths: where the depth maps are.
        image_key: what of a photo's stem is shared with its companions.
        reference_key: the same for the stem of a reference.
        image_ends: the photos are the files whose stem ends so (hazy and clear in one folder).
        reference_ends: the same for references.
        recursive: look into sub-folders of the photos' folder too.
        reference_crop: "centre" where references are cut around their centre to the photo's size.
    """

    images: tuple[str, ...]
    references: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    depths: tuple[str, ...] = ()
    image_key: Callable[[str], str] = same_stem
    reference_key: Callable[[str], str] = same_stem
    image_ends: str = ""
    reference_ends: str = ""
    recursive: bool = False
    reference_crop: ReferenceCrop = "none"


def central_box(size: tuple[int, int], inner: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The middle of a picture: left, top, right and bottom in pixels, right and bottom outside.

    Args:
        size: width and height of the picture.
        inner: width and height of the part; of an odd difference the smaller half comes first.

    Returns:
        None where the part is larger than the picture.
    """
    if inner[0] > size[0] or inner[1] > size[1]:
        return None
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    return left, top, left + inner[0], top + inner[1]


def read_layout(name: str, folder: Path, layout: Layout) -> PhotoSet:
    """Reads a folder of a known layout.

    Args:
        name: of the data set, for messages.
        folder: what the person unpacked.
        layout: where its files are.

    Returns:
        The photos that have all the layout promises, and a problem for each that has not.

    Raises:
        DataError: the folder, or the one for the photos inside it, is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder where {name} was unpacked")
    problems: list[str] = []
    root = _first_folder(folder, layout.images)
    if root is None:
        wanted = " or ".join(f"{candidate or '.'}/" for candidate in layout.images)
        raise DataError(f"{folder}: not laid out as {name}: there is no {wanted} in it")
    images = [
        path
        for path in list_images(root, recursive=layout.recursive)
        if path.stem.endswith(layout.image_ends)
    ]
    references = _references(folder, layout, problems)
    annotations = _by_stem(folder, layout.annotations, "annotations", (".xml",), problems)
    depths = _by_stem(folder, layout.depths, "depth maps", DEPTH_SUFFIXES, problems)

    photos: dict[str, Photo] = {}
    for path in images:
        photo_name = same_name("-".join(path.relative_to(root).with_suffix("").parts))
        if not is_text(photo_name):
            problems.append(f"{path}: its name is not UTF-8; rename it")
            continue
        if photo_name in photos:
            problems.append(f"{path}: another picture has the stem {photo_name!r}; rename one")
            continue
        key = layout.image_key(same_name(path.stem))
        missing = [
            what
            for what, known, wanted in (
                ("reference", references, layout.references),
                ("annotation", annotations, layout.annotations),
                ("depth map", depths, layout.depths),
            )
            if wanted and key not in known
        ]
        if missing:
            problems.append(f"{path}: no {' and no '.join(missing)} of the name {key}")
            continue
        photos[photo_name] = Photo(
            photo_name,
            path,
            references.get(key),
            annotations.get(key),
            depths.get(key),
            layout.reference_crop,
        )
    return PhotoSet(name, tuple(photos[key] for key in sorted(photos)), tuple(problems))


def _first_folder(folder: Path, candidates: tuple[str, ...]) -> Path | None:
    for candidate in candidates:
        if (folder / candidate).is_dir():
            return folder / candidate
    return None


def _companions_folder(
    folder: Path, candidates: tuple[str, ...], what: str, problems: list[str]
) -> Path | None:
    """Where what belongs to the photos is; that it is nowhere is a problem."""
    root = _first_folder(folder, candidates)
    if root is None and candidates:
        problems.append(f"{folder}: no folder of {what} ({' or '.join(candidates)})")
    return root


def _references(folder: Path, layout: Layout, problems: list[str]) -> dict[str, Path]:
    root = _companions_folder(folder, layout.references, "references", problems)
    found: dict[str, list[Path]] = defaultdict(list)
    for path in [] if root is None else list_images(root):
        if path.stem.endswith(layout.reference_ends):
            found[layout.reference_key(same_name(path.stem))].append(path)
    for paths in found.values():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            problems.append(f"{root}: {names} belong to one photo; the first is used")
    return {key: paths[0] for key, paths in found.items()}


def _by_stem(
    folder: Path,
    candidates: tuple[str, ...],
    what: str,
    suffixes: tuple[str, ...],
    problems: list[str],
) -> dict[str, Path]:
    root = _companions_folder(folder, candidates, what, problems)
    return {
        same_name(path.stem): path
        for path in ([] if root is None else sorted(root.iterdir()))
        if path.suffix.lower() in suffixes
    }
