"""ONNX Runtime as an engine: a picture's way without torch."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from corun.dehazing.devices import cuda_devices
from corun.dehazing.engines.graph_facts import FACTS_KEY, GraphFacts, refusal, require_any_size
from corun.dehazing.engines.protocol import (
    Batch,
    EngineFacts,
    MapsAnswer,
    SceneAnswer,
)
from corun.errors import (
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
        device: "cpu", "cuda", "cuda:1", "coreml" or "dml"; "auto" is the GPU of the installed
            package, where there is one and it starts, else the CPU.
        threads: of the CPU.

    Raises:
        WeightsError: the file is damaged, or no dehazing network.
        DeviceError: the installed ONNX Runtime has no such device.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, *, device: str = "cpu", threads: int = 1) -> None:
        self._path, self._threads = path, threads
        self._runtime = onnx_runtime()
        self._lock = threading.Lock()
        self._notes: list[str] = []
        self._arena = True
        self._device = self._best() if device == "auto" else device
        self._session = self._opened(may_leave=device == "auto")
        given = self._session.get_inputs()
        inputs = [value.name for value in given]
        outputs = [value.name for value in self._session.get_outputs()]
        said = self._session.get_modelmeta().custom_metadata_map.get(FACTS_KEY)
        self._graph = GraphFacts.read(str(path), said, inputs, outputs)
        require_any_size(str(path), given[0].type == "tensor(float)", given[0].shape)
        if not self._graph.engine.gives_maps:
            self._arena = False
            self._session = self._opened(may_leave=device == "auto")
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

    def _best(self) -> str:
        """The GPU of the installed package; CoreML, which is in every one for macOS, is asked for
        by name: it translates a graph of free sizes anew for every size."""
        there = self._runtime.get_available_providers()
        if PROVIDERS["cuda"] in there and cuda_devices():
            return "cuda"
        return "dml" if PROVIDERS["dml"] in there else "cpu"

    def _opened(self, *, may_leave: bool) -> Any:
        try:
            return self._open(self._device)
        except DeviceError as error:
            if not may_leave or self._device == "cpu":
                raise
            self._notes.append(f"{error}; went on with the CPU")
            self._device = "cpu"
            return self._open("cpu")

    def _open(self, device: str) -> Any:
        kind, colon, number = device.partition(":")
        provider = PROVIDERS.get(kind)
        there = self._runtime.get_available_providers()
        if colon and not (kind == "cuda" and number.isascii() and number.isdecimal()):
            raise DeviceError(f"device {device}: unknown; use {', '.join(PROVIDERS)} or cuda:1")
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
            # Its own way of going on without a device prints on standard output, and says nothing.
            session = self._runtime.InferenceSession(
                str(self._path), options, providers=chosen, enable_fallback=0
            )
        except Exception as error:  # the runtime's own errors have no common base class
            if kind != "cpu" and _reads_on_cpu(self._path, self._runtime, options):
                raise _does_not_start(device, _line(error)) from error
            raise WeightsError(
                refusal(self._path)
                or f"{self._path}: not an ONNX graph that this ONNX Runtime reads "
                f"({_line(error)}); is it damaged, or of a newer opset?"
            ) from error
        if provider not in session.get_providers():
            raise _does_not_start(device, "its libraries are missing or of another version")
        return session


def _reads_on_cpu(path: Path, runtime: Any, options: Any) -> bool:
    """Whether a device is to blame, and not the graph."""
    try:
        runtime.InferenceSession(str(path), options, providers=[PROVIDERS["cpu"]])
    except Exception:  # the graph is: the caller says so
        return False
    return True


def _does_not_start(device: str, reason: str) -> DeviceError:
    return DeviceError(
        f"device {device}: ONNX Runtime cannot use it ({reason}); mend its driver and libraries, "
        "or use --device cpu"
    )


def onnx_runtime() -> Any:
    """The module.

    Raises:
        MissingExtraError: it is not installed.
        DeviceError: it cannot be loaded.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxruntime", "") from error
    except ImportError as error:
        raise DeviceError(
            f"onnxruntime is installed and does not load ({_line(error)}); install it again with: "
            "pip install --force-reinstall onnxruntime"
        ) from error
    return onnxruntime


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
