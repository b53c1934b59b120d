"""Checkpoints that are either whole or absent."""

from __future__ import annotations

import errno
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from corun.configuration import differing_keys
from corun.errors import WeightsError
from corun.files import written_atomically
from corun.networks.checkpoints import read_pth

LAST = "last.ckpt"
BEST = "best.ckpt"


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint under a temporary name, flush it to disk, and rename it.

    A process killed at any instant leaves either the previous checkpoint or the new one.

    Raises:
        OSError: the disk is full or the folder cannot be written; nothing changes then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with written_atomically(path) as partial, partial.open("wb") as stream:
            torch.save(content, stream)
    except RuntimeError as error:
        # What torch's own writer makes of a stream that takes no more, now and then.
        reason = next(iter(str(error).splitlines()), "torch.save failed")
        raise OSError(errno.EIO, reason, str(path)) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_atomically` wrote, onto the CPU.

    Raises:
        WeightsError: the file is not a checkpoint of ours, or a byte of it has changed.
    """
    _require_sound(path)
    content = read_pth(path, remedy="move it away to start again")
    if not isinstance(content, dict) or "step" not in content:
        raise WeightsError(f"{path}: not a training checkpoint; move it away to start again")
    return content


def _require_sound(path: Path) -> None:
    """Compare every part of the file with its checksum, which torch writes but does not read."""
    if not zipfile.is_zipfile(path):
        return  # what reads it says what it is
    damaged: str | None
    try:
        with zipfile.ZipFile(path) as parts:
            damaged = parts.testzip()
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, zlib.error, NotImplementedError):
        damaged = "its list of parts"
    if damaged is not None:
        raise WeightsError(
            f"{path}: damaged ({damaged} is not what its checksum says); restore a copy, or move "
            "it away to start again"
        )


def differing_identities(identity: str, other: str) -> list[str]:
    """The dotted keys in which two runs' identities (JSON texts) differ, sorted."""
    return sorted(differing_keys(json.loads(identity), json.loads(other)))
