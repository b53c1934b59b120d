"""Average precision over a data set with intervals, from detections kept per picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from corun.data.datasets.boxes import TrueBoxes
from corun.evaluation.report import MetricFacts, SetComparison, SetScore
from corun.evaluation.resampling import Comparison, percentiles
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

_VOC = "Everingham et al., IJCV 2010"
DETECTION_SUMMARIES = {
    "map-voc07": ("mAP at IoU 0.5, 11 points (VOC 2007)", _VOC),
    "map-voc": ("mAP at IoU 0.5, all points (VOC 2010 and later)", f"{_VOC}, and its later kit"),
    "map-coco": ("mAP over IoU 0.50 to 0.95, 101 points (COCO)", "Lin et al., ECCV 2014"),
}
"""What each measures, and its source."""


def detection_facts(name: str, detector_version: str) -> MetricFacts:
    """What a report says about an AP."""
    summary = "; ".join(DETECTION_SUMMARIES[name])
    return MetricFacts(name, f"1-{detector_version}", "higher", 3, summary)


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
    truth: Mapping[str, TrueBoxes],
    found: Mapping[str, Mapping[str, Detections]],
    metrics: Sequence[str],
    *,
    annotated: Sequence[str] = (),
) -> tuple[list[SetScore], list[SetComparison]]:
    """AP of methods on one data set, each over the photos it has a result for, and of every pair.

    Two methods are compared on the photos both have, drawn anew together: the same draws for both,
    so that hard photos do not count as a difference. The p-value is twice the smaller share of
    draws at or beyond no difference, (k + 1)/(N + 1).

    Args:
        dataset: its label.
        truth: photo → boxes in the pixels of the picture that was looked at.
        found: method → photo → detections; a photo absent here failed, and is left out, not
            counted as a street without cars.
        metrics: of `DETECTION_METRICS`.
        annotated: every photo with boxes, where some of them could not even be read and are not
            in `truth`: they count as failed.
    """
    names = list(truth)
    everything = list(dict.fromkeys([*names, *annotated]))
    seen = {
        method: np.array([i for i, name in enumerate(names) if name in own], dtype=np.int64)
        for method, own in found.items()
    }
    scores, comparisons = [], []
    for metric in metrics:
        style = DETECTION_METRICS[metric]
        sampler = _Sampler(
            {
                method: {c: _curves(truth, own, c, style) for c in classes_of(truth)}
                for method, own in found.items()
            },
            len(names),
            style,
        )
        for method, own in found.items():
            parts = sampler.parts(method, seen[method])
            held = classes_of({names[i]: truth[names[i]] for i in seen[method]})
            draws = sampler.draws(method, seen[method])
            scores.append(
                SetScore(
                    dataset,
                    method,
                    metric,
                    _mean(list(parts.values())),
                    percentiles(draws[~np.isnan(draws)]),
                    len(seen[method]),
                    {label: parts[label] for label in held},
                    tuple(name for name in everything if name not in own),
                )
            )
        for first, second in combinations(found, 2):
            both = np.intersect1d(seen[first], seen[second])
            if len(both):
                comparisons.append(
                    SetComparison(
                        dataset, metric, first, second, sampler.compare(first, second, both)
                    )
                )
    return scores, comparisons


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


class _Sampler:
    """APs of methods over chosen photos, as they are and drawn anew.

    Args:
        curves: method → class → one curve for each overlap that counts.
        photos: how many there are.
        style: how precision is averaged.
    """

    def __init__(
        self, curves: Mapping[str, Mapping[str, list[_Curve]]], photos: int, style: Style
    ) -> None:
        self._curves, self._photos, self._style = curves, photos, style
        self._kept: dict[tuple[str, bytes], Float[np.ndarray, "r"]] = {}

    def parts(self, method: str, chosen: Int[np.ndarray, "k"]) -> dict[str, float]:
        """Class → AP over photos, by their index, with repetition; NaN without an object."""
        weights = np.bincount(chosen, minlength=self._photos).astype(np.float64)
        return {
            label: _average(curves, weights, self._style)
            for label, curves in self._curves[method].items()
        }

    def mean(self, method: str, chosen: Int[np.ndarray, "k"]) -> float:
        """mAP over photos, by their index, with repetition."""
        return _mean(list(self.parts(method, chosen).values()))

    def draws(self, method: str, chosen: Int[np.ndarray, "k"]) -> Float[np.ndarray, "r"]:
        """mAP over as many of the photos, drawn with replacement; the same for all methods."""
        key = (method, chosen.tobytes())
        if key not in self._kept:
            if len(chosen) == 0:
                return np.full(RESAMPLES, np.nan)
            drawn = np.random.default_rng(0).integers(0, len(chosen), (RESAMPLES, len(chosen)))
            self._kept[key] = np.array([self.mean(method, chosen[row]) for row in drawn])
        return self._kept[key]

    def compare(self, first: str, second: str, both: Int[np.ndarray, "k"]) -> Comparison:
        """The difference of two mAPs on the photos both methods have."""
        difference = self.mean(first, both) - self.mean(second, both)
        draws = self.draws(first, both) - self.draws(second, both)
        draws = draws[~np.isnan(draws)]
        beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
        p_value = min(1.0, 2 * (beyond + 1) / (len(draws) + 1)) if len(draws) else float("nan")
        return Comparison(difference, percentiles(draws), p_value, len(both))


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
