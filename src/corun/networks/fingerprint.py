"""Short digits that stand for weights, files and settings: the same for the same content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor, nn

from corun.errors import WeightsError

DIGITS = 12
"""48 bits: two runs of one person do not meet by chance."""


def fingerprint(network: nn.Module) -> str:
    """Twelve digits that stand for a network's weights."""
    return weights_sha256(network)[:DIGITS]


def weights_sha256(network: nn.Module) -> str:
    """The sha256 of a network's weights as float32, with their names."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Twelve digits that stand for a file's bytes, wherever it lies.

    Raises:
        WeightsError: the file cannot be read.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:DIGITS]
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error


def values_fingerprint(*values: object) -> str:
    """Twelve digits that stand for plain values and tensors, in their order."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
        else:
            digest.update(repr(value).encode() + b"\0")
    return digest.hexdigest()[:DIGITS]
