"""Boxes of objects in photos: VOC XML and COCO JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool, Float

from corun.errors import DataError
from corun.files import same_name


@dataclass(frozen=True)
class TrueBoxes:
    """The objects of one photo.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels; x2 and y2 lie outside of the object, so that its width is
            x2 − x1. (VOC counts pixels from 1 and includes the last; that is converted.)
        labels: class names.
        ignored: objects that count neither as found nor as missed (VOC's "difficult", COCO's
            "iscrowd").
        size: width and height of the photo the boxes were drawn on, or None.
    """

    boxes: Float[np.ndarray, "n 4"]
    labels: tuple[str, ...]
    ignored: Bool[np.ndarray, "n"]
    size: tuple[int, int] | None = None


def read_voc(path: Path | str) -> TrueBoxes:
    """Reads a VOC annotation.

    Raises:
        DataError: missing, no VOC XML, or a box without extent; the message names the file.
    """
    path = Path(path)
    try:
        root = ElementTree.parse(path).getroot()
        boxes, labels, ignored = [], [], []
        for item in root.iter("object"):
            frame = item.find("bndbox")
            name = item.findtext("name")
            if frame is None or not name:
                raise ValueError("an object without name or bndbox")
            left, top, right, bottom = (
                float(frame.findtext(side) or "nan") for side in ("xmin", "ymin", "xmax", "ymax")
            )
            if not (right >= left and bottom >= top):
                raise ValueError(f"a box from ({left}, {top}) to ({right}, {bottom})")
            boxes.append((left - 1, top - 1, right, bottom))
            labels.append(name.strip().lower())
            ignored.append((item.findtext("difficult") or "0").strip() == "1")
        size = root.find("size")
        extent = None
        if size is not None:
            extent = (int(size.findtext("width") or 0), int(size.findtext("height") or 0))
            extent = extent if min(extent) > 0 else None
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such annotation; check the data set") from error
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path}: no usable VOC annotation ({error}); repair or remove it") from (
            error
        )
    return _true_boxes(boxes, labels, ignored, extent)


def read_coco(path: Path | str) -> dict[str, TrueBoxes]:
    """Reads COCO ground truth.

    Returns:
        The stem of each picture's file name → its boxes; a picture without objects is there too.

    Raises:
        DataError: missing or no COCO JSON; the message names the file.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        classes = {entry["id"]: str(entry["name"]).lower() for entry in content["categories"]}
        objects: dict[Any, list[Any]] = defaultdict(list)
        for entry in content["annotations"]:
            objects[entry["image_id"]].append(entry)
        truth: dict[str, TrueBoxes] = {}
        for image in content["images"]:
            stem = same_name(Path(image["file_name"]).stem)
            if stem in truth:
                raise ValueError(f"two pictures of the stem {stem!r}")
            own = objects[image["id"]]
            frames = [[float(side) for side in entry["bbox"]] for entry in own]
            truth[stem] = _true_boxes(
                [(x, y, x + width, y + height) for x, y, width, height in frames],
                [classes[entry["category_id"]] for entry in own],
                [bool(entry.get("iscrowd", 0)) for entry in own],
                (image["width"], image["height"]) if "width" in image else None,
            )
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such annotation file; check the path") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: no usable COCO ground truth ({reason})") from error
    return truth


def _true_boxes(
    boxes: list[tuple[float, float, float, float]],
    labels: list[str],
    ignored: list[bool],
    size: tuple[int, int] | None,
) -> TrueBoxes:
    return TrueBoxes(
        np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        tuple(labels),
        np.asarray(ignored, dtype=bool),
        size,
    )
