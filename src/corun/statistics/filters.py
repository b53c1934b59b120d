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
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Border = Literal["zero", "replicate", "symmetric"]
"""What lies outside a map: 0, its nearest value, or its mirror image with the edge repeated."""

_ROW_TILE, _COLUMN_TILE = 16, 32
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
    return smooth_inside(extend(maps, reach, border), window)


def smooth_inside(
    maps: Float[Tensor, "b ph pw"], window: tuple[float, ...]
) -> Float[Tensor, "b h w"]:
    """Correlate with window ⊗ window where it fits; len(window) − 1 smaller on each axis."""
    height, width = (side - len(window) + 1 for side in maps.shape[-2:])
    return _along_columns(_along_rows(maps, window, 1, height), window, 1, width)


def extend(
    maps: Float[Tensor, "b h w"], reach: int, border: Border, *, outside: float = 0.0
) -> Float[Tensor, "b ph pw"]:
    """Add ``reach`` values on each side; a "zero" border may be another constant."""
    if border == "zero":
        return F.pad(maps, (reach,) * 4, value=outside)
    if border == "replicate":
        return F.pad(maps[:, None], (reach,) * 4, mode="replicate")[:, 0]
    return _mirror(_mirror(maps, -2, reach, reach), -1, reach, reach)


def halve(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b hh hw"]:
    """Half the size, rounded up, by bicubic interpolation with antialiasing.

    Equal to MATLAB's ``imresize(maps, 0.5)`` on doubles: the border is mirrored, the result is
    neither rounded nor clamped.
    """
    window = halving_window()
    height, width = ((side + 1) // 2 for side in maps.shape[-2:])
    below, right = 2 * height + 3 - maps.shape[-2], 2 * width + 3 - maps.shape[-1]
    rows = _along_rows(_mirror(maps, -2, 3, below), window, 2, height)
    return _along_columns(_mirror(rows, -1, 3, right), window, 2, width)


def _mirror(maps: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Add mirrored values along an axis, the edge repeated."""
    size = maps.shape[dim]
    index = torch.arange(-before, size + after, device=maps.device) % (2 * size)
    return maps.index_select(dim, torch.where(index < size, index, 2 * size - 1 - index))


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
    tile, pieces = _ROW_TILE, []
    whole = outputs // tile
    if whole:
        band = _band(window, stride, tile, padded.dtype, padded.device)
        tiles = padded.unfold(-2, band.shape[1], tile * stride)[:, :whole].transpose(-1, -2)
        pieces.append((band @ tiles).flatten(1, 2))
    rest = outputs - whole * tile
    if rest:
        band = _band(window, stride, rest, padded.dtype, padded.device)
        start = whole * tile * stride
        pieces.append(band @ padded[:, start : start + band.shape[1]])
    return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]


def _along_columns(padded: Tensor, window: tuple[float, ...], stride: int, outputs: int) -> Tensor:
    """Filter along the rows: (b, h, padded) → (b, h, outputs)."""
    batch, height, _ = padded.shape
    # the overlapping tiles are views: the matrix product reads them where they are
    rows = padded.contiguous().flatten(0, 1)
    pieces = []
    for first in range(0, outputs, _COLUMN_TILE):
        count = min(_COLUMN_TILE, outputs - first)
        band = _band(window, stride, count, padded.dtype, padded.device)
        start = first * stride
        pieces.append(rows[:, start : start + band.shape[1]] @ band.T)
    return torch.cat(pieces, 1).view(batch, height, outputs)
