"""Detectors behind one call: ONNX files of two common layouts, or any Python object.

A detector of another kind is a Python object with the members of `Detector`; name a function that
makes one as ``package.module:function`` where a detector is asked for.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from corun.errors import ConfigurationError, MissingExtraError, WeightsError
from corun.files import checksum, user_path
from corun.metrics.detection import Detections, overlaps

DetectorLayout = Literal["auto", "yolox", "yolov8"]

DETECTOR_VERSION = 2
"""Raised when the same file finds other boxes in the same picture (scaling, decoding, overlap):
kept detections of the old code are not used."""

# fmt: off
COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat",
    "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack",
    "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball",
    "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket",
    "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair",
    "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
"""The 80 classes in the order of common COCO detectors."""


@runtime_checkable
class Detector(Protocol):
    """What is asked of a detector.

    Attributes:
        version: changes whenever its answers may change; cached answers are kept under it.
    """

    version: str

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Detections:
        """The objects in an RGB picture, boxes in its pixels."""
        ...


class _OnnxDetector:
    """An ONNX file of one layout.

    Args:
        path: the file.
        least_score: surer detections are kept; low, because AP looks at the whole curve.
        most_overlap: of two of a class overlapping more, the surer is kept.

    Raises:
        WeightsError: no ONNX file of this layout.
        MissingExtraError: onnxruntime is not installed.
    """

    layout: str

    def __init__(self, path: Path, least_score: float, most_overlap: float) -> None:
        self._session, self._size = _session(path)
        self._least, self._most, self._path = least_score, most_overlap, path
        self.classes = _class_names(self._session)
        digits = checksum(path)[:12]
        self.version = f"{self.layout}-{DETECTOR_VERSION}-{digits}-{least_score}-{most_overlap}"


class YoloxDetector(_OnnxDetector):
    """A YOLOX ONNX file: letterboxed top left on 114, BGR 0–255; raw or decoded output.

    Each output row is centre, extent, objectness and class probabilities; the raw form holds
    offsets to a grid of strides 8, 16, 32 and logarithms of extents.

    Args:
        path: the file, input (1,3,h,w), output (1,n,5+classes).
    """

    layout = "yolox"

    def __init__(
        self, path: Path, *, least_score: float = 0.01, most_overlap: float = 0.65
    ) -> None:
        super().__init__(path, least_score, most_overlap)
        self._grid = _yolox_grid(self._size)

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Detections:
        """The objects in an RGB picture, boxes in its pixels."""
        canvas, scale, _ = _letterbox(image, self._size, centred=False)
        batch = np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32)
        rows = _run(self._session, batch)[0].astype(np.float64)
        if rows.ndim != 2 or rows.shape[1] != 5 + len(self.classes):
            raise WeightsError(
                f"{self._path}: answers {rows.shape}, YOLOX answers (n, {5 + len(self.classes)}); "
                "give the layout of the file"
            )
        if len(rows) == len(self._grid) and np.abs(rows[:, :2]).max() < max(self._size) / 4:
            stride = self._grid[:, 2:]
            rows[:, :2] = (rows[:, :2] + self._grid[:, :2]) * stride
            rows[:, 2:4] = np.exp(rows[:, 2:4]) * stride
        probabilities = rows[:, 4:5] * rows[:, 5:]
        boxes = _corners(rows[:, :4]) / scale
        return _select(boxes, probabilities, self.classes, image, self._least, self._most)


class YoloV8Detector(_OnnxDetector):
    """An ONNX file of the YOLOv8 and YOLO11 layout: letterboxed in the middle on 114, RGB 0–1.

    Each output column is centre, extent in pixels of the input, and class probabilities.

    Args:
        path: the file, input (1,3,h,w), output (1,4+classes,n).
    """

    layout = "yolov8"

    def __init__(
        self, path: Path, *, least_score: float = 0.001, most_overlap: float = 0.7
    ) -> None:
        super().__init__(path, least_score, most_overlap)

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Detections:
        """The objects in an RGB picture, boxes in its pixels."""
        canvas, scale, offset = _letterbox(image, self._size, centred=True)
        batch = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        columns = _run(self._session, batch)[0].astype(np.float64)
        if columns.ndim != 2 or columns.shape[0] != 4 + len(self.classes):
            raise WeightsError(
                f"{self._path}: answers {columns.shape}, this layout answers "
                f"({4 + len(self.classes)}, n); give the layout of the file"
            )
        boxes = (_corners(columns[:4].T) - np.tile(offset, 2)) / scale
        return _select(boxes, columns[4:].T, self.classes, image, self._least, self._most)


def load_detector(source: str | Path, layout: DetectorLayout = "auto") -> Detector:
    """Makes a detector.

    Args:
        source: an ONNX file, or ``package.module:function`` of a function without arguments.
        layout: of the file; "auto" looks at the shape of its output.

    Raises:
        WeightsError: missing, unreadable, or no known layout.
        ConfigurationError: the function cannot be imported, or makes no detector.
        MissingExtraError: onnxruntime is not installed.
    """
    if not str(source).endswith(".onnx") and ":" in str(source):
        return _from_python(str(source))
    path = user_path(source)
    if layout == "auto":
        layout = _guess_layout(path)
    return YoloxDetector(path) if layout == "yolox" else YoloV8Detector(path)


def non_maximum_suppression(
    boxes: Float[np.ndarray, "n 4"], scores: Float[np.ndarray, "n"], most_overlap: float
) -> list[int]:
    """The boxes that no surer box overlaps more than that, surest first."""
    waiting = np.argsort(-scores, kind="stable")
    kept = []
    while len(waiting):
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        waiting = waiting[overlaps(boxes[best : best + 1], boxes[waiting])[0] <= most_overlap]
    return kept


def _from_python(source: str) -> Detector:
    module_name, _, function = source.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), function)()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{source}: cannot be imported as a detector ({error})") from error
    if not callable(made) or not isinstance(getattr(made, "version", None), str):
        raise ConfigurationError(f"{source}: a detector is callable and has a text `version`")
    return cast(Detector, made)


def _session(path: Path) -> tuple[Any, tuple[int, int]]:
    """An ONNX session and the height and width of its input (640 where the file leaves it open)."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "metrics") from error
    if not path.is_file():
        raise WeightsError(f"{path}: no such detector file; check the path")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise WeightsError(f"{path}: cannot be loaded as ONNX ({error})") from error
    shape = session.get_inputs()[0].shape
    sides = [side if isinstance(side, int) else 640 for side in shape[-2:]]
    return session, (sides[0], sides[1])


