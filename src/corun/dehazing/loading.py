"""The public calls: `corun.dehaze`, `corun.load` and `corun.list_models`.

Nothing here imports torch before it is needed. ONNX Runtime opens a graph without Python's lock,
which takes longer than anything else before the network runs: meanwhile what reads and writes
pictures is imported, and the command reads its first picture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal, get_args

from corun.dehazing.devices import gpu_for_torch, torch_installed, usable_threads
from corun.dehazing.engines.protocol import Engine
from corun.errors import DeviceError, MissingExtraError, WeightsError
from corun.networks.files import graph_file, network_file
from corun.networks.registry import (
    DEFAULT_MODEL,
    MODELS,
    ModelCard,
    graph_path,
    require_trained,
)

if TYPE_CHECKING:
    from corun.dehazing.dehazed import Dehazed, Pixels
    from corun.dehazing.dehazer import Dehazer

EngineName = Literal["auto", "onnx", "openvino", "torch"]
GRAPHS = (".onnx", ".xml")
"""Suffixes of exported networks."""
MOST_THREADS = 1024

Opening = Callable[[], Engine]
"""Opens a network; what it takes to run it is imported already."""


class Loading:
    """A network that is being loaded.

    Args:
        opening: opens it.
        name: what to call it in messages.
        threads: of the CPU.
        beside: whether it is opened in a thread of its own, from now on; else when it is waited for
            (torch's number of threads is that of the thread that sets it).
    """

    def __init__(self, opening: Opening, name: str, threads: int, *, beside: bool) -> None:
        self._opening, self._name, self._threads = opening, name, threads
        self._found: Engine | BaseException | None = None
        self._thread = Thread(target=self._open, name="loading") if beside else None
        if self._thread is not None:
            self._thread.start()

    def wait(self) -> Dehazer:
        """The network, loaded.

        Raises:
            WeightsError, DeviceError, MissingExtraError: see `load`.
        """
        from corun.dehazing.dehazer import Dehazer

        if self._thread is None:
            self._open()
        else:
            self._thread.join()
        if isinstance(self._found, BaseException):
            raise self._found
        assert self._found is not None
        return Dehazer(self._found, name=self._name, threads=self._threads)

    def _open(self) -> None:
        try:
            self._found = self._opening()
        except BaseException as error:  # raised where it is waited for
            self._found = error


def load(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    device: str = "auto",
    dtype: str = "auto",
    engine: EngineName = "auto",
    threads: int | None = None,
    trust: bool = False,
) -> Dehazer:
    """Loads a network once, to be called on many pictures.

    Args:
        name_or_path: a name of `list_models`; an exported network (.onnx or .xml); with torch also
            a weights file (.safetensors or a published .pth); a folder or hf://owner/repository
            that holds a model, of which the graph is taken where torch is not used.
        device: "auto" (a GPU if torch or ONNX Runtime has one, else the CPU), "cpu", "cuda",
            "cuda:1", "mps", "xpu"; with ONNX Runtime also "coreml" and "dml".
        dtype: "auto", "float32", "bfloat16" or "float16".
        engine: "auto" (ONNX Runtime on CPUs for models that bring a graph, else torch), "onnx",
            "openvino" or "torch".
        threads: of the CPU; by default as many as the process may use.
        trust: whether the code that the file of an adapted network names may be imported and run.

    Raises:
        WeightsError: no such model, the file is unreadable or of another layout, or it needs trust.
        DeviceError: the device, precision or engine is not available.
        MissingExtraError: the engine is not installed.
    """
    return begin_loading(
        name_or_path, device=device, dtype=dtype, engine=engine, threads=threads, trust=trust
    ).wait()


def begin_loading(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    device: str = "auto",
    dtype: str = "auto",
    engine: EngineName = "auto",
    threads: int | None = None,
    trust: bool = False,
) -> Loading:
    """Begins what `load` does, for who has something else to do meanwhile.

    Raises:
        CorunError: as `load`; what only opening the file shows is raised by `Loading.wait`.
    """
    if engine not in get_args(EngineName):
        raise DeviceError(f"{engine!r} is no engine; use {', '.join(get_args(EngineName))}")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise DeviceError(f"threads must be at least 1 and at most {MOST_THREADS}, not {threads}")
    count = threads or usable_threads()
    text = str(name_or_path)
    if text in MODELS:
        opening = _registered(MODELS[text], device, dtype, engine, count)
        return Loading(opening, text, count, beside=_is_light(opening))
    light = engine in ("onnx", "openvino") or not torch_installed()
    path = (graph_file(text) if light else None) or network_file(text)
    if path.suffix.lower() in GRAPHS:
        opening = _graph(path, device, dtype, engine, count)
    elif engine in ("onnx", "openvino"):
        raise WeightsError(
            f"{path}: is no graph for --engine {engine}; make one with corun export {path}"
        )
    else:
        opening = partial(_of_torch, str(path), device, dtype, count, trust=trust)
    return Loading(opening, path.name, count, beside=_is_light(opening))


def _is_light(opening: Opening) -> bool:
    """Whether it may be opened in another thread than the one that runs it."""
    return isinstance(opening, partial) and opening.func is not _of_torch


def from_network(
    network: Any,
    *,
    name: str = "custom",
    size_multiple: int = 1,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
) -> Dehazer:
    """A dehazer of any torch network.

    Args:
        network: a module that maps RGB in [0,1], (B,3,H,W), to a clear batch of that shape, or to
            (scene, transmission), or a mapping of them.
        name: what to call it in messages.
        size_multiple: height and width that it accepts are multiples of this; pictures are padded
            by reflection and cropped back.
        device: see `load`.
        dtype: see `load`.
        threads: of the CPU for what surrounds the network; torch has a setting of its own.

    Raises:
        DeviceError: the device or precision is not available.
    """
    from corun.dehazing.dehazer import Dehazer
    from corun.dehazing.engines.torch_engine import TorchEngine

    engine = TorchEngine(
        network, name=name, size_multiple=size_multiple, device=device, dtype=dtype
    )
    return Dehazer(engine, name=name, threads=threads)


def dehaze(
    image: str | Path | Pixels,
    model: str | Path = DEFAULT_MODEL,
    *,
    strength: float = 1.0,
    device: str = "auto",
    dtype: str = "auto",
    engine: EngineName = "auto",
) -> Dehazed:
    """Removes the haze from one picture.

    Size, type and range come out as they went in; see `Dehazer.__call__` for what is accepted.
    A registered model stays loaded between calls; for a weights file use `load` once.

    Args:
        image: a path, the bytes of a file, an open binary file, a Pillow image, an array (H,W) or
            (H,W,C), or a tensor (H,W), (C,H,W) or (B,C,H,W), C from 1 to 4.
        model: a name of `list_models`, or a file.
        strength: how much of the haze goes, 0 (none) to 1.
        device: where to compute; see `load`.
        dtype: in which precision; see `load`.
        engine: what computes; see `load`.

    Raises:
        CorunError: the picture, the model or the device cannot be used; the message says why.
    """
    dehazer = (
        _kept(str(model), device, dtype, engine)
        if str(model) in MODELS
        else load(model, device=device, dtype=dtype, engine=engine)
    )
    return dehazer(image, strength=strength)


def list_models() -> dict[str, str]:
    """The models that `load` knows by name, each with a line about it."""
    return {name: card.summary for name, card in MODELS.items() if card.trained}


@lru_cache(maxsize=2)
def _kept(name: str, device: str, dtype: str, engine: EngineName) -> Dehazer:
    return load(name, device=device, dtype=dtype, engine=engine)


def _registered(
    card: ModelCard, device: str, dtype: str, engine: EngineName, threads: int
) -> Opening:
    require_trained(card)
    if card.config is None:
        from corun.dehazing.engines.dark_channel import DarkChannelEngine

        _require_plain(card.name, device, dtype)
        return DarkChannelEngine
    graph = graph_path(card)
    if graph is None:
        return partial(_of_torch, card.name, device, dtype, threads)
    if engine == "auto":
        light = device in ("auto", "cpu") and dtype in ("auto", "float32")
        gpu = device == "auto" and gpu_for_torch()
        other = device in ("coreml", "dml") or not torch_installed()
        engine = "onnx" if other or (light and not gpu) else "torch"
    if engine == "torch":
        return partial(_of_torch, card.name, device, dtype, threads)
    return _graph(graph, device, dtype, engine, threads)


def _graph(path: Path, device: str, dtype: str, engine: EngineName, threads: int) -> Opening:
    """An exported network by the engine of its kind."""
    if engine == "torch":
        raise WeightsError(f"{path}: is a graph, which torch does not run; use --engine onnx")
    if engine == "openvino" or (engine == "auto" and path.suffix.lower() == ".xml"):
        from corun.dehazing.engines.openvino import OpenVinoEngine

        if device not in ("auto", "cpu"):
            raise DeviceError(f"device {device}: OpenVINO is used on the CPU; use --device cpu")
        kind = "float32" if dtype == "auto" else dtype
        return partial(OpenVinoEngine, path, dtype=kind, threads=threads)
    if path.suffix.lower() == ".xml":
        raise WeightsError(f"{path}: is a file of OpenVINO; use --engine openvino")
    from corun.dehazing.engines.onnx import OnnxEngine, onnx_runtime

    if dtype not in ("auto", "float32"):
        raise DeviceError(
            f"ONNX Runtime computes in float32, not {dtype}; use --engine openvino or torch"
        )
    onnx_runtime()  # importing needs Python's lock
    return partial(OnnxEngine, path, device=device, threads=threads)


def _of_torch(
    name_or_path: str, device: str, dtype: str, threads: int, *, trust: bool = False
) -> Engine:
    if not torch_installed():
        raise MissingExtraError(f"{name_or_path}: needs torch, which", "torch")
    import torch

    from corun.dehazing.engines.torch_devices import choose_device
    from corun.dehazing.engines.torch_engine import TorchEngine
    from corun.networks.adapted import load_any

    chosen = choose_device(device)
    if torch.get_num_threads() != threads and chosen.type == "cpu":
        torch.set_num_threads(threads)
    loaded = load_any(name_or_path, device=chosen, trust=trust)
    return TorchEngine(
        loaded.network, name=loaded.name, card=loaded.card, device=str(chosen), dtype=dtype
    )


def _require_plain(name: str, device: str, dtype: str) -> None:
    if device not in ("auto", "cpu"):
        raise DeviceError(f"device {device}: {name} runs on the CPU; use --device cpu")
    if dtype not in ("auto", "float32"):
        raise DeviceError(f"{name} does not run in {dtype}; use --dtype float32")
