"""What a second worker of a Ray cluster adds: `corun batch --ray` with one and with two workers.

    python benchmarks/ray_workers.py [--photos 120] [--width 1600] [--height 1200] [--rounds 3]

Each worker has one thread, so the machine needs two cores that are free. Rendered photos are
cleared by a cluster of this machine, with one worker and with two in turn; the time runs from the
first results to the last, without the start of the cluster, and is told by the results' times of
writing. The ratio of the medians should be at least 1.7. A hundred photos are needed for it: while
the first dozens are cleared, Ray's own processes are still starting on the same cores.

A lone worker of one thread does not stay on one core: it reads and writes photos while its network
works, as a folder's run does. So a third row has the whole cluster of one worker on one core, which
is what a second machine would add to.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from corun.data.scenes import render


def write_photos(folder: Path, count: int, height: int, width: int) -> None:
    """One rendered scene in haze, with another grain in each photo."""
    folder.mkdir(parents=True)
    scene = render(3, height, width)
    T = np.exp(-2.2 * scene.depth)[..., None]
    hazy = scene.clean * T + np.float32([0.85, 0.87, 0.9]) * (1 - T)
    for number in range(count):
        grain = np.random.default_rng(number).normal(0, 2, hazy.shape)
        levels = np.rint(hazy * 255 + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(levels).save(folder / f"{number:04}.jpg", quality=92)


class Cluster(NamedTuple):
    """Workers, and the cores that the whole cluster may use."""

    workers: int
    cores: int


ROWS = (Cluster(1, 2), Cluster(2, 2), Cluster(1, 1))


def photos_per_second(photos: Path, clear: Path, cluster: Cluster, model: str) -> float:
    """Of a whole batch, once all workers work."""
    workers = cluster.workers
    command = [sys.executable, "-m", "corun", "batch", str(photos), str(clear), "--model", model]
    command += ["--ray", "local", "--workers", str(workers), "--threads", "1", "--quiet"]
    cores = sorted(os.sched_getaffinity(0))[: cluster.cores]
    subprocess.run(command, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    times = sorted(path.stat().st_mtime for path in clear.glob("*.jpg"))
    begun = 2 * workers  # so many are done while one worker may still be starting
    return (len(times) - begun) / (times[-1] - times[begun - 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="corun-lite")
    options = parser.parse_args()
    rates: dict[Cluster, list[float]] = {row: [] for row in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        write_photos(photos, options.photos, options.height, options.width)
        for number in range(options.rounds):
            for row, found in rates.items():
                clear = Path(folder) / f"clear-{row.workers}-{row.cores}-{number}"
                found.append(photos_per_second(photos, clear, row, options.model))
    one, two, alone = (statistics.median(rates[row]) for row in ROWS)
    print(f"{options.photos} photos of {options.width}x{options.height}, one thread a worker")
    print(f"one worker {one:.2f} photos/s, two {two:.2f}: ratio {two / one:.2f} (at least 1.7)")
    print(f"one worker on one core {alone:.2f} photos/s: ratio {two / alone:.2f}")


if __name__ == "__main__":
    main()
