"""GPUs by ONNX Runtime, whose packages are not installed here: a runtime that says it has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from corun.dehazing.engines import onnx as engine_module
from corun.dehazing.engines.onnx import PROVIDERS, OnnxEngine
from corun.errors import DeviceError, WeightsError
from corun.networks.registry import MODELS, graph_path

PICTURE = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)


class Session:
    """A session on the CPU that says it runs elsewhere, and fails there as it is told."""

    def __init__(self, inner: Any, providers: list[str], fails: list[Exception]) -> None:
        self._inner, self._providers, self._fails = inner, providers, fails

    def get_providers(self) -> list[str]:
        return self._providers

    def run(self, *arguments: Any) -> Any:
        if self._fails and self._providers[0] != PROVIDERS["cpu"]:
            raise self._fails[0]
        return self._inner.run(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Runtime:
    """ONNX Runtime with a GPU.

    Attributes:
        kind: of the GPU.
        starts: None, or what opening a session there raises; "" where it is left out silently.
        fails: what running there raises.
        asked: the providers of every session.
    """

    SessionOptions, RunOptions = onnxruntime.SessionOptions, onnxruntime.RunOptions

    def __init__(self, kind: str, starts: str | None = None, fails: str | None = None) -> None:
        self.kind, self.starts = kind, starts
        self.fails = [] if fails is None else [RuntimeError(fails)]
        self.asked: list[list[Any]] = []

    def get_available_providers(self) -> list[str]:
        return [PROVIDERS[self.kind], PROVIDERS["cpu"]]

    def InferenceSession(  # noqa: N802 (the runtime's name)
        self, path: str, options: Any, providers: list[Any], **_: Any
    ) -> Session:
        self.asked.append(providers)
        names = [entry[0] if isinstance(entry, tuple) else entry for entry in providers]
        if self.kind_asked(names) and self.starts:
            raise RuntimeError(self.starts)
        if self.kind_asked(names) and self.starts == "":
            names = [PROVIDERS["cpu"]]
        inner = onnxruntime.InferenceSession(path, options, providers=[PROVIDERS["cpu"]])
        return Session(inner, names, self.fails)

    def kind_asked(self, names: list[str]) -> bool:
        return PROVIDERS[self.kind] in names


def opened(
    monkeypatch: pytest.MonkeyPatch, runtime: Runtime, device: str, path: Path | None = None
) -> OnnxEngine:
    monkeypatch.setattr(engine_module, "onnx_runtime", lambda: runtime)
    monkeypatch.setattr(engine_module, "cuda_devices", lambda: 1)
    graph = path or graph_path(MODELS["corun-lite"])
    assert graph is not None
    return OnnxEngine(graph, device=device)


@pytest.mark.parametrize("kind", ["cuda", "coreml", "dml"])
def test_a_gpu_is_asked_for_before_the_cpu(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    runtime = Runtime(kind)
    assert opened(monkeypatch, runtime, kind).facts.device == kind
    assert runtime.asked == [[PROVIDERS[kind], PROVIDERS["cpu"]]]


def test_one_of_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime("cuda")
    assert opened(monkeypatch, runtime, "cuda:1").facts.device == "cuda:1"
    assert runtime.asked[0][0] == (PROVIDERS["cuda"], {"device_id": 1})
    for device in ("cuda:x", "cuda:", "cuda:-1", "dml:1"):
        with pytest.raises(DeviceError, match=f"device {device}"):
            opened(monkeypatch, runtime, device)


@pytest.mark.parametrize(("kind", "chosen"), [("cuda", "cuda"), ("dml", "dml"), ("coreml", "cpu")])
def test_the_gpu_of_the_installed_package_is_taken_unasked(
    monkeypatch: pytest.MonkeyPatch, kind: str, chosen: str
) -> None:
    assert opened(monkeypatch, Runtime(kind), "auto").facts.device == chosen


@pytest.mark.parametrize("starts", ["", "CUDA failure 35: driver too old\nin provider.cc"])
def test_a_gpu_that_does_not_start_is_an_error_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, starts: str
) -> None:
    with pytest.raises(DeviceError, match=r"cannot use it .*--device cpu") as caught:
        opened(monkeypatch, Runtime("cuda", starts), "cuda")
    assert "\n" not in str(caught.value)
    engine = opened(monkeypatch, Runtime("cuda", starts), "auto")
    assert engine.facts.device == "cpu"
    (note,) = engine.take_notes()
    assert note.endswith("; went on with the CPU")
    assert engine.take_notes() == ()


def test_a_damaged_graph_is_not_the_gpu_to_blame(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(b"\x08\x09 cut")
    with pytest.raises(WeightsError, match="damaged"):
        opened(monkeypatch, Runtime("cuda", "no protobuf"), "cuda", cut)


def test_a_gpu_that_fails_half_way_is_left_for_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = opened(monkeypatch, Runtime("cuda"), "cpu").run(PICTURE)
    runtime = Runtime("cuda")
    engine = opened(monkeypatch, runtime, "cuda")
    engine.run(PICTURE)
    runtime.fails.append(RuntimeError("CUDA error 719: launch failed"))
    for _ in range(2):
        for got, wanted in zip(engine.run(PICTURE), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert engine.facts.device == "cpu"
    (note,) = engine.take_notes()
    assert note == "cuda failed (CUDA error 719: launch failed); went on with the CPU"
    assert capfd.readouterr() == ("", "")


def test_the_runtime_is_told_not_to_go_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints that on standard output, where a picture may be on its way."""
    graph = graph_path(MODELS["corun-lite"])
    assert graph is not None
    session: Any = OnnxEngine(graph)._session
    assert session._enable_fallback is False


def test_a_runtime_that_does_not_load_is_not_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import builtins

    original = builtins.__import__

    def broken(name: str, *arguments: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError("DLL load failed while importing onnxruntime_pybind11_state")
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(DeviceError, match=r"does not load .*DLL load failed"):
        engine_module.onnx_runtime()
