"""ONNX Runtime as an engine: a picture's way without torch."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from corun.dehazing.engines.graph_facts import FACTS_KEY, GraphFacts
from corun.dehazing.engines.protocol import (
    Batch,
    EngineFacts,
    MapsAnswer,
    SceneAnswer,
)
from corun.errors import (
    CorunError,
    DeviceError,
    MissingExtraError,
    WeightsError,
    is_out_of_memory,
)

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
}
"""ONNX Runtime's names of the devices; all but the first come with packages of their own."""

ARENA_KEPT = 1 << 20
"""Pixels of a batch up to which the runtime may keep its memory for the next one; of larger ones
it would keep for ever what the largest ever asked for. Results lie in that memory, too, and are not
given back: graphs that give finished scenes do without it, for theirs are as large as the photo."""


SPIN_MICROSECONDS = "50"
"""How long a thread of the runtime waits awake: over the gaps between most operations."""


class OnnxEngine:
    """A graph run by ONNX Runtime.

    Args:
        path: of the .onnx file.
        device: "cpu", "cuda", "cuda:1", "coreml" or "dml".
        threads: of the CPU.

    Raises:
        WeightsError: the file is damaged, or no dehazing network.
        DeviceError: the installed ONNX Runtime has no such device.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, *, device: str = "cpu", threads: int = 1) -> None:
        self._path, self._threads = path, threads
        self._runtime = _runtime()
        self._lock = threading.Lock()
        self._notes: list[str] = []
        self._arena = True
        self._session = self._open(device)
        inputs = [value.name for value in self._session.get_inputs()]
        outputs = [value.name for value in self._session.get_outputs()]
        said = self._session.get_modelmeta().custom_metadata_map.get(FACTS_KEY)
        self._graph = GraphFacts.read(str(path), said, inputs, outputs)
        if not self._graph.gives_maps:
            self._arena = False
            self._session = self._open(device)
        self._device = device
        self.name = self._graph.name

    @property
    def facts(self) -> EngineFacts:
        """Of the graph and the device."""
        return self._graph.engine_facts("onnx", self._device, "float32")

    def run(self, pictures: Batch) -> MapsAnswer | SceneAnswer:
        """See the protocol; a device that fails is left for the CPU, which is noted."""
        session, device = self._session, self._device
        try:
            results = self._results(session, pictures)
        except Exception as error:  # the runtime's own errors have no common base class
            if is_out_of_memory(error):
                raise MemoryError(_line(error)) from error
            if device == "cpu":
                raise DeviceError(f"{self.name}: ONNX Runtime failed ({_line(error)})") from error
            self._leave(device, error)
            results = self._results(self._session, pictures)
        return self._graph.answer(results, pictures)

    def take_notes(self) -> tuple[str, ...]:
        """That a device failed, said once."""
        with self._lock:
            notes, self._notes = tuple(self._notes), []
        return notes

    def _results(self, session: Any, pictures: Batch) -> list[Any]:
        options = self._runtime.RunOptions()
        if self._arena and self._device == "cpu" and pictures.size > 3 * ARENA_KEPT:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        given = {self._graph.input_name: pictures}
        results: list[Any] = session.run(list(self._graph.output_names), given, options)
        return results

    def _leave(self, device: str, error: Exception) -> None:
        with self._lock:
            if self._device == device:
                self._session, self._device = self._open("cpu"), "cpu"
                self._notes.append(f"{device} failed ({_line(error)}); went on with the CPU")

    def _open(self, device: str) -> Any:
        kind, _, number = device.partition(":")
        provider = PROVIDERS.get(kind)
        there = self._runtime.get_available_providers()
        if provider not in there:
            known = ", ".join(name for name, full in PROVIDERS.items() if full in there)
            raise DeviceError(
                f"device {device}: the installed ONNX Runtime has {known}; use one of them, or "
                "--engine torch"
            )
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # A pattern is kept for every size ever seen: of free sizes, without end.
        options.enable_mem_pattern = False
        # Planning which buffers share memory takes half a second for the 1 600 nodes of a graph of
        # ours and saves nothing: buffers go back to the arena after their last use all the same.
        options.enable_mem_reuse = False
        options.enable_cpu_mem_arena = self._arena
        # A thread that waits for the others turns in circles, for milliseconds unless told: that is
        # taken from whoever else works, such as a film's decoder and encoder.
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
        options.add_session_config_entry("session.force_spinning_stop", "1")
        chosen: list[Any] = [(provider, {"device_id": int(number)}) if number else provider]
        if kind != "cpu":
            chosen.append(PROVIDERS["cpu"])
        try:
            return self._runtime.InferenceSession(str(self._path), options, providers=chosen)
        except CorunError:
            raise
        except Exception as error:  # the runtime's own errors have no common base class
            if not self._path.is_file():
                raise WeightsError(f"{self._path}: no such file") from error
            raise WeightsError(
                f"{self._path}: not an ONNX graph that this ONNX Runtime reads ({_line(error)}); "
                "is it damaged, or of a newer opset?"
            ) from error


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "") from error
    return onnxruntime


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
