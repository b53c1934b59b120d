"""OpenVINO as an engine; it reads its own files and ONNX graphs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from corun.dehazing.engines.graph_facts import FACTS_KEY, GraphFacts, refusal, require_any_size
from corun.dehazing.engines.protocol import (
    Batch,
    EngineFacts,
    MapsAnswer,
    SceneAnswer,
)
from corun.errors import DeviceError, MissingExtraError, WeightsError, is_out_of_memory

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine:
    """A graph run by OpenVINO on the CPU.

    Args:
        path: of an .xml file (its .bin beside it) or of an .onnx file.
        dtype: "float32" or "bfloat16"; some CPUs would otherwise take bfloat16 unasked.
        threads: of the CPU.

    Raises:
        WeightsError: the file is damaged, or no dehazing network.
        DeviceError: another precision.
        MissingExtraError: openvino is not installed.
    """

    def __init__(self, path: Path, *, dtype: str = "float32", threads: int = 1) -> None:
        if dtype not in PRECISIONS:
            raise DeviceError(f"OpenVINO does not compute in {dtype}; use float32 or bfloat16")
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise MissingExtraError("openvino", "openvino") from error
        try:
            core = openvino.Core()
            model = core.read_model(path)
            said = _said(model, path)
            hints = {
                "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
                "INFERENCE_NUM_THREADS": threads,
            }
            self._compiled = core.compile_model(model, "CPU", hints)
        except RuntimeError as error:
            text = " ".join(str(error).split())[:200]
            raise WeightsError(
                refusal(path)
                or f"{path}: not a graph that this OpenVINO reads ({text}); is it damaged?"
            ) from error
        inputs = [value.get_any_name() for value in model.inputs]
        outputs = [value.get_any_name() for value in model.outputs]
        self._graph = GraphFacts.read(str(path), said, inputs, outputs)
        shape = model.inputs[0].partial_shape
        known = () if shape.rank.is_dynamic else shape
        sides = [side.get_length() if side.is_static else None for side in known]
        require_any_size(str(path), model.inputs[0].element_type.to_string() == "f32", sides)
        self._dtype = dtype
        self._of_thread = threading.local()
        self.name = self._graph.name

    @property
    def facts(self) -> EngineFacts:
        """Of the graph."""
        return self._graph.engine_facts("openvino", "cpu", self._dtype)

    def run(self, pictures: Batch) -> MapsAnswer | SceneAnswer:
        """See the protocol; every thread has a request of its own."""
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._compiled.create_infer_request()
        try:
            results = request.infer({self._graph.input_name: pictures})
            named = [results[name].copy() for name in self._graph.output_names]
        except RuntimeError as error:
            text = " ".join(str(error).split())[:200]
            if is_out_of_memory(error):
                raise MemoryError(text) from error
            raise DeviceError(f"{self.name}: OpenVINO failed ({text})") from error
        return self._graph.answer(named, pictures)

    def take_notes(self) -> tuple[str, ...]:
        """Nothing."""
        return ()


def _said(model: Any, path: Path) -> str | None:
    """What the model says about itself: an ONNX graph keeps it under "framework"."""
    for place in ([FACTS_KEY], ["framework", FACTS_KEY]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).astype(str))
    return None
