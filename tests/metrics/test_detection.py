"""Average precision against hand computation and against faster-coco-eval on the same boxes."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.data.datasets.boxes import TrueBoxes
from corun.metrics.detection import (
    Detections,
    area_under,
    classes_of,
    overlaps,
)
from plain_average_precision import average_precision, mean_average_precision

CLASSES = ("bus", "car", "person")


def truth_of(boxes: list[list[float]], labels: list[str], ignored: list[bool] | None = None):
    flags = np.array(ignored or [False] * len(boxes), dtype=bool)
    return TrueBoxes(np.array(boxes, dtype=np.float64).reshape(-1, 4), tuple(labels), flags)


def found_of(boxes: list[list[float]], scores: list[float], labels: list[str]) -> Detections:
    return Detections(
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(scores, dtype=np.float64),
        tuple(labels),
    )


def random_street(seed: int, photos: int = 12) -> tuple[dict, dict]:
    """Objects, and detections scattered around them, with misses, doubles and inventions."""
    rng = np.random.default_rng(seed)
    truth, found = {}, {}
    for index in range(photos):
        count = int(rng.integers(0, 6))
        corner = rng.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(20, 120, (count, 2))], axis=1)
        labels = [CLASSES[k] for k in rng.integers(0, 3, count)]
        crowd = rng.random(count) < 0.15
        truth[f"p{index}"] = TrueBoxes(boxes, tuple(labels), crowd)
        near = np.repeat(np.arange(count), rng.integers(0, 3, count))
        shaken = boxes[near] + rng.normal(0, 6, (len(near), 4))
        invented = rng.uniform(0, 200, (int(rng.integers(0, 4)), 2))
        invented = np.concatenate([invented, invented + 60], axis=1)
        every = np.concatenate([shaken, invented])
        names = [labels[k] for k in near] + ["car"] * len(invented)
        found[f"p{index}"] = Detections(every, rng.random(len(every)), tuple(names))
    return truth, found


def test_overlap_of_half_shifted_boxes_is_a_third() -> None:
    first = np.array([[0.0, 0.0, 2.0, 2.0]])
    second = np.array([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0], [0.0, 0.0, 2.0, 2.0]])
    assert overlaps(first, second) == pytest.approx(np.array([[1 / 3, 0, 1]]))


def test_three_styles_by_hand() -> None:
    """Four objects; hits at ranks 1, 3 and 4: precision 1, 1/2, 2/3, 3/4 at recall 1/4 … 3/4.

    All points: 1·¼ + ¾·½ = 0.625. Eleven: p = 1 at 0, 0.1, 0.2; ¾ at 0.3 … 0.7; 0 above.
    """
    precision, recall = np.array([1, 1 / 2, 2 / 3, 3 / 4]), np.array([1, 1, 2, 3]) / 4
    assert area_under(precision, recall, "voc") == pytest.approx(0.625)
    assert area_under(precision, recall, "voc07") == pytest.approx((3 + 5 * 0.75) / 11)
    assert area_under(precision, recall, "coco") == pytest.approx((26 + 50 * 0.75) / 101)


def test_a_second_detection_of_an_object_is_wrong() -> None:
    truth = {"a": truth_of([[0, 0, 10, 10], [40, 0, 50, 10]], ["car", "car"])}
    found = {
        "a": found_of(
            [[0, 0, 10, 10], [0, 0, 10, 9], [40, 0, 50, 10]], [0.9, 0.8, 0.7], ["car"] * 3
        )
    }
    # precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1
    assert average_precision(truth, found, "car", "voc") == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_difficult_objects_count_neither_way() -> None:
    truth = {"a": truth_of([[0, 0, 10, 10], [40, 0, 50, 10]], ["car", "car"], [False, True])}
    found = {"a": found_of([[40, 0, 50, 10], [0, 0, 10, 10]], [0.9, 0.8], ["car", "car"])}
    assert average_precision(truth, found, "car", "voc") == 1
    assert average_precision(truth, {}, "car", "voc") == 0


def test_voc_and_coco_names_are_one_class() -> None:
    truth = {"a": truth_of([[0, 0, 10, 10]], ["motorbike"])}
    found = {"a": found_of([[0, 0, 10, 10]], [0.9], ["motorcycle"])}
    assert classes_of(truth) == ["motorcycle"]
    assert mean_average_precision(truth, found, "voc") == (1.0, {"motorcycle": 1.0})


def test_no_object_no_precision() -> None:
    truth = {"a": truth_of([], [])}
    assert np.isnan(average_precision(truth, {}, "car", "voc"))
    assert np.isnan(mean_average_precision(truth, {}, "coco")[0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_precision_is_bounded_and_perfect_answers_are_perfect(seed: int) -> None:
    truth, found = random_street(seed, photos=4)
    perfect = {
        name: Detections(t.boxes, np.full(len(t.labels), 0.9), t.labels)
        for name, t in truth.items()
    }
    for style in ("voc07", "voc", "coco"):
        for label in classes_of(truth):
            value = average_precision(truth, found, label, style)
            assert np.isnan(value) or 0 <= value <= 1
            best = average_precision(truth, perfect, label, style)
            assert np.isnan(best) or best == pytest.approx(1)


def coco_reference(truth: dict, found: dict) -> tuple[dict[str, float], dict[str, float]]:
    """AP and AP50 for each class by faster-coco-eval."""
    from faster_coco_eval import COCO, COCOeval_faster

    images = {name: index + 1 for index, name in enumerate(truth)}
    content = {
        "images": [
            {"id": k, "file_name": n, "width": 640, "height": 640} for n, k in images.items()
        ],
        "categories": [{"id": k + 1, "name": n} for k, n in enumerate(CLASSES)],
        "annotations": [],
    }
    for name, objects in truth.items():
        for box, label, crowd in zip(objects.boxes, objects.labels, objects.ignored, strict=True):
            x, y, right, bottom = box.tolist()
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": images[name],
                    "category_id": CLASSES.index(label) + 1,
                    "bbox": [x, y, right - x, bottom - y],
                    "area": (right - x) * (bottom - y),
                    "iscrowd": int(crowd),
                }
            )
    answers = []
    for name, detections in found.items():
        for box, score, label in zip(
            detections.boxes, detections.scores, detections.labels, strict=True
        ):
            x, y, right, bottom = box.tolist()
            answers.append(
                {
                    "image_id": images[name],
                    "category_id": CLASSES.index(label) + 1,
                    "bbox": [x, y, right - x, bottom - y],
                    "score": float(score),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(content)
        evaluation = COCOeval_faster(reference, reference.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]  # threshold, recall, class, area, most
    average, at_half = {}, {}
    for index, name in enumerate(CLASSES):
        values = precision[:, :, index, 0, -1]
        if (values > -1).any():
            average[name] = float(values[values > -1].mean())
            at_half[name] = float(values[0].mean())
    return average, at_half


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_faster_coco_eval(seed: int) -> None:
    pytest.importorskip("faster_coco_eval", reason="needs faster-coco-eval")
    truth, found = random_street(seed)
    average, _ = coco_reference(truth, found)
    assert average
    for label, value in average.items():
        assert average_precision(truth, found, label, "coco") == pytest.approx(value, abs=1e-9)


def test_voc_is_near_coco_at_the_same_overlap() -> None:
    """The same boxes at IoU 0.5: integral and 101 points differ by the sampling only."""
    pytest.importorskip("faster_coco_eval", reason="needs faster-coco-eval")
    truth, found = random_street(3, photos=60)
    for name, objects in truth.items():
        truth[name] = TrueBoxes(objects.boxes, objects.labels, np.zeros(len(objects.labels), bool))
    _, at_half = coco_reference(truth, found)
    for label, value in at_half.items():
        assert average_precision(truth, found, label, "voc") == pytest.approx(value, abs=0.02)
        assert average_precision(truth, found, label, "voc07") == pytest.approx(value, abs=0.08)


def test_voc_xml_of_dawn_feeds_in(shared: Path) -> None:
    from corun.data.datasets.boxes import read_voc

    truth = {p.stem: read_voc(p) for p in sorted((shared / "data/dawn/Annotations").glob("*.xml"))}
    assert classes_of(truth) == ["bicycle", "bus", "car", "motorcycle", "person", "truck"]
