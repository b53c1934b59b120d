"""A process of its own that offers labels: `pool_writer.py FOLDER RANK WORLD COUNT`.

With COUNT 0 it never stops, so that a test can kill it in the middle of a write. The environment's
OWNER, if set, is the folder of the run it belongs to.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from corun.colabator.label_pool import LabelPool, PoolIdentity

SIDE, BLOCK = 96, 32
KEYS = [f"{n:032x}-0" for n in range(6)]
IDENTITY = PoolIdentity("tiny", "density", "quality", SIDE, BLOCK)


def put(pool: LabelPool, key: str, step: int) -> None:
    """A label whose every pixel, weight and score tells its step."""
    value = step % 256 / 255
    pool.put(
        key,
        torch.full((3, SIDE, SIDE), value),
        torch.full((1, SIDE, SIDE), value),
        torch.full((1, 3, 3), value),
        float(step),
        value,
        step,
    )


def main(folder: Path, rank: int, world: int, count: int) -> None:
    owner = os.environ.get("OWNER")
    pool = LabelPool(folder, IDENTITY, KEYS, owner=Path(owner) if owner else None)
    step = 0
    while not count or step < count:
        for key in KEYS[rank::world]:
            put(pool, key, step)
        if step == 0:
            print("started", flush=True)
        step += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:5]))
