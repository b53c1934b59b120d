"""Files of adapted networks of any kind: what they say of the network, and how they are opened.

A file of ours that holds no CORUN has in its header, under ``corun``, the specification of its
network (``architecture``; see :mod:`corun.networks.brought`) and under ``network`` with what it is
made and called: ``arguments``, ``range``, ``multiple`` and ``output``. So the file alone is enough.
What is made by an import path is code of whoever wrote the file; it is named first, and imported
only where the user says that it is to be trusted.
"""

from __future__ import annotations

import json
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import torch
from torch import nn

from corun.errors import ConfigurationError, WeightsError, escaped, tell
from corun.files import checksum
from corun.networks.brought import (
    BUILT_IN,
    BroughtNetwork,
    fill,
    is_import_path,
    open_network,
    open_spandrel,
    read_state,
)
from corun.networks.checkpoints import (
    ARCHITECTURE,
    HEADER_KEY,
    LoadedNetwork,
    load_network,
    read_header,
    read_safetensors,
    ready,
    save_network,
    write_safetensors,
)
from corun.networks.corun import CORUN
from corun.networks.files import network_file
from corun.networks.known_methods import known_method
from corun.networks.registry import MODELS

SPANDREL = "spandrel:"


def save_adapted(
    path: Path,
    network: nn.Module,
    metadata: dict[str, Any],
    specification: str,
    arguments: dict[str, Any] | None = None,
) -> None:
    """Write an adapted network: ours with its hyper-parameters, any other with how it is made.

    Args:
        path: where to; its folder is made.
        network: as :func:`~corun.networks.brought.open_network` makes it.
        metadata: plain values to keep beside.
        specification: of the network.
        arguments: that it was made with.

    Raises:
        WeightsError: the file cannot be written.
    """
    if isinstance(network, CORUN):
        save_network(path, network, metadata)
        return
    tensors = {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in network.state_dict().items()
    }
    made: dict[str, Any] = {"arguments": arguments or {}}
    if isinstance(network, BroughtNetwork) and not specification.startswith(SPANDREL):
        made |= {
            "range": list(network.value_range),
            "multiple": network.multiple,
            "output": network.output,
        }
    header = {**metadata, "architecture": specification, "network": made}
    try:
        write_safetensors(path, tensors, {HEADER_KEY: json.dumps(header)})
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror or error})") from error


def load_any(
    name_or_path: str | Path, *, device: torch.device | str = "cpu", trust: bool = False
) -> LoadedNetwork:
    """What :func:`~corun.networks.checkpoints.load_network` loads, and adapted networks.

    Args:
        name_or_path: a registered name, a file, or hf://owner/repository/file.
        device: where the network goes.
        trust: whether the code that an import path in the file names may be imported and run.

    Raises:
        WeightsError: as there; or the file needs trust, or the code that it names is not there or
            makes another network.
        MissingExtraError: spandrel is needed and not installed.
    """
    path = _file(str(name_or_path))
    header = None if path is None else read_header(path)
    if path is None or header is None or header.get("architecture") == ARCHITECTURE:
        try:
            return load_network(path or name_or_path, device=device)
        except WeightsError as error:
            told = _of_another_method(path or Path(name_or_path))
            if told is None:
                raise
            raise told from error
    specification, made = str(header.get("architecture")), _made(path, header)
    _, state = read_safetensors(path)
    if specification.startswith(SPANDREL):
        network: nn.Module = open_spandrel(path, state)
    elif specification in BUILT_IN or is_import_path(specification):
        if is_import_path(specification):
            _require_trust(path, specification, made["arguments"], trust)
        try:
            network = open_network(specification, **made)
        except ConfigurationError as error:
            raise WeightsError(f"{path}: {error}") from error
        fill(network, state, path)
    else:
        raise WeightsError(
            f"{path}: holds {escaped(specification)!r}, which this version does not know"
        )
    return LoadedNetwork(ready(network, device), path.name, header, None, path)


