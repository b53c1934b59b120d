"""The detector adapters: on real photos, on ONNX files whose answer is known, and on bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corun.data.datasets.boxes import read_voc
from corun.errors import ConfigurationError, WeightsError
from corun.metrics import detection_models
from corun.metrics.detection import Detections, overlaps
from corun.metrics.detection_models import (
    COCO_CLASSES,
    YoloV8Detector,
    YoloxDetector,
    load_detector,
    non_maximum_suppression,
)
from plain_average_precision import mean_average_precision

ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
onnx = pytest.importorskip("onnx", reason="needs onnx to make detectors of known answers")


def save_constant_network(path: Path, answer: np.ndarray, size: int, names: str = "") -> None:
    """An ONNX file that answers the same to every picture: answer + 0·mean(picture)."""
    from onnx import TensorProto, helper, numpy_helper

    constants = [
        numpy_helper.from_array(answer.astype(np.float32), "answer"),
        numpy_helper.from_array(np.float32(0), "zero"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["answer", "nothing"], ["output"]),
    ]
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, list(answer.shape))
    graph = helper.make_graph(nodes, "constant", [picture], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if names:
        helper.set_model_props(model, {"names": names})
    onnx.save(model, path)


def test_yolov8_layout_is_undone_exactly(tmp_path: Path) -> None:
    """A 64×32 picture in a 64×64 input lies 16 rows down, at scale 1."""
    answer = np.zeros((1, 6, 3), np.float32)
    answer[0, :4, 0] = (20, 30, 10, 8)  # centre (20, 30) → row 14 of the picture
    answer[0, 5, 0] = 0.9
    answer[0, :4, 1] = (21, 30, 10, 8)  # overlaps the first, less sure
    answer[0, 5, 1] = 0.5
    path = tmp_path / "eight.onnx"
    save_constant_network(path, answer, 64, "{0: 'person', 1: 'car'}")
    detector = load_detector(path)
    assert isinstance(detector, YoloV8Detector)
    found = detector(np.zeros((32, 64, 3), np.uint8))
    assert found.labels == ("car",)
    assert found.boxes == pytest.approx(np.array([[15, 10, 25, 18]]))
    assert found.scores == pytest.approx([0.9])


def test_kept_detections_of_older_code_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "eight.onnx"
    save_constant_network(path, np.zeros((1, 6, 3), np.float32), 64, "{0: 'person', 1: 'car'}")
    before = load_detector(path).version
    monkeypatch.setattr(detection_models, "DETECTOR_VERSION", 99)
    assert load_detector(path).version != before


def test_yolox_raw_layout_is_decoded(tmp_path: Path) -> None:
    """Input 64: 8·8 + 4·4 + 2·2 rows. Row 64 + 5 is cell (1, 1) of stride 16."""
    answer = np.zeros((1, 84, 85), np.float32)
    answer[0, 69, :4] = (0.5, 0.25, np.log(2), np.log(1))
    answer[0, 69, 4], answer[0, 69, 5 + COCO_CLASSES.index("bus")] = 0.8, 0.5
    path = tmp_path / "x.onnx"
    save_constant_network(path, answer, 64)
    detector = load_detector(path)
    assert isinstance(detector, YoloxDetector)
    found = detector(np.zeros((128, 64, 3), np.uint8))  # scale 1/2, top left
    assert found.labels == ("bus",)
    assert found.scores == pytest.approx([0.4])
    # centre (24, 20), extent (32, 16), doubled and clipped to 64 pixels in width
    assert found.boxes == pytest.approx(np.array([[16, 24, 64, 56]]))


def test_yolox_in_real_fog(shared: Path) -> None:
    """On photos it finds cars where cars are; all boxes lie inside, and no two are one."""
    detector = load_detector(shared / "weights" / "yolox_nano.onnx")
    truth, found = {}, {}
    for name in ("foggy-074", "haze-027", "mist-137"):
        with Image.open(shared / "data" / "dawn" / "JPEGImages" / f"{name}.jpg") as image:
            pixels = np.asarray(image.convert("RGB"))
        truth[name] = read_voc(shared / "data" / "dawn" / "Annotations" / f"{name}.xml")
        found[name] = detector(pixels)
        height, width = pixels.shape[:2]
        assert (found[name].boxes >= 0).all()
        assert (found[name].boxes <= [width, height, width, height]).all()
    mean, per_class = mean_average_precision(truth, found, "voc")
    assert per_class["car"] > 0.2
    assert 0 < mean <= 1


def test_suppression_keeps_the_surest() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10]], dtype=np.float64)
    assert non_maximum_suppression(boxes, np.array([0.5, 0.9, 0.1]), 0.5) == [1, 2]
    assert non_maximum_suppression(boxes, np.array([0.5, 0.9, 0.1]), 0.99) == [1, 0, 2]
    assert overlaps(boxes, boxes).diagonal() == pytest.approx(1)


class OwnDetector:
    """What a person would write."""

    version = "own-1"

    def __call__(self, image: np.ndarray) -> Detections:
        return Detections(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([0.5]), ("car",))


def test_a_detector_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    detector = load_detector("test_detection_models:OwnDetector")
    assert detector(np.zeros((4, 4, 3), np.uint8)).labels == ("car",)
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        load_detector("test_detection_models:Missing")
    with pytest.raises(ConfigurationError, match="has a text `version`"):
        load_detector("builtins:dict")


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such detector file"):
        load_detector(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match=r"text\.onnx: cannot be loaded as ONNX"):
        load_detector(tmp_path / "text.onnx")
    save_constant_network(tmp_path / "odd.onnx", np.zeros((1, 7), np.float32), 32)
    with pytest.raises(WeightsError, match=r"wrap it as package\.module:function"):
        load_detector(tmp_path / "odd.onnx")
