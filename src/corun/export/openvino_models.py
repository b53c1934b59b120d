"""OpenVINO: a part's ONNX graph as OpenVINO's own pair of files (.xml and .bin)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corun.dehazing.engines.graph_facts import FACTS_KEY
from corun.errors import MissingExtraError
from corun.export.exported import Exported, Facts
from corun.export.onnx_graphs import Model
from corun.export.parts import Part

FULL_PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
"""Some CPUs compute in bfloat16 unless told not to; files are checked in float32."""


def require_openvino() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino") from error
    return openvino


def openvino_model(model: Model, part: Part, facts: Facts, *, half: bool) -> Exported:
    """An ONNX model as OpenVINO writes it, run by it on the CPU in float32.

    Args:
        model: in float32 or quantised.
        part: that it is of.
        facts: kept in its ``rt_info`` as JSON under ``corun``.
        half: whether its weights are stored as float16 (widened at load).
    """
    openvino = require_openvino()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "part.onnx", Path(folder) / "part.xml"
        source.write_bytes(model.SerializeToString())
        converted = openvino.Core().read_model(source)
        converted.set_rt_info(json.dumps(facts), [FACTS_KEY])
        openvino.save_model(converted, target, compress_to_fp16=half)
        files = {".xml": target.read_bytes(), ".bin": target.with_suffix(".bin").read_bytes()}
    core = openvino.Core()
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(
        core.read_model(model=files[".xml"], weights=files[".bin"]),
        "CPU",
        {**FULL_PRECISION, **threads},
    )

    def run(picture: Tensor) -> tuple[Tensor, ...]:
        results = compiled({part.input_name: picture.numpy()})
        return tuple(torch.from_numpy(results[name].copy()) for name in part.output_names)

    return Exported(files, run)
