"""8 bits: an ONNX graph whose convolutions compute in whole numbers, calibrated on photos."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from corun.data.images import list_images, read_rgb
from corun.errors import ExportError
from corun.export.onnx_graphs import Model
from corun.networks.corun import CorunConfig
from corun.networks.reduction import pad_to_multiple, reduce_by_area
from corun.physics.working_picture import working_size

MOST_PHOTOS = 24
"""How many photos of a folder are used, evenly spread over its names."""
MOST_PIXELS = 640 * 480
"""Of a photo for networks that reduce none by themselves."""


def calibration_pictures(folder: Path, config: CorunConfig) -> list[Float[Tensor, "1 3 h w"]]:
    """The working pictures of a folder's photos.

    Raises:
        ExportError: the folder holds no photo.
        DataError: there is no such folder.
        ImageFileError: a photo cannot be read.
    """
    paths = list_images(folder)
    if not paths:
        raise ExportError(f"{folder}: holds no photo; give a folder of hazy photos with --photos")
    step = max(1, len(paths) // MOST_PHOTOS)
    pictures = []
    for path in paths[::step][:MOST_PHOTOS]:
        photo = read_rgb(path)[None]
        height, width = photo.shape[-2:]
        size = working_size(height, width, config.working_pixels or MOST_PIXELS, config.multiple)
        pictures.append(
            pad_to_multiple(photo, config.multiple)
            if size is None
            else reduce_by_area(photo, *size)
        )
    return pictures


def with_whole_numbers(
    model: Model, input_name: str, pictures: list[Float[Tensor, "1 3 h w"]]
) -> Model:
    """The model with its convolutions in 8 bits (QDQ; weights per channel), by their extremes.

    Args:
        model: in float32.
        input_name: of its picture.
        pictures: what it is calibrated on.
    """
    import onnx
    from onnxruntime import quantization

    class Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(pictures)

        def get_next(self) -> dict[str, Any] | None:
            picture = next(self.left, None)
            return None if picture is None else {input_name: np.ascontiguousarray(picture.numpy())}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        target = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            str(target),
            Pictures(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(str(target))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice to run a shape inference that has nothing to infer at free sizes."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
