"""Weights files: our safetensors with the hyper-parameters inside, the published .pth, the Hub.

A file of ours is a safetensors file whose header holds one JSON text under ``corun``:
``{"architecture": "CORUN", "config": {...}, ...}``. Anything that reads safetensors can read it.

A file runs in float32 on a CPU unless that text also has ``"bfloat16_psnr"``, the PSNR in dB of
its bfloat16 result against its float32 one, of at least 50: what bfloat16 keeps depends on the
weights, so only a measurement of these weights speaks for it.
"""

from __future__ import annotations

import json
import pickle
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from corun.errors import ConfigurationError, WeightsError, system_errors_as
from corun.files import stand_in, write_atomically
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.networks.files import network_file
from corun.networks.published_layout import build_filled, is_published, load_published
from corun.networks.registry import MODELS, ModelCard, require_trained, weights_path

Found = TypeVar("Found")

HEADER_KEY = "corun"
ARCHITECTURE = "CORUN"
BFLOAT16_PSNR = 50.0
"""From this many dB of the float32 result, bfloat16 is what a CPU should use."""

DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What torch and safetensors raise on damaged files; there is no common base class."""


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready for use.

    Attributes:
        network: in evaluation mode, float32, on the asked device.
        name: the registered name or the file's.
        metadata: what the weights file says about itself.
        card: facts about the network.
        file: what its weights were read from, or None where there are none.
    """

    network: nn.Module
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    card: ModelCard | None = None
    file: Path | None = None


def save_network(
    path: Path,
    network: nn.Module,
    metadata: dict[str, Any] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a CORUN as safetensors with its hyper-parameters, atomically.

    Args:
        path: where to; its folder is made.
        network: a :class:`~corun.networks.corun.CORUN`.
        metadata: plain values to keep beside the hyper-parameters.
        dtype: how to store the tensors; as they are by default. float16 halves the file.

    Raises:
        WeightsError: the network is no CORUN, or the file cannot be written.
    """
    if not isinstance(network, CORUN):
        raise WeightsError(
            f"{path}: only CORUN is stored with its hyper-parameters, not {type(network).__name__}"
        )
    header = {
        **(metadata or {}),
        "architecture": ARCHITECTURE,
        "config": network.config.to_dict(),
    }
    tensors: dict[str, Tensor] = {
        name: (tensor if dtype is None else tensor.to(dtype)).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    with system_errors_as(WeightsError, f"{path}: cannot be written"):
        write_safetensors(path, tensors, {HEADER_KEY: json.dumps(header)})


def write_safetensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors under their name when complete, with the permissions of any new file.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing is left then.
    """
    from safetensors.torch import save

    # safetensors' own writer raises an error of its own on a full disk and makes files that only
    # their owner can read.
    content = save(tensors, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def load_network(name_or_path: str | Path, *, device: torch.device | str = "cpu") -> LoadedNetwork:
    """Load a registered model, a file of ours, a published ``.pth``, or ``hf://owner/repo/file``.

    Args:
        name_or_path: a name of :data:`~corun.networks.registry.MODELS`, or a file.
        device: where the network goes.

    Raises:
        WeightsError: no such name or file, the file is unreadable, or it is of another layout; the
            message lists the missing, unexpected and mis-shaped tensors.
    """
    text = str(name_or_path)
    if text in MODELS:
        card = MODELS[text]
        require_trained(card)
        shipped = weights_path(card)
        if shipped is None:
            raise WeightsError(f"{text}: is no network; its result is computed without one")
        network, metadata = load_file_of_ours(shipped)
        return LoadedNetwork(ready(network, device), text, metadata, card, shipped)
    path = network_file(text)
    if path.suffix == ".safetensors":
        network, metadata = load_file_of_ours(path)
    else:
        network, metadata = load_published(read_pth(path), str(path)), {"source": path.name}
    card = replace(
        MODELS["corun-base"],
        name=path.name,
        summary="a CORUN weights file",
        config=network.config,
        bfloat16_on_cpu=_keeps_bfloat16(metadata),
        trained=True,
        licence="unknown",
    )
    return LoadedNetwork(ready(network, device), path.name, metadata, card, path)


def load_file_of_ours(path: Path) -> tuple[CORUN, dict[str, Any]]:
    """The network in a safetensors file of ours, and what its header says.

    Raises:
        WeightsError: unreadable, of another program, or its tensors do not fit its header.
    """
    header, state = read_safetensors(path)
    if header is None:
        if is_published(state):
            return load_published(state, str(path)), {"source": path.name}
        raise WeightsError(
            f"{path}: no '{HEADER_KEY}' entry in its header, so its hyper-parameters are unknown; "
            "expected a file written by corun"
        )
    if header.get("architecture") != ARCHITECTURE:
        raise WeightsError(f"{path}: holds {header.get('architecture')!r}, not {ARCHITECTURE!r}")
    return build_filled(_config(header.get("config"), path), state, str(path)), header


def read_header(path: Path) -> dict[str, Any] | None:
    """What a safetensors file says under ``corun``; None where it has no such entry.

    Raises:
        WeightsError: the file is unreadable, or the entry is damaged.
    """
    return _header(_opened(path, lambda opened: opened.metadata()), path)


def read_safetensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """What :func:`read_header` returns, and the tensors by name.

    Raises:
        WeightsError: the file is unreadable, or its entry is damaged.
    """
    metadata, state = _opened(
        path,
        lambda opened: (
            opened.metadata(),
            {name: opened.get_tensor(name) for name in opened.keys()},  # noqa: SIM118
        ),
    )
    return _header(metadata, path), state


def _opened(path: Path, read: Callable[[Any], Found]) -> Found:
    from safetensors import SafetensorError, safe_open

    refuse_stand_in(path)
    try:
        with safe_open(path, framework="pt") as opened:
            return read(opened)
    except (SafetensorError, OSError, *DAMAGE) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({_one_line(error)})"
        ) from error


def _header(metadata: dict[str, str] | None, path: Path) -> dict[str, Any] | None:
    text = (metadata or {}).get(HEADER_KEY)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: its '{HEADER_KEY}' entry is no JSON; is it damaged?"
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: its '{HEADER_KEY}' entry is no JSON object; is it damaged?")
    return content


_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "bool")),
]
"""NumPy's numbers: checkpoints of training scripts keep their best score beside the weights."""


