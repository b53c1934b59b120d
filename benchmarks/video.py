"""Films: frames per second of the whole way, and whether memory stays flat.

    python benchmarks/video.py                       # 1080p, corun-lite, H.264 veryfast
    python benchmarks/video.py --frames 10000        # memory over 10 000 frames
    taskset -c 0,1 python benchmarks/video.py        # on two cores

A film of rendered haze (a slow pan over one large picture, so that making it takes no time) is
encoded once, then cleared by `corun.dehazing.video`: decoded, looked at, made steady, applied,
encoded. The memory is that of the process, taken while it works: its median over the second tenth
of the frames and over the last one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from corun.data.scenes import render
from corun.dehazing.loading import load
from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.dehazing.video.encoders import Encoding


def make_film(path: Path, frames: int, height: int, width: int) -> None:
    """A pan over rendered haze, H.264, with 24 different pictures there and back."""
    scene = render(3, height, width + 96)
    T = np.exp(-2.2 * scene.depth)[..., None]
    hazy = scene.clean * T + np.float32([0.85, 0.87, 0.9]) * (1 - T)
    world = np.rint(hazy * 255).astype(np.uint8)
    views = [np.ascontiguousarray(world[:, 4 * n : 4 * n + width]) for n in range(24)]
    with av.open(str(path), "w") as film:
        stream: Any = film.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            at = number % 46
            frame = av.VideoFrame.from_ndarray(views[at if at < 24 else 46 - at])
            frame.pts, frame.time_base = number, Fraction(1, 25)
            film.mux(stream.encode(frame.reformat(format="yuv420p")))
        film.mux(stream.encode(None))


def resident_mib() -> float:
    """Memory of this process that is in use now."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the memory of a process is read from /proc, which Linux has")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--model", default="corun-lite")
    parser.add_argument("--codec", default="h264")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    dehazer = load(arguments.model, device=arguments.device, threads=arguments.threads)
    memory: list[float] = []
    begun: list[float] = []

    def report(done: int, total: int) -> None:
        memory.append(resident_mib())
        begun.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        hazy = Path(folder) / "hazy.mp4"
        make_film(hazy, arguments.frames, height, width)
        options = VideoOptions(encoding=Encoding(arguments.codec))
        result = dehaze_video(hazy, Path(folder) / "clear.mkv", dehazer, options, report)
    tenth = max(1, result.frames // 10)
    print(
        json.dumps(
            {
                "size": arguments.size,
                "dehazer": repr(dehazer),
                "threads": dehazer.threads,
                "frames": result.frames,
                "frames_per_second": round(result.frames / result.seconds, 2),
                # without what comes before the first frame
                "steady_frames_per_second": round((len(begun) - 2) / (begun[-1] - begun[1]), 2),
                "memory_mib_early": round(float(np.median(memory[tenth : 2 * tenth + 1])), 1),
                "memory_mib_late": round(float(np.median(memory[-tenth:])), 1),
            }
        )
    )


if __name__ == "__main__":
    main()
