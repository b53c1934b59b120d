"""Weights files: our safetensors with the hyper-parameters inside, the published .pth, the Hub.

A file of ours is a safetensors file whose header holds one JSON text under ``corun``:
``{"architecture": "CORUN", "config": {...}, ...}``. Anything that reads safetensors can read it.
"""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from corun.errors import ConfigurationError, WeightsError
from corun.networks.corun import CORUN, CorunConfig
from corun.networks.published_layout import is_published, load_published, load_strictly
from corun.networks.registry import MODELS, ModelCard, build_model, names, weights_path

HEADER_KEY = "corun"
ARCHITECTURE = "CORUN"
HUB_PREFIX = "hf://"


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready for use.

    Attributes:
        network: in evaluation mode, float32, on the asked device.
        name: the registered name or the file's.
        metadata: what the weights file says about itself.
        card: facts about the network.
    """

    network: nn.Module
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    card: ModelCard | None = None


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
    from safetensors.torch import save_file

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
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, {HEADER_KEY: json.dumps(header)})
        partial.replace(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)


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
        shipped = weights_path(card)
        if shipped is None:
            return LoadedNetwork(_ready(build_model(text), device), text, card=card)
        network, metadata = load_file_of_ours(shipped)
        return LoadedNetwork(_ready(network, device), text, metadata, card)
    path = _from_hub(text) if text.startswith(HUB_PREFIX) else Path(text).expanduser()
    if not path.exists():
        raise WeightsError(f"{text}: neither a model's name nor a file; the models are {names()}")
    if path.suffix == ".safetensors":
        network, metadata = load_file_of_ours(path)
    else:
        network, metadata = load_published(read_pth(path), str(path)), {"source": path.name}
    card = replace(
        MODELS["corun-base"],
        name=path.name,
        summary="a CORUN weights file",
        multiple=network.multiple,
        trained=True,
        licence="unknown",
    )
    return LoadedNetwork(_ready(network, device), path.name, metadata, card)


def load_file_of_ours(path: Path) -> tuple[CORUN, dict[str, Any]]:
    """The network in a safetensors file of ours, and what its header says.

    Raises:
        WeightsError: unreadable, of another program, or its tensors do not fit its header.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            header = (opened.metadata() or {}).get(HEADER_KEY)
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    if header is None:
        if is_published(state):
            return load_published(state, str(path)), {"source": path.name}
        raise WeightsError(
            f"{path}: no '{HEADER_KEY}' entry in its header, so its hyper-parameters are unknown; "
            "expected a file written by corun"
        )
    content = json.loads(header)
    if content.get("architecture") != ARCHITECTURE:
        raise WeightsError(f"{path}: holds {content.get('architecture')!r}, not {ARCHITECTURE!r}")
    network = CORUN(_config(content.get("config"), path))
    load_strictly(network, {n: t.float() for n, t in state.items()}, str(path))
    return network, content


def read_pth(path: Path) -> Any:
    """The content of a ``torch.save`` file, tensors and plain containers only.

    Raises:
        WeightsError: unreadable, or it would run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: not a plain weights file (it holds more than tensors, or is damaged); "
            "re-save its state dict with torch.save"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: not a readable weights file ({reason})") from error


def convert_published(source: Path, destination: Path) -> CORUN:
    """Read a published ``.pth`` and write it as a file of ours.

    Raises:
        WeightsError: see :func:`load_network` and :func:`save_network`.
    """
    if not source.is_file():
        raise WeightsError(f"{source}: no such file; give a published CORUN checkpoint (.pth)")
    network = load_published(read_pth(source), str(source))
    save_network(destination, network, {"source": source.name})
    return network


def _config(content: Any, path: Path) -> CorunConfig:
    known = {f.name for f in fields(CorunConfig)}
    if not isinstance(content, dict) or not set(content) <= known:
        raise WeightsError(
            f"{path}: hyper-parameters {content!r} are not CORUN's; is it of a newer version?"
        )
    try:
        return CorunConfig(**content)
    except ConfigurationError as error:
        raise WeightsError(f"{path}: {error}") from error


def _ready(network: nn.Module, device: torch.device | str) -> nn.Module:
    frozen = network.eval().requires_grad_(False).to(device)
    return in_channels_last(frozen)


def in_channels_last(network: nn.Module) -> nn.Module:
    """The same network with its weights in channels-last memory order, in place."""
    ordered: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ordered


def _from_hub(text: str) -> Path:
    """Download ``hf://owner/repo/file`` into the Hub's cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    parts = text.removeprefix(HUB_PREFIX).split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise WeightsError(f"{text}: expected hf://owner/repository/file")
    try:
        return Path(hf_hub_download("/".join(parts[:2]), parts[2]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{text}: cannot be fetched ({reason}); download it yourself and give the file"
        ) from error