def _run(session: Any, batch: Float[np.ndarray, "1 3 h w"]) -> Float[np.ndarray, "..."]:
    return np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0])


def _class_names(session: Any) -> tuple[str, ...]:
    """The classes the file names in its metadata, or COCO's."""
    text = session.get_modelmeta().custom_metadata_map.get("names")
    if not text:
        return COCO_CLASSES
    names = ast.literal_eval(text)
    return (
        tuple(str(names[index]) for index in sorted(names))
        if isinstance(names, dict)
        else (tuple(str(name) for name in names))
    )


def _guess_layout(path: Path) -> DetectorLayout:
    session, size = _session(path)
    answer = _run(session, np.zeros((1, 3, *size), np.float32))
    classes = len(_class_names(session))
    if answer.ndim == 3 and answer.shape[2] == 5 + classes:
        return "yolox"
    if answer.ndim == 3 and answer.shape[1] == 4 + classes:
        return "yolov8"
    raise WeightsError(
        f"{path}: answers {answer.shape}, neither YOLOX's (1, n, {5 + classes}) nor YOLOv8's "
        f"(1, {4 + classes}, n); wrap it as package.module:function"
    )


def _letterbox(
    image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int], *, centred: bool
) -> tuple[UInt8[np.ndarray, "p q 3"], float, Float[np.ndarray, "2"]]:
    """The picture scaled to fit on grey 114, the scale, and where its corner (x, y) lies."""
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    scaled = np.asarray(Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR))
    left = (size[1] - inner[0]) // 2 if centred else 0
    top = (size[0] - inner[1]) // 2 if centred else 0
    canvas = np.full((*size, 3), 114, np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = scaled
    return canvas, scale, np.array([left, top], dtype=np.float64)


def _yolox_grid(size: tuple[int, int]) -> Float[np.ndarray, "n 3"]:
    """Column, row and stride of each output row."""
    cells = []
    for stride in (8, 16, 32):
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        stack = np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1)
        cells.append(stack.astype(np.float64))
    return np.concatenate(cells)


def _corners(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """x1, y1, x2, y2 of centre and extent."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _select(
    boxes: Float[np.ndarray, "n 4"],
    probabilities: Float[np.ndarray, "n c"],
    classes: tuple[str, ...],
    image: UInt8[np.ndarray, "h w 3"],
    least: float,
    most: float,
) -> Detections:
    """Non-maximum suppression within each class; boxes clipped to the picture; surest first."""
    limits = np.array([image.shape[1], image.shape[0]] * 2, dtype=np.float64)
    boxes = boxes.clip(0, limits)
    chosen: list[tuple[float, int, int]] = []
    for index in range(len(classes)):
        candidates = np.flatnonzero(probabilities[:, index] > least)
        scores = probabilities[candidates, index]
        kept = non_maximum_suppression(boxes[candidates], scores, most)
        chosen += [(float(scores[k]), int(candidates[k]), index) for k in kept]
    chosen.sort(key=lambda entry: -entry[0])
    return Detections(
        boxes[[row for _, row, _ in chosen]].reshape(-1, 4),
        np.array([score for score, _, _ in chosen], dtype=np.float64),
        tuple(classes[index] for _, _, index in chosen),
    )
