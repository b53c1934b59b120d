"""Average precision of detections: VOC 2007 (11 points), VOC (all points) and COCO.

What dehazing is worth to a machine: the same detector on the same photos, before and after. All
values are in [0,1], higher is better.

Sources: Everingham et al., "The Pascal VOC challenge", IJCV 2010, section 4.2, and the development
kit of 2010 and later for all points; Lin et al., "Microsoft COCO", ECCV 2014, and the evaluation
described at cocodataset.org.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from corun.data.datasets.boxes import TrueBoxes

Style = Literal["voc07", "voc", "coco"]
"""11 points, all points (both at IoU 0.5), or 101 points averaged over IoU 0.50, 0.55 … 0.95."""

COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
COCO_MOST = 100
"""COCO counts this many detections of a class in a photo, the surest ones."""

_VOC_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


@dataclass(frozen=True)
class Detections:
    """What a detector found in one photo.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels of the photo.
        scores: confidence, [0,1].
        labels: class names.
    """

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, "n"]
    labels: tuple[str, ...]


class Matches(NamedTuple):
    """The detections of one class in one photo against its objects, surest first.

    Attributes:
        scores: of the detections.
        hits: whether each is the first to find its object.
        ignored: whether each counts neither way.
        objects: objects to be found, without the ignored ones.
    """

    scores: Float[np.ndarray, "n"]
    hits: Bool[np.ndarray, "n"]
    ignored: Bool[np.ndarray, "n"]
    objects: int


def coco_name(label: str) -> str:
    """COCO's name of a class, whether written as in VOC (motorbike) or as in COCO."""
    return _VOC_NAMES.get(label.lower(), label.lower())


def overlaps(
    first: Float[np.ndarray, "n 4"], second: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, "n m"]:
    """Intersection over union of every pair, [0,1]; boxes x1, y1, x2, y2."""
    shared = _intersections(first, second)
    union = _areas(first)[:, None] + _areas(second)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def match_voc(
    truth: TrueBoxes, found: Detections, label: str, *, threshold: float = 0.5
) -> Matches:
    """VOC's assignment: each detection to the object it overlaps most, the surest first.

    A second detection of an object is wrong, even where another object overlaps it enough. A
    detection of a difficult object does not count.
    """
    boxes, ignorable = _objects(truth, label)
    frames, scores = _found(found, label)
    hits, ignored = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    taken = np.zeros(len(boxes), bool)
    if len(boxes):
        every = overlaps(frames, boxes)
        for index, row in enumerate(every):
            best = int(row.argmax())
            if row[best] < threshold:
                continue
            if ignorable[best]:
                ignored[index] = True
            elif not taken[best]:
                hits[index] = taken[best] = True
    return Matches(scores, hits, ignored, int((~ignorable).sum()))


def match_coco(truth: TrueBoxes, found: Detections, label: str, *, threshold: float) -> Matches:
    """COCO's assignment: each detection to the free object it overlaps most, the surest first.

    Ignored objects (crowds) come into play only where no other is free; they take any number of
    detections, and the overlap with one is the share of the detection inside it.
    """
    boxes, ignorable = _objects(truth, label)
    frames, scores = _found(found, label)
    frames, scores = frames[:COCO_MOST], scores[:COCO_MOST]
    order = np.argsort(ignorable, kind="stable")
    boxes, ignorable = boxes[order], ignorable[order]
    every = overlaps(frames, boxes)
    if ignorable.any() and len(frames):
        areas = np.maximum(_areas(frames), 1e-12)[:, None]
        every[:, ignorable] = _intersections(frames, boxes[ignorable]) / areas
    hits, ignored = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    taken = np.zeros(len(boxes), bool)
    for index, row in enumerate(every):
        best, most = -1, min(threshold, 1 - 1e-10)
        for candidate, overlap in enumerate(row):
            if taken[candidate] and not ignorable[candidate]:
                continue
            if best >= 0 and not ignorable[best] and ignorable[candidate]:
                break
            if overlap >= most:
                best, most = candidate, overlap
        if best >= 0:
            taken[best] = True
            hits[index], ignored[index] = not ignorable[best], ignorable[best]
    return Matches(scores, hits, ignored, int((~ignorable).sum()))


def area_under(
    precision: Float[np.ndarray, "n"], recall: Float[np.ndarray, "n"], style: Style
) -> float:
    """The average of the interpolated precision p(r) = max over recall ≥ r of the precision.

    voc07: the mean of p at r = 0, 0.1 … 1. voc: ∫ p(r) dr. coco: the mean at r = 0, 0.01 … 1.
    """
    if len(precision) == 0:
        return 0.0
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if style == "voc":
        steps = np.diff(recall, prepend=0.0)
        return float((steps * envelope).sum())
    points = np.linspace(0, 1, 11 if style == "voc07" else 101)
    first = np.searchsorted(recall, points, side="left")
    padded = np.append(envelope, 0.0)
    return float(padded[first].mean())


def matches_of(
    truth: Mapping[str, TrueBoxes],
    found: Mapping[str, Detections],
    label: str,
    style: Style,
    threshold: float = 0.5,
) -> list[Matches]:
    """One `Matches` for each photo of `truth`, in its order."""
    match = match_coco if style == "coco" else match_voc
    return [
        match(objects, found.get(name, NOTHING), label, threshold=threshold)
        for name, objects in truth.items()
    ]


def classes_of(truth: Mapping[str, TrueBoxes]) -> list[str]:
    """The classes photos hold, by COCO's names, sorted."""
    return sorted({coco_name(label) for objects in truth.values() for label in objects.labels})


NOTHING = Detections(np.zeros((0, 4)), np.zeros(0), ())
"""What a detector says of an empty street."""


def _objects(
    truth: TrueBoxes, label: str
) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, "n"]]:
    chosen = np.array([coco_name(name) == coco_name(label) for name in truth.labels], dtype=bool)
    return truth.boxes[chosen], truth.ignored[chosen]


def _found(
    found: Detections, label: str
) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, "n"]]:
    chosen = np.array([coco_name(name) == coco_name(label) for name in found.labels], dtype=bool)
    boxes, scores = found.boxes[chosen], found.scores[chosen]
    order = np.argsort(-scores, kind="stable")
    return boxes[order], scores[order]


def _areas(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
    extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(extent[:, 0] * extent[:, 1])


def _intersections(
    first: Float[np.ndarray, "n 4"], second: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, "n m"]:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    extent = np.maximum(high - low, 0)
    return np.asarray(extent[..., 0] * extent[..., 1], dtype=np.float64)
