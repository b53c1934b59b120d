"""8 bits: an ONNX graph whose dense convolutions compute in whole numbers, calibrated on photos."""

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
from corun.export.parts import StagesPart, WholePart
from corun.networks.corun_config import CorunConfig
from corun.networks.prior_unet import PriorUNet
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
    model: Model, part: StagesPart | WholePart, pictures: list[Float[Tensor, "1 3 h w"]]
) -> Model:
    """The model with its dense convolutions in 8 bits (QDQ; weights per channel), by extremes.

    What stays in float32: the first and last convolution of each prior, whose maps are colours and
    transmissions; the depthwise ones, which are few operations; and the scene priors of all stages
    but the last, for the closed-form steps after them enlarge the errors of their scenes.

    Args:
        model: in float32.
        part: that it is of.
        pictures: what it is calibrated on.
    """
    import onnx
    from onnxruntime import quantization

    class Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(pictures)

        def get_next(self) -> dict[str, Any] | None:
            picture = next(self.left, None)
            return (
                None
                if picture is None
                else {part.input_name: np.ascontiguousarray(picture.numpy())}
            )

    with tempfile.TemporaryDirectory() as folder, _quiet():
        target = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            str(target),
            Pictures(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_kept_in_float(model, part),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(str(target))


def _kept_in_float(model: Model, part: StagesPart | WholePart) -> list[str]:
    """Names of the convolutions that stay in float32."""
    edges = {
        tuple(convolution.weight.shape)
        for prior in part.network.modules()
        if isinstance(prior, PriorUNet)
        for convolution in (prior.embedding, prior.mapping)
    }
    scenes = [f"unfolding.{k}.scene_prior." for k in range(part.network.config.stages - 1)]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    kept, in_scene_prior = [], False
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        weight = node.input[1]
        if "unfolding." in weight:  # the halves of a fused one have no name, and lie in between
            in_scene_prior = any(scene in weight for scene in scenes)
        depthwise = any(a.name == "group" and a.i > 1 for a in node.attribute)
        if in_scene_prior or depthwise or shapes.get(weight) in edges:
            kept.append(node.name)
    return kept


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice to run a shape inference that has nothing to infer at free sizes."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
