"""What a comparison consists of, and how a person writes it down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from corun.data.datasets.catalogue import dataset_card
from corun.errors import ConfigurationError
from corun.evaluation.methods import Method, existing
from corun.evaluation.prepared_pictures import SizeRule
from corun.metrics.detection_models import DetectorLayout


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


def parse_dataset(text: str) -> DatasetChoice:
    """A data set from ``LABEL:NAME=DIR``, ``NAME=DIR`` or ``DIR`` (a plain folder).

    Raises:
        ConfigurationError: no folder of that name.
        DataError: no data set of that name.
    """
    head, separator, rest = text.partition("=")
    whole = existing(text)
    if not separator or (whole is not None and whole.is_dir()):
        folder = Path(text)
        label, name = folder.name or "folder", "folder"
    else:
        label, _, name = head.rpartition(":")
        folder = Path(rest)
        label = label or name
    dataset_card(name)
    if existing(str(folder)) is None or not folder.is_dir():
        raise ConfigurationError(f"{folder}: no such folder; write NAME=DIR (corun data list)")
    return DatasetChoice(label, name, folder)


def file_name(label: str) -> str:
    """A label as the name of a folder."""
    return re.sub(r"[^\w.+-]+", "_", label).strip("_") or "_"


def _refuse_repeats(labels: list[str], what: str, form: str) -> None:
    names = [file_name(label) for label in labels]
    for label, name in zip(labels, names, strict=True):
        if names.count(name) > 1:
            raise ConfigurationError(f"{label}: two of one {what} label; give each its own: {form}")
