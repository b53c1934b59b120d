"""What a label pool holds, in words and as a contact sheet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor

from corun.colabator.coherence import smooth_weights
from corun.colabator.label_pool import PoolReader, open_existing, shards_of


@dataclass(frozen=True)
class PoolReport:
    """A pool at a glance, all its shards together.

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
    with _shards(folder) as pools:
        photos = [(pool, key) for pool in pools for key in pool.photos()]
        found = [record for pool, key in photos if (record := pool.record(key)) is not None]
        return PoolReport(
            photos=len(photos),
            labels=len(found),
            damaged=sum(len(pool.damaged()) for pool in pools),
            replaced=sum(record.replaced for record in found),
            quality=_means([(record.first_quality, record.quality) for record in found]),
            density=_means([(record.first_density, record.density) for record in found]),
            history=_together([entry for pool in pools for entry in pool.history()]),
        )


def contact_sheet(
    folder: Path, *, columns: int = 4, rows: int = 4, side: int = 144
) -> Float[Tensor, "3 h w"] | None:
    """Labels with their trusted weights beside them (white = trusted); None if there are none."""
    with _shards(folder) as pools:
        made = (_tile(pool, key, side) for pool in pools for key in pool.photos())
        tiles = list(islice((tile for tile in made if tile is not None), columns * rows))
    if not tiles:
        return None
    tiles += [torch.ones_like(tiles[0])] * (-len(tiles) % columns)
    lines = [torch.cat(tiles[i : i + columns], 2) for i in range(0, len(tiles), columns)]
    return torch.cat(lines, 1)


@contextmanager
def _shards(folder: Path) -> Iterator[list[PoolReader]]:
    pools = [open_existing(folder, shard) for shard in shards_of(folder)]
    yield pools
    for pool in pools:
        pool.close()


def _means(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Of the first and of the second numbers; 0 where there are none."""
    first, second = zip(*pairs, strict=True) if pairs else ((0.0,), (0.0,))
    return fmean(first), fmean(second)


def _together(entries: list[dict[str, float | int]]) -> list[dict[str, float | int]]:
    """The histories of shards as one: labels and replacements add up, means are over all labels."""
    moment = itemgetter("run", "step")
    merged: list[dict[str, float | int]] = []
    for (run, step), group in groupby(sorted(entries, key=moment), moment):
        parts = list(group)
        labels = [part["labels"] for part in parts]
        merged.append(
            {
                "run": run,
                "step": step,
                "labels": sum(labels),
                "quality": fmean([part["quality"] for part in parts], labels),
                "density": fmean([part["density"] for part in parts], labels),
                "replaced": sum(part["replaced"] for part in parts),
            }
        )
    return merged


def _tile(pool: PoolReader, key: str, side: int) -> Tensor | None:
    label = pool.get(key)
    if label is None:
        return None
    size = pool.identity.side
    weight = smooth_weights(label.weights[None], size, size, pool.identity.block)
    pair = torch.cat((label.scene[None], weight.expand(1, 3, -1, -1)), 3)
    return torch.nn.functional.interpolate(pair, (side, 2 * side), mode="area")[0]
