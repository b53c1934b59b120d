"""Short digits that stand for weights, files and settings: the same for the same content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn

from corun.errors import WeightsError, system_errors_as
from corun.files import checksum

DIGITS = 12
"""48 bits: two runs of one person do not meet by chance."""


def fingerprint(network: nn.Module) -> str:
    """Twelve digits that stand for a network's weights."""
    return weights_sha256(network)[:DIGITS]


def weights_sha256(network: nn.Module) -> str:
    """The sha256 of a network's weights as float32, with their names."""
    return checksum(
        part
        for name, tensor in network.state_dict().items()
        for part in (name.encode(), _bytes_of(tensor))
    )


def file_fingerprint(path: Path) -> str:
    """Twelve digits that stand for a file's bytes, wherever it lies.

    Raises:
        WeightsError: the file cannot be read.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    with system_errors_as(WeightsError, f"{path}: cannot be read"):
        return checksum(path)[:DIGITS]


def values_fingerprint(*values: object) -> str:
    """Twelve digits that stand for plain values and tensors, in their order."""
    parts = (
        _bytes_of(value) if isinstance(value, Tensor) else repr(value).encode() + b"\0"
        for value in values
    )
    return checksum(parts)[:DIGITS]


def listing_fingerprint(files: Iterable[Path | None]) -> str:
    """Twelve digits that stand for the names and sizes of files."""
    return values_fingerprint(*[(path.name, path.stat().st_size) for path in files if path])


def _bytes_of(tensor: Tensor) -> bytes:
    """The values as float32, in the host's byte order."""
    return tensor.detach().cpu().float().contiguous().numpy().tobytes()
