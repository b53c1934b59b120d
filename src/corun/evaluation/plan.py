"""What a comparison consists of, and how a person writes it down."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from corun.data.datasets.catalogue import DATASETS, dataset_card
from corun.errors import ConfigurationError, escaped
from corun.evaluation.methods import Method, existing, folder_name, installed_version
from corun.evaluation.prepared_pictures import SizeRule
from corun.evaluation.report import MetricFacts
from corun.files import checksum, same_name, user_path
from corun.metrics.detection_models import DetectorLayout

PACKAGES = ("corun-dehaze", "torch", "numpy", "pillow", "fade-python", "onnxruntime", "pyiqa")
"""Whose versions a report states."""

LONGEST_NAME = 200
"""Bytes of a folder's name; file systems allow 255."""


@dataclass(frozen=True)
class DatasetChoice:
    """A data set to compare on.

    Attributes:
        label: its name in tables and file names.
        name: one of `catalogue.DATASETS`.
        folder: where it lies.
        truth: COCO JSON with its boxes, where they are not in VOC XML beside the photos.
    """

    label: str
    name: str
    folder: Path
    truth: Path | None = None


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        methods: what makes the results.
        datasets: what they are made of.
        metrics: what scores them, by name.
        output: the folder that takes everything.
        long_side: inputs are scaled down to it, pixels; None for their own size.
        sizes: what happens to results of another size.
        jobs: processes.
        limit: photos per data set at most; None for all.
        detector: for AP; None for none.
        layout: of the detector's file.
        files: weights that metrics need, by the keys the registry states.
    """

    methods: tuple[Method, ...]
    datasets: tuple[DatasetChoice, ...]
    metrics: tuple[str, ...]
    output: Path
    long_side: int | None = None
    sizes: SizeRule = "refuse"
    jobs: int = 1
    limit: int | None = None
    detector: str | None = None
    layout: DetectorLayout = "auto"
    files: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_repeats([method.label for method in self.methods], "method", "LABEL=SOURCE")
        _refuse_repeats([d.label for d in self.datasets], "data set", "LABEL:NAME=DIR")

    def picture(self, method: str, dataset: str, photo: str) -> Path:
        """Where the result of a method lies."""
        return self.output / "results" / file_name(method) / file_name(dataset) / f"{photo}.png"

    def hazy(self, dataset: str, photo: str) -> Path:
        """Where a prepared input lies."""
        return self.output / "inputs" / file_name(dataset) / f"{photo}.png"

    def reference(self, dataset: str, photo: str) -> Path:
        """Where a prepared clear view lies."""
        return self.output / "references" / file_name(dataset) / f"{photo}.png"


def provenance_of(plan: Plan, facts: Mapping[str, MetricFacts], command: str) -> dict[str, Any]:
    """What another person needs to get the same numbers."""
    side = "as they are" if plan.long_side is None else f"long side at most {plan.long_side}"
    versions = {name: found for name in PACKAGES if (found := installed_version(name))}
    content: dict[str, Any] = {
        "protocol": f"8-bit RGB PNG, {side}, reduced by area averaging, scored as saved",
        "methods": {
            m.label: " ".join(filter(None, (m.kind, m.code, m.source, m.checksum)))
            for m in plan.methods
        },
        "metrics": {name: entry.version for name, entry in facts.items()},
        "data sets": {d.label: f"{d.name} in {d.folder}" for d in plan.datasets},
        "versions": {"python": platform.python_version(), **versions},
    }
    if plan.detector is not None:
        content["detector"] = plan.detector
    if command:
        content["command"] = command
    return content


def parse_dataset(text: str) -> DatasetChoice:
    """A data set, ``LABEL:NAME=DIR`` or ``NAME=DIR``, or a plain folder, ``LABEL=DIR`` or ``DIR``.

    Raises:
        ConfigurationError: no folder of that name.
        DataError: no data set of that name.
    """
    head, separator, rest = text.partition("=")
    whole = existing(text)
    if not separator or (whole is not None and whole.is_dir()):
        folder = user_path(text)
        label, name = folder_name(folder) or "folder", "folder"
    else:
        label, colon, name = head.rpartition(":")
        folder = user_path(rest)
        if not colon and name not in DATASETS:
            _refuse_slip(name)
            label, name = name, "folder"
        label = label or name
    dataset_card(name)
    if existing(str(folder)) is None or not folder.is_dir():
        raise ConfigurationError(f"{folder}: no such folder; write NAME=DIR (corun data list)")
    return DatasetChoice(escaped(same_name(label)), name, folder)


def _refuse_slip(name: str) -> None:
    """A label that is nearly the name of a data set is rather a slip of the pen."""
    for meant in get_close_matches(name, DATASETS, 1, 0.8):
        raise ConfigurationError(
            f"{name}: no data set of that name; write {meant}=DIR, "
            f"or {name}:folder=DIR for a plain folder"
        )


def file_name(label: str) -> str:
    """A label as one part of a path, visible and inside its folder, whatever it holds.

    Labels that become too long for a file system end in digits of their own.
    """
    name = re.sub(r"[^\w.+-]+", "_", same_name(label)).lstrip("._").rstrip("_") or "_"
    if len(name.encode()) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME // 4]}-{checksum(label.encode())[:8]}"
    return name


def _refuse_repeats(labels: list[str], what: str, form: str) -> None:
    names = [file_name(label).casefold() for label in labels]  # one name on some disks
    for label, name in zip(labels, names, strict=True):
        if names.count(name) > 1:
            raise ConfigurationError(f"{label}: two of one {what} label; give each its own: {form}")
