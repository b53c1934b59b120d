"""Separable filters of one-channel maps, as tiled matrix products.

A short filter along one axis is a banded matrix; cut into tiles, the band is a small dense matrix
that is the same for every tile. One batched matrix product then filters a whole batch in double
precision at the speed of the processor's matrix kernels, where a convolution of one channel, or a
sum of shifted copies, is bound by memory.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Border = Literal["zero", "replicate", "symmetric"]
"""What lies outside a map: 0, its nearest value, or its mirror image with the edge repeated."""

_TILE = 64
"""Outputs per tile: large enough for the matrix kernels, small enough that the band fills it."""


@lru_cache(maxsize=8)
def gaussian_window(size: int = 7, sigma: float = 7 / 6) -> tuple[float, ...]:
    """exp(−k²/2σ²) for k = −(size−1)/2 … (size−1)/2, normalised to a sum of 1."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return tuple((weights / weights.sum()).tolist())


@lru_cache(maxsize=1)
def halving_window() -> tuple[float, ...]:
    """The 8 weights of a bicubic reduction by 2 with antialiasing.

    ½·k(d/2) at the distances d = −3.5, −2.5 … 3.5, k Keys' cubic kernel with a = −½ (Keys,
    "Cubic Convolution Interpolation", 1981), which is what MATLAB's ``imresize(x, 0.5)`` does.
    """

    def cubic(distance: float) -> float:
        x = abs(distance)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    weights = [0.5 * cubic(0.5 * (k - 3.5)) for k in range(8)]
    return tuple(weight / sum(weights) for weight in weights)


def smooth(
    maps: Float[Tensor, "b h w"], window: tuple[float, ...], border: Border
) -> Float[Tensor, "b h w"]:
    """Correlate with window ⊗ window (odd length), keeping the size."""
    reach = len(window) // 2
    height, width = maps.shape[-2:]
    rows = _along_rows(_extend(maps, -2, reach, reach, border), window, 1, height)
    return _along_columns(_extend(rows, -1, reach, reach, border), window, 1, width)


def halve(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b hh hw"]:
    """Half the size, rounded up, by bicubic interpolation with antialiasing.

    Equal to MATLAB's ``imresize(maps, 0.5)`` on doubles: the border is mirrored, the result is
    neither rounded nor clamped.
    """
    window = halving_window()
    height, width = ((side + 1) // 2 for side in maps.shape[-2:])
    below, right = (
        2 * new + 3 - old for new, old in ((height, maps.shape[-2]), (width, maps.shape[-1]))
    )
    rows = _along_rows(_extend(maps, -2, 3, below, "symmetric"), window, 2, height)
    return _along_columns(_extend(rows, -1, 3, right, "symmetric"), window, 2, width)


def _extend(maps: Tensor, dim: int, before: int, after: int, border: Border) -> Tensor:
    """Add ``before`` and ``after`` values along an axis."""
    size = maps.shape[dim]
    if border == "zero":
        shape = list(maps.shape)
        shape[dim] = before
        head = maps.new_zeros(shape)
        shape[dim] = after
        return torch.cat((head, maps, maps.new_zeros(shape)), dim)
    index = torch.arange(-before, size + after, device=maps.device)
    if border == "replicate":
        index = index.clamp(0, size - 1)
    else:
        index = index % (2 * size)
        index = torch.where(index < size, index, 2 * size - 1 - index)
    return maps.index_select(dim, index)


@lru_cache(maxsize=64)
def _band(
    window: tuple[float, ...], stride: int, outputs: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(outputs, (outputs−1)·stride + len(window)): row i holds the window from column i·stride."""
    band = torch.zeros(outputs, (outputs - 1) * stride + len(window), dtype=dtype)
    for row in range(outputs):
        start = row * stride
        band[row, start : start + len(window)] = torch.tensor(window, dtype=dtype)
    return band.to(device)


def _along_rows(padded: Tensor, window: tuple[float, ...], stride: int, outputs: int) -> Tensor:
    """Filter down the columns: (b, padded, w) → (b, outputs, w)."""
    pieces = []
    whole = outputs // _TILE
    if whole:
        band = _band(window, stride, _TILE, padded.dtype, padded.device)
        tiles = padded.unfold(-2, band.shape[1], _TILE * stride)[:, :whole].transpose(-1, -2)
        pieces.append((band @ tiles).flatten(1, 2))
    rest = outputs - whole * _TILE
    if rest:
        band = _band(window, stride, rest, padded.dtype, padded.device)
        start = whole * _TILE * stride
        pieces.append(band @ padded[:, start : start + band.shape[1]])
    return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]


def _along_columns(padded: Tensor, window: tuple[float, ...], stride: int, outputs: int) -> Tensor:
    """Filter along the rows: (b, h, padded) → (b, h, outputs)."""
    pieces = []
    whole = outputs // _TILE
    if whole:
        band = _band(window, stride, _TILE, padded.dtype, padded.device)
        tiles = padded.unfold(-1, band.shape[1], _TILE * stride)[:, :, :whole]
        pieces.append((tiles @ band.T).flatten(2, 3))
    rest = outputs - whole * _TILE
    if rest:
        band = _band(window, stride, rest, padded.dtype, padded.device)
        start = whole * _TILE * stride
        pieces.append(padded[:, :, start : start + band.shape[1]] @ band.T)
    return torch.cat(pieces, 2) if len(pieces) > 1 else pieces[0]
