"""What a label pool holds, in words and as a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor

from corun.colabator.coherence import smooth_weights
from corun.colabator.label_pool import open_existing
from corun.colabator.pool_reader import PoolReader


@dataclass(frozen=True)
class PoolReport:
    """A pool at a glance.

    Attributes:
        photos: how many it knows.
        labels: how many have a label.
        damaged: how many have lost their newest label to damage.
        replaced: how often a label was replaced by a better one.
        quality: mean Q of the first labels and of the present ones.
        density: mean D likewise.
        history: one entry per commit: run, step, labels, quality, density, replaced.
    """

    photos: int
    labels: int
    damaged: int
    replaced: int
    quality: tuple[float, float]
    density: tuple[float, float]
    history: list[dict[str, float | int]]


def report(folder: Path) -> PoolReport:
    """Read a pool, also while a run is writing to it; nothing is changed.

    Raises:
        DataError: there is no pool in the folder, or one of its files is damaged.
    """
    pool = open_existing(folder)
    # The scores alone: the pictures of a large pool do not fit in memory.
    found = [
        (label.first_quality, label.quality, label.first_density, label.density, label.replaced)
        for key in pool.photos()
        if (label := pool.get(key)) is not None
    ]
    first_quality, quality, first_density, density, replaced = (
        zip(*found, strict=True) if found else [(0.0,)] * 5
    )
    result = PoolReport(
        photos=len(pool.photos()),
        labels=len(found),
        damaged=len(pool.damaged()),
        replaced=int(sum(replaced)),
        quality=(fmean(first_quality), fmean(quality)),
        density=(fmean(first_density), fmean(density)),
        history=pool.history(),
    )
    pool.close()
    return result


def contact_sheet(
    folder: Path, *, columns: int = 4, rows: int = 4, side: int = 144
) -> Float[Tensor, "3 h w"] | None:
    """Labels with their trusted weights beside them (white = trusted); None if there are none."""
    pool = open_existing(folder)
    made = (_tile(pool, key, side) for key in pool.photos())
    tiles = list(islice((tile for tile in made if tile is not None), columns * rows))
    pool.close()
    if not tiles:
        return None
    tiles += [torch.ones_like(tiles[0])] * (-len(tiles) % columns)
    lines = [torch.cat(tiles[i : i + columns], 2) for i in range(0, len(tiles), columns)]
    return torch.cat(lines, 1)


def _tile(pool: PoolReader, key: str, side: int) -> Tensor | None:
    label = pool.get(key)
    if label is None:
        return None
    size = pool.identity.side
    weight = smooth_weights(label.weights[None], size, size, pool.identity.block)
    pair = torch.cat((label.scene[None], weight.expand(1, 3, -1, -1)), 3)
    return torch.nn.functional.interpolate(pair, (side, 2 * side), mode="area")[0]
