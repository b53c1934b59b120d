"""What every format comes to: the content of files, and a way to run it before it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import ExportError, system_errors_as
from corun.files import checksum, write_atomically
from corun.networks.checkpoints import LoadedNetwork
from corun.networks.corun import CORUN
from corun.networks.fingerprint import weights_sha256

Facts = dict[str, Any]
Run = Callable[[Float[Tensor, "b 3 h w"]], tuple[Tensor, ...]]
"""Runs exactly what the files hold; results in the part's order, float32."""


@dataclass(frozen=True)
class Exported:
    """An exported part, not written yet.

    Attributes:
        files: the content of each file by its suffix; the first is the one that is named.
        run: runs them.
    """

    files: dict[str, bytes]
    run: Run


def facts_about(
    loaded: LoadedNetwork, network: nn.Module, part: str, precision: str, multiple: int
) -> Facts:
    """The model's card, as it travels inside an exported file.

    Args:
        loaded: the model.
        network: of which a part is exported.
        part: which.
        precision: of the export.
        multiple: of which the sides of pictures are multiples, for a network that is no CORUN.

    Returns:
        name, config, licence; the sha256 of the weights file (of the tensors where there is none);
        the version of corun; part and precision; working_pixels and multiple, pixels.
    """
    what = f"{loaded.file}: cannot be read"
    with system_errors_as(ExportError, what, "check its permissions"):
        digest = weights_sha256(network) if loaded.file is None else checksum(loaded.file)
    config = network.config if isinstance(network, CORUN) else None
    return {
        "name": loaded.name,
        "architecture": loaded.metadata.get("architecture", type(network).__name__),
        "config": None if config is None else config.to_dict(),
        "licence": "unknown" if loaded.card is None else loaded.card.licence,
        "sha256": digest,
        "corun": version("corun-dehaze"),
        "part": part,
        "precision": precision,
        "working_pixels": 0 if config is None else config.working_pixels,
        "multiple": multiple if config is None else config.multiple,
    }


def write_files(path: Path, files: dict[str, bytes]) -> None:
    """Write the content of files that belong together; the named one comes last.

    Each appears under its name when it is complete.

    Args:
        path: of the named file; the others take its stem.
        files: content by suffix, the named one first.

    Raises:
        ExportError: the folder cannot be written or the disk is full; no part of a file is left.
    """
    named, *beside = files
    for suffix in (*beside, named):
        file = path if suffix == named else path.with_suffix(suffix)
        what, remedy = f"{file}: cannot be written", "choose another place with -o, or make room"
        with system_errors_as(ExportError, what, remedy):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, files[suffix])


def require_place(path: Path) -> None:
    """Refuse a place that cannot be written, before minutes of work.

    Raises:
        ExportError: the folder, or the one that it would be made in, is no folder or read-only.
    """
    what, remedy = f"{path}: cannot be written", "choose another place with -o"
    with system_errors_as(ExportError, what, remedy):
        nearest = next(folder for folder in path.absolute().parents if folder.exists())
        usable = nearest.is_dir() and os.access(nearest, os.W_OK)
    if not usable:
        raise ExportError(f"{what} ({nearest} is read-only or no folder); {remedy}")
