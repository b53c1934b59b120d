"""What a photo costs: seconds and memory of whole commands, by ONNX Runtime and by torch in turn.

    python benchmarks/light.py --rounds 5

For each engine and size: from the start of the process to the written file, and the seconds of all
processors, which a busy machine lengthens less: median and least of the rounds; and the peak of
resident memory. Then pictures a second in a loop, by every engine that is installed, as a ratio to
torch in float32; and a folder of photos, files to files, as a ratio to the bare engine on a picture
in memory. `--only folder` measures one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from corun.data.scenes import render
from corun.dehazing.file_jobs import JobOptions, run_jobs
from corun.dehazing.file_naming import Naming
from corun.dehazing.file_plan import make_plan
from corun.dehazing.loading import load
from corun.errors import CorunError

CACHE = Path(tempfile.gettempdir()) / "corun-bytecode"
SIZES = {"640x480": (480, 640), "12 megapixels": (3000, 4000)}


class Cost(NamedTuple):
    """Of one run of a command: seconds from start to end, of all processors, and MB resident."""

    seconds: float
    processor: float
    peak: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=int, default=40, help="of the folder")
    parser.add_argument("--only", choices=("commands", "loop", "folder"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, size in SIZES.items():
            photo = folder / f"{size[1]}.jpg"
            Image.fromarray(hazy_scene(*size)).save(photo, quality=92)
            if options.only in (None, "commands"):
                commands(title, photo, options.rounds)
        if options.only in (None, "commands"):
            print(f"corun --help: {said([command(['--help']) for _ in range(options.rounds + 1)])}")
        if options.only in (None, "loop"):
            loop(folder / "640.jpg", options.rounds)
        if options.only in (None, "folder"):
            throughput(folder / "640.jpg", options.rounds, options.photos)


def hazy_scene(height: int, width: int) -> np.ndarray:
    """A rendered scene in haze, RGB, uint8; a large one is a smaller one, enlarged."""
    scene = render(1, min(height, 768), min(width, 1024))
    t = np.exp(-2.5 * scene.depth)[:, :, None]
    hazy = np.rint(255 * (scene.clean * t + np.float32(0.9) * (1 - t))).astype(np.uint8)
    return np.asarray(Image.fromarray(hazy).resize((width, height), Image.Resampling.BICUBIC))


MEASURED = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
print(json.dumps([status, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""
"""A small process in between: Linux counts the memory of who starts a program as the program's."""


def command(words: list[str]) -> Cost:
    """One run of `corun`, with bytecode, as an installation has it, whatever the shell says."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(CACHE)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, sys.executable, "-m", "corun", *words],
        capture_output=True,
        check=True,
        env=environment,
    )
    status, *numbers = json.loads(done.stdout)
    if status:
        raise SystemExit(f"corun {' '.join(words)} failed")
    return Cost(*numbers)


def said(runs: list[Cost]) -> str:
    """The median and the least of all runs but the first, which wrote the bytecode."""
    seconds = [run.seconds for run in runs[1:]]
    processor = [run.processor for run in runs[1:]]
    return (
        f"{statistics.median(seconds):.2f} s (least {min(seconds):.2f}), of processors "
        f"{statistics.median(processor):.2f} s (least {min(processor):.2f}), "
        f"{max(run.peak for run in runs):.0f} MB"
    )


def commands(title: str, photo: Path, rounds: int) -> None:
    runs: dict[str, list[Cost]] = {"onnx": [], "torch": []}
    if find_spec("torch") is None:
        del runs["torch"]
    for _ in range(rounds + 1):
        for engine, found in runs.items():
            words = ["dehaze", str(photo), "--engine", engine, "--device", "cpu", "--overwrite"]
            found.append(command(words))
    for engine, found in runs.items():
        print(f"corun dehaze, {title}, {engine}: {said(found)}", flush=True)
    if "torch" in runs:
        torch, onnx = (
            statistics.median(run.seconds for run in runs[engine][1:])
            for engine in ("torch", "onnx")
        )
        print(f"corun dehaze, {title}: {torch / onnx:.1f} times as fast as with torch", flush=True)


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
    base = medians.get("torch float32")
    for kind, median in medians.items():
        ratio = f", {base / median:.2f} of torch float32" if base else ""
        print(f"640x480 in a loop, {kind}: {1 / median:.1f} a second{ratio}")


def throughput(photo: Path, rounds: int, photos: int) -> None:
    """A folder of files against the bare engine on pictures that are in memory already."""
    dehazer = load("corun-lite", engine="onnx", device="cpu")
    pixels = np.asarray(Image.open(photo), np.float32) / 255
    batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index in range(photos):
            (folder / f"{index:04}.jpg").write_bytes(photo.read_bytes())
        naming = Naming(output=str(folder / "clear") + "/")
        wanted = JobOptions(existing="overwrite")
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in range(photos):
                dehazer.engine.run(batch)
            bare = time.perf_counter() - start
            jobs = make_plan([str(folder)], naming, overwrite=True).jobs
            start = time.perf_counter()
            outcomes = list(run_jobs(jobs, dehazer, wanted))
            whole = time.perf_counter() - start
            assert [outcome.status for outcome in outcomes] == ["ok"] * photos
            ratios.append(bare / whole)
    print(
        f"{photos} photos of 640x480, files to files: {statistics.median(ratios):.2f} of the bare "
        f"engine's throughput (of rounds {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
