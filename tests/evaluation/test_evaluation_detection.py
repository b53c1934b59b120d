"""Average precision before and after: boxes, pairs, weights and failures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluation_pictures import save_levels

from corun.data.datasets.boxes import TrueBoxes
from corun.evaluation.detection_scores import scaled_boxes, set_scores
from corun.evaluation.methods import parse_method
from corun.evaluation.plan import Plan, parse_dataset
from corun.evaluation.runner import evaluate
from corun.metrics.detection import Detections
from plain_average_precision import mean_average_precision


class BrightDetector:
    """Finds one car where the picture is bright: its bounding box."""

    version = "bright-1"

    def __call__(self, image: np.ndarray) -> Detections:
        rows, columns = np.nonzero(image.mean(axis=2) > 200)
        if len(rows) == 0:
            return Detections(np.zeros((0, 4)), np.zeros(0), ())
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return Detections(np.array([box], dtype=np.float64), np.array([0.9]), ("car",))


def test_detection_before_and_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two streets of one bright car each; the method dims the car of one."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    content = {"categories": [{"id": 1, "name": "car"}], "images": [], "annotations": []}
    for index in range(2):
        street = np.full((40, 80, 3), 50, np.uint8)
        street[10:30, 20:60] = 250
        save_levels(tmp_path / "streets" / f"s{index}.png", street)
        if index:
            street[10:30, 20:60] = 60
        save_levels(tmp_path / "dim" / f"s{index}.png", street[::2, ::2].copy())
        content["images"].append(
            {"id": index, "file_name": f"s{index}.png", "width": 80, "height": 40}
        )
        content["annotations"].append(
            {"image_id": index, "category_id": 1, "bbox": [20, 10, 40, 20]}
        )
    (tmp_path / "truth.json").write_text(json.dumps(content))
    from dataclasses import replace

    choice = replace(parse_dataset(f"folder={tmp_path / 'streets'}"), truth=tmp_path / "truth.json")
    plan = Plan(
        methods=(parse_method("input"), parse_method(f"dim={tmp_path / 'dim'}")),
        datasets=(choice,),
        metrics=("map-voc", "map-coco"),
        output=tmp_path / "o",
        long_side=40,
        detector="test_evaluation_detection:BrightDetector",
    )
    save_levels(tmp_path / "streets" / "empty.png", np.zeros((40, 80, 3), np.uint8))
    save_levels(tmp_path / "dim" / "empty.png", np.zeros((20, 40, 3), np.uint8))
    report = evaluate(plan)
    table = report.table("folder")
    # the street without an annotation counts nowhere
    assert [table[m]["map-voc"].failed for m in report.methods] == [0, 0]
    assert report.comparisons("folder", "map-voc")["hazy input", "dim"].difference == 0.5
    assert table["hazy input"]["map-voc"].value == 1
    assert table["hazy input"]["map-coco"].value > 0.6
    assert table["dim"]["map-voc"].value == 0.5
    assert table["hazy input"]["map-voc"].place == 1


def test_boxes_follow_their_picture() -> None:
    truth = TrueBoxes(np.array([[10.0, 20, 30, 40]]), ("car",), np.array([False]), (100, 50))
    assert scaled_boxes(truth, (50, 25), (1, 1)).boxes.tolist() == [[5, 10, 15, 20]]


def streets(count: int) -> tuple[dict[str, TrueBoxes], dict[str, Detections]]:
    """Each street has one car; a detector finds it on even streets only."""
    box = np.array([[0.0, 0, 10, 10]])
    truth = {f"s{i}": TrueBoxes(box, ("car",), np.zeros(1, bool)) for i in range(count)}
    off = box + 50
    found = {
        f"s{i}": Detections(box if i % 2 == 0 else off, np.array([0.9]), ("car",))
        for i in range(count)
    }
    return truth, found


def test_pairs_share_their_draws() -> None:
    truth, found = streets(12)
    better = dict(found) | {"s1": found["s0"]}
    scores, (comparison,) = set_scores("d", truth, {"a": found, "b": better}, ["map-voc"])
    alone = scores[0].interval.high - scores[0].interval.low
    kept = comparison.comparison
    assert kept.difference == pytest.approx(scores[0].value - scores[1].value)
    assert kept.interval.high <= 0  # in no draw is finding one car more a loss
    assert kept.interval.high - kept.interval.low < alone
    _, (equal,) = set_scores("d", truth, {"a": found, "b": dict(found)}, ["map-voc"])
    assert equal.comparison[:3] == (0, (0, 0), 1)


def test_failures_of_ap_are_of_annotated_photos() -> None:
    truth, found = streets(4)
    del found["s3"]
    (score,), _ = set_scores("d", truth, {"a": found}, ["map-voc"], annotated=[*truth, "broken"])
    assert (score.photos, score.missing) == (3, ("s3", "broken"))
    only = {"s0": found["s0"]}
    _, (comparison,) = set_scores("d", truth, {"a": found, "b": only}, ["map-voc"])
    assert comparison.comparison.photos == 1
    scores, none = set_scores("d", truth, {"a": found, "b": {}}, ["map-voc"])
    assert none == []
    assert np.isnan(scores[1].value)


def test_weighted_precision_is_the_plain_one_for_equal_weights() -> None:
    rng = np.random.default_rng(7)
    truth, found = {}, {}
    for index in range(20):
        corner = rng.uniform(0, 50, (3, 2))
        boxes = np.concatenate([corner, corner + 15], axis=1)
        truth[f"{index}"] = TrueBoxes(boxes, ("car", "bus", "car"), np.zeros(3, bool))
        shaken = boxes + rng.normal(0, 3, boxes.shape)
        found[f"{index}"] = Detections(shaken, rng.random(3), ("car", "bus", "bus"))
    for metric, style in (("map-voc07", "voc07"), ("map-voc", "voc"), ("map-coco", "coco")):
        ((score,), _) = set_scores("d", truth, {"m": found}, [metric])
        mean, per_class = mean_average_precision(truth, found, style)
        assert score.value == pytest.approx(mean)
        assert score.parts == pytest.approx(per_class)
        assert score.interval.low <= score.value <= score.interval.high