def read_pth(path: Path, *, remedy: str = "re-save its state dict with torch.save") -> Any:
    """The content of a ``torch.save`` file, tensors, numbers and plain containers only.

    Args:
        path: the file.
        remedy: what the message tells to do about a file that cannot be used.

    Raises:
        WeightsError: unreadable, or it would run code.
    """
    refuse_stand_in(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_NUMBERS):
            warnings.simplefilter("ignore")  # damaged files make torch warn of its own internals
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.PickleError as error:
        raise WeightsError(
            f"{path}: not a plain weights file (it holds more than tensors, or is damaged); "
            f"{remedy}"
        ) from error
    except (OSError, *DAMAGE) as error:
        explained = isinstance(error, OSError | RuntimeError)
        reason = _one_line(error) if explained else "it is damaged or of another kind"
        raise WeightsError(f"{path}: not a readable weights file ({reason}); {remedy}") from error


def refuse_stand_in(path: Path) -> None:
    """Refuses a pointer or a web page by what it is; what cannot be read is left to the reader.

    Raises:
        WeightsError: the file is one of these.
    """
    with suppress(OSError), path.open("rb") as stream:
        if found := stand_in(stream.read(1024)):
            raise WeightsError(f"{path}: {found}")


def convert_weights(source: Path, destination: Path) -> CORUN:
    """Read a published ``.pth``, or the checkpoint of a pre-training, and write a file of ours.

    Of a checkpoint the averaged weights are taken, as they were at its step.

    Raises:
        WeightsError: see :func:`load_network` and :func:`save_network`.
    """
    try:
        found = source.is_file()
    except OSError as error:
        raise WeightsError(f"{source}: cannot be read ({_one_line(error)})") from error
    if not found:
        raise WeightsError(f"{source}: no such file; give a published CORUN checkpoint (.pth)")
    content = read_pth(source)
    facts: dict[str, Any] = {"source": source.name}
    if isinstance(content, dict) and {"average", "identity", "step"} <= content.keys():
        network = _averaged_network(content, source)
        facts["steps"] = content["step"]
    else:
        network = load_published(content, str(source))
    save_network(destination, network, facts)
    return network


def _averaged_network(content: dict[str, Any], source: Path) -> CORUN:
    """The averaged weights in a training checkpoint whose configuration tells the network."""
    config = json.loads(content["identity"]).get("network")
    if not isinstance(config, dict):
        raise WeightsError(
            f"{source}: only a pre-training's checkpoint tells its network; let this run end, its "
            "folder then holds weights.safetensors"
        )
    state = {name: t for name, t in content["average"].items() if not name.startswith("__")}
    return build_filled(_config(config, source), state, str(source))


NEUTRAL_OF_GONE = {"prior_downscale": 1, "affine_cell": 0}
"""Hyper-parameters of version 0.1 with the values at which they did nothing."""


def _without_gone_keys(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Hyper-parameters of version 0.1 as today's.

    Raises:
        WeightsError: the network needs what is gone.
    """
    gone = [k for k in content if k in NEUTRAL_OF_GONE or k.startswith("affine_")]
    needed = [
        k for k in NEUTRAL_OF_GONE if content.get(k, NEUTRAL_OF_GONE[k]) != NEUTRAL_OF_GONE[k]
    ]
    if needed:
        raise WeightsError(
            f"{path}: made by corun 0.1, whose {' and '.join(sorted(needed))} no longer exist; "
            "train it anew by configs/lite-1-pretrain.yaml, or run it with corun-dehaze 0.1"
        )
    return {key: value for key, value in content.items() if key not in gone}


def _config(content: Any, path: Path) -> CorunConfig:
    known = {f.name for f in fields(CorunConfig)}
    if isinstance(content, dict):
        content = _without_gone_keys(content, path)
    if not isinstance(content, dict) or not set(content) <= known:
        raise WeightsError(
            f"{path}: hyper-parameters {content!r} are not CORUN's; is it of a newer version?"
        )
    try:
        return CorunConfig(**content)
    except ConfigurationError as error:
        raise WeightsError(f"{path}: {error}") from error
    except (TypeError, ValueError) as error:  # a text or list where a number is compared
        raise WeightsError(
            f"{path}: hyper-parameters {content!r} are of wrong types; is it damaged?"
        ) from error


def _keeps_bfloat16(metadata: dict[str, Any]) -> bool:
    measured = metadata.get("bfloat16_psnr")
    return isinstance(measured, int | float) and measured >= BFLOAT16_PSNR


def _one_line(error: BaseException) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or next(iter(str(error).splitlines()), type(error).__name__)


def ready(network: nn.Module, device: torch.device | str) -> nn.Module:
    """The network as it is used: in evaluation mode, frozen, on the device."""
    frozen = network.eval().requires_grad_(False).to(device)
    return in_channels_last(frozen)


def in_channels_last(network: nn.Module) -> nn.Module:
    """The same network with its weights in channels-last memory order, in place."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dim() == 4:  # there is no such order of others, and Module.to refuses five
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return network
