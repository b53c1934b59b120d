"""Average precision over a data set with intervals, from detections kept per picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from corun.data.datasets.boxes import TrueBoxes
from corun.evaluation.report import MetricFacts, SetScore
from corun.evaluation.resampling import bootstrap
from corun.metrics.detection import (
    COCO_THRESHOLDS,
    Detections,
    Style,
    area_under,
    classes_of,
    matches_of,
)

DETECTION_METRICS: dict[str, Style] = {"map-voc07": "voc07", "map-voc": "voc", "map-coco": "coco"}
RESAMPLES = 500

_SUMMARIES = {
    "map-voc07": "mAP at IoU 0.5, 11 points (VOC 2007)",
    "map-voc": "mAP at IoU 0.5, all points (VOC 2010 and later)",
    "map-coco": "mAP over IoU 0.50 to 0.95, 101 points (COCO)",
}


def detection_facts(name: str, detector_version: str) -> MetricFacts:
    """What a report says about an AP."""
    return MetricFacts(name, f"1-{detector_version}", "higher", 3, _SUMMARIES[name])


def scaled_boxes(truth: TrueBoxes, size: tuple[int, int], drawn_on: tuple[int, int]) -> TrueBoxes:
    """The boxes of a photo, for a scaled copy of it.

    Args:
        truth: as annotated.
        size: width and height of the copy.
        drawn_on: of the photo, used where the annotation does not say its own.
    """
    width, height = truth.size or drawn_on
    factor = np.array([size[0] / width, size[1] / height] * 2)
    return TrueBoxes(truth.boxes * factor, truth.labels, truth.ignored, size)


def set_scores(
    dataset: str,
    method: str,
    truth: Mapping[str, TrueBoxes],
    found: Mapping[str, Detections],
    metrics: list[str],
) -> list[SetScore]:
    """AP of one method on one data set, over the photos it has a result for.

    Args:
        dataset: its label.
        method: its label.
        truth: photo → boxes in the pixels of the picture that was looked at.
        found: photo → detections; a photo absent here failed, and is left out, not counted as
            a street without cars.
        metrics: of `DETECTION_METRICS`.
    """
    seen = {photo: boxes for photo, boxes in truth.items() if photo in found}
    scores = []
    for metric in metrics:
        style = DETECTION_METRICS[metric]
        curves = {label: _curves(seen, found, label, style) for label in classes_of(seen)}
        every = np.ones(len(seen))
        parts = {label: _average(curve, every, style) for label, curve in curves.items()}

        def mean_of(
            indices: Int[np.ndarray, "n"],
            curves: dict[str, list[_Curve]] = curves,
            style: Style = style,
        ) -> float:
            weights = np.bincount(indices, minlength=len(seen)).astype(np.float64)
            return _mean([_average(curve, weights, style) for curve in curves.values()])

        interval = bootstrap(mean_of, len(seen), resamples=RESAMPLES)
        scores.append(
            SetScore(
                dataset, method, metric, _mean(list(parts.values())), interval, len(seen), parts
            )
        )
    return scores


def detections_to_json(found: Detections) -> dict[str, Any]:
    """For the cache."""
    return {
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "labels": list(found.labels),
    }


def detections_from_json(content: dict[str, Any]) -> Detections:
    """From the cache."""
    return Detections(
        np.asarray(content["boxes"], dtype=np.float64).reshape(-1, 4),
        np.asarray(content["scores"], dtype=np.float64),
        tuple(content["labels"]),
    )


class _Curve(NamedTuple):
    """Detections of all photos, surest first: hit or not, and of which photo; objects by photo."""

    hits: Num[np.ndarray, "n"]
    photos: Int[np.ndarray, "n"]
    objects: Int[np.ndarray, "p"]


def _curves(
    truth: Mapping[str, TrueBoxes], found: Mapping[str, Detections], label: str, style: Style
) -> list[_Curve]:
    """One for each overlap that counts."""
    curves = []
    for threshold in COCO_THRESHOLDS if style == "coco" else (0.5,):
        matches = matches_of(truth, found, label, style, threshold)
        photos = np.concatenate(
            [np.full(int((~m.ignored).sum()), index) for index, m in enumerate(matches)]
        ).astype(np.int64)
        scores = np.concatenate([m.scores[~m.ignored] for m in matches])
        hits = np.concatenate([m.hits[~m.ignored] for m in matches]).astype(np.float64)
        order = np.argsort(-scores, kind="stable")
        objects = np.array([m.objects for m in matches], dtype=np.int64)
        curves.append(_Curve(hits[order], photos[order], objects))
    return curves


def _average(curves: list[_Curve], weights: Float[np.ndarray, "p"], style: Style) -> float:
    """AP where photo i is there weights[i] times."""
    values = []
    for curve in curves:
        objects = float((weights * curve.objects).sum())
        if objects == 0:
            return float("nan")
        times = weights[curve.photos]
        present = times > 0
        right = np.cumsum((times * curve.hits)[present])
        precision = right / np.cumsum(times[present])
        values.append(area_under(precision, right / objects, style))
    return float(np.mean(values))


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
