"""The data sets known by name: an explicit table of layouts, published counts and addresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corun.data.datasets.photo_sets import (
    Layout,
    PhotoSet,
    ReferenceCrop,
    before_underscore,
    read_layout,
    without_role,
)
from corun.errors import DataError

Kind = Literal["hazy", "pairs", "boxes", "depth"]
"""Real haze alone; hazy and clear; hazy with boxes; clear photos with depth."""


@dataclass(frozen=True)
class DatasetCard:
    """Facts about a data set.

    Attributes:
        name: what it is called on the command line.
        title: what it is.
        kind: what belongs to each photo.
        layout: where its files are.
        count: photos as published; None where there is no such number.
        where: where it is obtained.
        note: what a person should know who counts otherwise.
    """

    name: str
    title: str
    kind: Kind
    layout: Layout
    count: int | None
    where: str
    note: str = ""


_RESIDE = "https://sites.google.com/view/reside-dehaze-datasets"
_VISION = "https://data.vision.ee.ethz.ch/cvl"


def _reside(
    hazy: tuple[str, ...], clear: tuple[str, ...], reference_crop: ReferenceCrop = "none"
) -> Layout:
    return Layout(
        images=hazy,
        references=clear,
        image_key=before_underscore,
        reference_crop=reference_crop,
    )


def _ntire(*folders: str) -> Layout:
    return Layout(
        images=tuple(f"{folder}hazy" for folder in folders),
        references=tuple(f"{folder}{clear}" for folder in folders for clear in ("GT", "gt")),
        image_key=without_role,
        reference_key=without_role,
    )


DATASETS: dict[str, DatasetCard] = {
    card.name: card
    for card in (
        DatasetCard(
            "rtts",
            "RESIDE RTTS: real hazy street photos with boxes of 5 classes",
            "boxes",
            Layout(
                images=("JPEGImages", "RTTS/JPEGImages"),
                annotations=("Annotations", "RTTS/Annotations"),
            ),
            4322,
            _RESIDE,
        ),
        DatasetCard(
            "urhi",
            "RESIDE URHI: real hazy photos without annotation",
            "hazy",
            Layout(images=("URHI", ""), recursive=True),
            4807,
            _RESIDE,
        ),
        DatasetCard(
            "fattal",
            "Fattal's real hazy photos",
            "hazy",
            Layout(images=("",)),
            31,
            "https://www.cs.huji.ac.il/~raananf/projects/dehaze_cl/results/",
            "the collection is often kept with neighbours of other papers: 31 to 34 photos",
        ),
        DatasetCard(
            "sots-indoor",
            "RESIDE SOTS indoor: synthetic haze on NYU depth",
            "pairs",
            _reside(
                ("hazy", "indoor/hazy", "SOTS/indoor/hazy"),
                ("gt", "clear", "indoor/gt", "indoor/clear", "SOTS/indoor/gt"),
                reference_crop="centre",
            ),
            500,
            _RESIDE,
            "50 clear photos, 10 hazy versions each; the hazy ones, 620x460, show the middle of "
            "the clear ones, 640x480",
        ),
        DatasetCard(
            "sots-outdoor",
            "RESIDE SOTS outdoor: synthetic haze on estimated depth",
            "pairs",
            _reside(
                ("hazy", "outdoor/hazy", "SOTS/outdoor/hazy"),
                ("gt", "clear", "outdoor/gt", "outdoor/clear", "SOTS/outdoor/gt"),
            ),
            500,
            _RESIDE,
            "of 492 clear photos",
        ),
        DatasetCard(
            "its",
            "RESIDE ITS: indoor training set",
            "pairs",
            _reside(("hazy", "ITS/hazy"), ("clear", "gt", "ITS/clear", "ITS/gt")),
            13990,
            _RESIDE,
            "1 399 clear photos, 10 hazy versions each",
        ),
        DatasetCard(
            "ots",
            "RESIDE OTS: outdoor training set",
            "pairs",
            Layout(
                images=("haze", "hazy", "OTS/haze", "OTS/hazy"),
                references=("clear", "gt", "OTS/clear", "OTS/gt"),
                image_key=before_underscore,
                recursive=True,
            ),
            72135,
            _RESIDE,
            "2 061 clear photos, 35 hazy versions each",
        ),
        DatasetCard(
            "o-haze",
            "O-HAZE: outdoor, haze machine",
            "pairs",
            _ntire("", "O-HAZE/", "# O-HAZY NTIRE 2018/"),
            45,
            f"{_VISION}/ntire18/o-haze/",
        ),
        DatasetCard(
            "i-haze",
            "I-HAZE: indoor, haze machine",
            "pairs",
            _ntire("", "I-HAZE/", "# I-HAZY NTIRE 2018/"),
            35,
            f"{_VISION}/ntire18/i-haze/",
            "the paper counts 35 pairs; the archive holds 30",
        ),
        DatasetCard(
            "dense-haze",
            "Dense-HAZE: outdoor, dense haze-machine haze",
            "pairs",
            _ntire("", "Dense-HAZE/", "Dense_Haze_NTIRE19/"),
            55,
            f"{_VISION}/ntire19/dense-haze/",
            "the paper counts 33 pairs, the archive of the challenge 55",
        ),
        DatasetCard(
            "nh-haze",
            "NH-HAZE: outdoor, non-homogeneous haze",
            "pairs",
            Layout(
                images=("NH-HAZE", ""),
                references=("NH-HAZE", ""),
                image_key=without_role,
                reference_key=without_role,
                image_ends="_hazy",
                reference_ends="_GT",
            ),
            55,
            f"{_VISION}/ntire20/nh-haze/",
        ),
        DatasetCard(
            "ridcp500",
            "RIDCP500: clear photos with estimated depth, to make haze from",
            "depth",
            Layout(
                images=("rgb_500", "rgb", "RIDCP500/rgb_500"),
                depths=("depth_500", "depth", "RIDCP500/depth_500"),
            ),
            500,
            "https://github.com/RQ-Wu/RIDCP_dehazing",
        ),
        DatasetCard(
            "dawn",
            "DAWN: driving in bad weather, with boxes",
            "boxes",
            Layout(
                images=("JPEGImages", "images", ""),
                annotations=("Annotations", "annotations", "PASCAL_VOC"),
            ),
            1000,
            "https://data.mendeley.com/datasets/766ygrbt8y/3",
            "fog, rain, snow and sand together; one folder of it holds fewer",
        ),
        DatasetCard(
            "folder",
            "any folder of hazy photos",
            "hazy",
            Layout(images=("",)),
            None,
            "your own",
        ),
        DatasetCard(
            "pairs",
            "hazy and clear photos of equal names in two folders",
            "pairs",
            Layout(images=("hazy", "input", "haze"), references=("clear", "gt", "GT", "target")),
            None,
            "your own",
        ),
    )
}


def dataset_card(name: str) -> DatasetCard:
    """The facts about a data set.

    Raises:
        DataError: there is none of that name.
    """
    if name not in DATASETS:
        raise DataError(f"{name}: no such data set; known are {', '.join(DATASETS)}")
    return DATASETS[name]


def open_dataset(name: str, folder: Path | str) -> PhotoSet:
    """Reads a data set.

    Args:
        name: one of `DATASETS`.
        folder: where it was unpacked.

    Raises:
        DataError: no such data set or folder, or the folder is laid out otherwise.
    """
    return read_layout(name, Path(folder), dataset_card(name).layout)
