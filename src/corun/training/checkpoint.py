"""Checkpoints that are either whole or absent."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from corun.errors import WeightsError

LAST = "last.ckpt"
BEST = "best.ckpt"


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint under a temporary name, flush it to disk, and rename it.

    A process killed at any instant leaves either the previous checkpoint or the new one.

    Raises:
        OSError: the disk is full or the folder cannot be written; nothing changes then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_atomically` wrote, onto the CPU.

    Raises:
        WeightsError: the file is not a checkpoint of ours.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise WeightsError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); "
            "move it away to start again"
        ) from error
    if not isinstance(content, dict) or "step" not in content:
        raise WeightsError(f"{path}: not a training checkpoint; move it away to start again")
    return content
