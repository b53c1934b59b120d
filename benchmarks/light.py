"""What a photo costs: seconds and memory of whole commands, by ONNX Runtime and by torch in turn.

    python benchmarks/light.py --rounds 5

For each engine and size: from the start of the process to the written file, the median of the
rounds, and the peak of resident memory. Then pictures a second in a loop, by every engine that is
installed, as a ratio to torch in float32; and how far a folder of photos stays behind the loop.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from corun.data.scenes import render
from corun.dehazing.loading import load
from corun.errors import CorunError

SIZES = {"640x480": (480, 640), "12 megapixels": (3000, 4000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, size in SIZES.items():
            photo = folder / f"{size[1]}.jpg"
            Image.fromarray(hazy_scene(*size)).save(photo, quality=92)
            commands(title, photo, options.rounds)
        seconds = [command(["--help"])[0] for _ in range(options.rounds)]
        print(f"corun --help: {statistics.median(seconds):.2f} s")
        loop(folder / "640.jpg", options.rounds)


def hazy_scene(height: int, width: int) -> np.ndarray:
    """A rendered scene in haze, RGB, uint8; a large one is a smaller one, enlarged."""
    scene = render(1, min(height, 768), min(width, 1024))
    t = np.exp(-2.5 * scene.depth)[:, :, None]
    hazy = np.rint(255 * (scene.clean * t + np.float32(0.9) * (1 - t))).astype(np.uint8)
    return np.asarray(Image.fromarray(hazy).resize((width, height), Image.Resampling.BICUBIC))


def command(words: list[str]) -> tuple[float, float]:
    """Seconds and MB (peak resident) of one run of `corun`."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "corun", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"corun {' '.join(words)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def commands(title: str, photo: Path, rounds: int) -> None:
    runs: dict[str, list[tuple[float, float]]] = {"onnx": [], "torch": []}
    for _ in range(rounds):
        for engine, found in runs.items():
            words = ["dehaze", str(photo), "--engine", engine, "--device", "cpu", "--overwrite"]
            found.append(command(words))
    seconds = {engine: statistics.median(run[0] for run in found) for engine, found in runs.items()}
    for engine, found in runs.items():
        peak = max(run[1] for run in found)
        print(
            f"corun dehaze, {title}, {engine}: {seconds[engine]:.2f} s, {peak:.0f} MB "
            f"({seconds['torch'] / seconds[engine]:.1f} times as fast as torch)",
            flush=True,
        )


def loop(photo: Path, rounds: int) -> None:
    picture = np.asarray(Image.open(photo))
    kinds = {
        "torch float32": {"engine": "torch"},
        "torch bfloat16": {"engine": "torch", "dtype": "bfloat16"},
        "onnx float32": {"engine": "onnx"},
        "openvino float32": {"engine": "openvino"},
        "openvino bfloat16": {"engine": "openvino", "dtype": "bfloat16"},
    }
    dehazers = {}
    for kind, options in kinds.items():
        try:
            dehazers[kind] = load("corun-lite", device="cpu", **options)
        except CorunError as error:
            print(f"{kind}: {error}")
    seconds: dict[str, list[float]] = {kind: [] for kind in dehazers}
    for _ in range(rounds):
        for kind, dehazer in dehazers.items():
            dehazer(picture)  # threads of the engine before may still spin; it is not counted
            for _ in range(5):
                start = time.perf_counter()
                dehazer(picture)
                seconds[kind].append(time.perf_counter() - start)
    medians = {kind: statistics.median(found) for kind, found in seconds.items()}
    for kind, median in medians.items():
        ratio = medians["torch float32"] / median
        print(f"640x480 in a loop, {kind}: {1 / median:.1f} a second, {ratio:.2f} of torch float32")


if __name__ == "__main__":
    main()