def _of_another_method(path: Path) -> WeightsError | None:
    """What to say of the checkpoint of a known method; None where it is of none."""
    try:
        known = known_method(read_state(path))
    except WeightsError:
        return None
    if known is None:
        return None
    made = "spandrel:FILE" if known.source == "spandrel" else f"{known.source}:FILE"
    return WeightsError(
        f"{path}: is a checkpoint of {known.name}, whose network is not part of corun; corun "
        f"evaluate takes it as {made}, and corun models convert --network MODULE:CLASS makes a "
        "file of it that every command runs"
    )


def header_of_adapted(name_or_path: str | Path) -> dict[str, Any] | None:
    """What the file of an adapted network says, and its number of parameters; None of any other.

    Raises:
        WeightsError: there is no such file, or it is unreadable.
    """
    path = _file(str(name_or_path))
    header = None if path is None else read_header(path)
    if path is None or header is None or header.get("architecture") == ARCHITECTURE:
        return None
    count = sum(tensor.numel() for tensor in read_safetensors(path)[1].values())
    return {"name": path.name, "architecture": None, "parameters": count, **header}


def code_digest(path: Path) -> str:
    """SHA-256 of the module that an adapted file names; "" where it names none, or it is not found.

    Raises:
        WeightsError: the file is unreadable.
    """
    header = read_header(path) if path.suffix == ".safetensors" else None
    return module_digest(str((header or {}).get("architecture")))


def module_digest(specification: str) -> str:
    """SHA-256 of the module of an import path; "" where it is none, or not found.

    Nothing is imported for it.
    """
    if not is_import_path(specification):
        return ""
    package, *parts = specification.partition(":")[0].split(".")
    try:
        found = find_spec(package)
        for part in parts:  # find_spec of the whole name would import the packages on the way
            inside = found.submodule_search_locations if found else None
            found = PathFinder.find_spec(part, inside or [])
        return checksum(Path(found.origin)) if found and found.origin else ""
    except (ImportError, OSError, ValueError):
        return ""  # whoever loads the network says what is wrong


def _file(text: str) -> Path | None:
    """The safetensors file of that name, or None where it is a model's name or another file's."""
    path = None if text in MODELS else network_file(text)
    return path if path is not None and path.suffix == ".safetensors" else None


def _made(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`open_network` in a header, checked."""
    said = header.get("network", {})
    said = {**said} if isinstance(said, dict) else {"network": said}
    made = {
        "arguments": said.pop("arguments", {}),
        "value_range": said.pop("range", [0.0, 1.0]),
        "multiple": said.pop("multiple", 1),
        "output": said.pop("output", None),
    }
    limits, multiple = made["value_range"], made["multiple"]
    sound = (
        not said
        and isinstance(made["arguments"], dict)
        and isinstance(limits, list)
        and len(limits) == 2
        and all(type(value) in (int, float) for value in limits)
        and type(multiple) is int
        and 1 <= multiple <= 4096
        and isinstance(made["output"], int | str | None)
    )
    if not sound:
        raise WeightsError(
            f"{path}: what it says of its network is damaged, or of a newer version of corun"
        )
    return {**made, "value_range": (float(limits[0]), float(limits[1]))}


def _require_trust(path: Path, specification: str, arguments: dict[str, Any], trust: bool) -> None:
    """Name the code to the user before it is imported, and refuse it unless it is trusted."""
    named = escaped(f"{specification}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})")
    if specification.partition(":")[0].partition(".")[0] in sys.stdlib_module_names:
        raise WeightsError(f"{path}: names {named} as its network, which is part of Python")
    if not trust:
        raise WeightsError(
            f"{path}: its network is code on this machine, {named}, which would be imported and "
            "run; if you know it and who wrote the file, add --trust (trust=True in Python)"
        )
    if parent_process() is None:  # said once, not by every worker
        tell(f"note: {path}: runs {named}")
