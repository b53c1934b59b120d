"""Average precision of whole data sets, the plain way, for tests of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from corun.data.datasets.boxes import TrueBoxes
from corun.metrics.detection import (
    COCO_THRESHOLDS,
    Detections,
    Matches,
    Style,
    area_under,
    classes_of,
    matches_of,
)


def average_precision(
    truth: Mapping[str, TrueBoxes], found: Mapping[str, Detections], label: str, style: Style
) -> float:
    """AP of one class over photos.

    Args:
        truth: photo → its objects.
        found: photo → what was detected; a photo of `truth` that is absent here has nothing.
        label: the class.
        style: how precision is averaged.

    Returns:
        [0,1]; NaN where no photo holds an object of the class.
    """
    thresholds = COCO_THRESHOLDS if style == "coco" else (0.5,)
    values = [
        average_of_matches(matches_of(truth, found, label, style, threshold), style)
        for threshold in thresholds
    ]
    return float(np.mean(values))


def average_of_matches(matches: Sequence[Matches], style: Style) -> float:
    """AP of photos already matched; NaN without an object."""
    if sum(match.objects for match in matches) == 0:
        return float("nan")
    return area_under(*precision_and_recall(matches), style)


def mean_average_precision(
    truth: Mapping[str, TrueBoxes], found: Mapping[str, Detections], style: Style
) -> tuple[float, dict[str, float]]:
    """mAP, and AP for each class the photos hold.

    Returns:
        The mean over the classes, [0,1], NaN without any object; and class → AP.
    """
    per_class = {
        label: average_precision(truth, found, label, style) for label in classes_of(truth)
    }
    values = [value for value in per_class.values() if not np.isnan(value)]
    return (float(np.mean(values)) if values else float("nan")), per_class


def precision_and_recall(
    matches: Sequence[Matches],
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Precision and recall when the detections of all photos are let in, the surest first."""
    objects = sum(match.objects for match in matches)
    if not matches or objects == 0:
        return np.zeros(0), np.zeros(0)
    counted = [~match.ignored for match in matches]
    scores = np.concatenate([m.scores[c] for m, c in zip(matches, counted, strict=True)])
    hits = np.concatenate([m.hits[c] for m, c in zip(matches, counted, strict=True)])
    right = np.cumsum(hits[np.argsort(-scores, kind="stable")]).astype(np.float64)
    return right / np.arange(1, len(right) + 1), right / objects
