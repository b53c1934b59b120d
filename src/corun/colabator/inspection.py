"""What a label pool holds, in words and as a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from corun.colabator.coherence import smooth_weights
from corun.colabator.label_pool import LabelPool, open_existing


@dataclass(frozen=True)
class PoolReport:
    """A pool at a glance.

    Attributes:
        photos: how many it knows.
        labels: how many have a label.
        replaced: how often a label was replaced by a better one.
        quality: mean Q of the first labels and of the present ones.
        density: mean D likewise.
        history: one entry per commit: step, labels, quality, density, replaced.
    """

    photos: int
    labels: int
    replaced: int
    quality: tuple[float, float]
    density: tuple[float, float]
    history: list[dict[str, float | int]]


def report(folder: Path) -> PoolReport:
    """Read a pool, also while a run is writing to it.

    Raises:
        DataError: there is no pool in the folder.
    """
    pool = open_existing(folder)
    found = [label for key in pool.labelled() if (label := pool.get(key)) is not None]
    count = max(1, len(found))
    result = PoolReport(
        photos=len(pool.photos()),
        labels=len(found),
        replaced=sum(label.replaced for label in found),
        quality=(
            sum(label.first_quality for label in found) / count,
            sum(label.quality for label in found) / count,
        ),
        density=(
            sum(label.first_density for label in found) / count,
            sum(label.density for label in found) / count,
        ),
        history=pool.history(),
    )
    pool.close()
    return result


def contact_sheet(
    folder: Path, *, columns: int = 4, rows: int = 4, side: int = 144
) -> Float[Tensor, "3 h w"] | None:
    """Labels with their trusted weights beside them (white = trusted); None if there are none."""
    pool = open_existing(folder)
    tiles = [_tile(pool, key, side) for key in islice(pool.labelled(), columns * rows)]
    pool.close()
    if not tiles:
        return None
    tiles += [torch.ones_like(tiles[0])] * (-len(tiles) % columns)
    lines = [torch.cat(tiles[i : i + columns], 2) for i in range(0, len(tiles), columns)]
    return torch.cat(lines, 1)


def _tile(pool: LabelPool, key: str, side: int) -> Tensor:
    label = pool.get(key)
    assert label is not None
    size = pool.identity.side
    weight = smooth_weights(label.weights[None], size, size, pool.identity.block)
    pair = torch.cat((label.scene[None], weight.expand(1, 3, -1, -1)), 3)
    return torch.nn.functional.interpolate(pair, (side, 2 * side), mode="area")[0]
