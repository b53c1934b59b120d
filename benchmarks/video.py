"""Films: frames per second of the whole way, CPU of each of its parts, memory over a long film.

    python benchmarks/video.py                                   # 80 frames of 1080p
    python benchmarks/video.py --frames 10000 --size 96x64 --codec ffv1 --no-parts   # memory

The film is rendered haze, panned over: decoded, looked at, made steady, applied, encoded. CPU
seconds are those of all threads of the process; processors divided by CPU seconds of a frame is the
most frames per second that there can be, and depends little on what else the machine does. The
parts are run one after the other, by themselves. The memory is that of the process, taken at every
frame: the end must stay within 5 % of what it was at frame 1 000 (or after a fifth of a shorter
film), else the exit status is 1.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from corun.data.scenes import render
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.devices import usable_threads
from corun.dehazing.loading import load
from corun.dehazing.video.clearing import LOOK_EVERY, REACH
from corun.dehazing.video.colours import frame_of_rgb, rgb_of_frame
from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.dehazing.video.encoders import Encoder, Encoding, target_of
from corun.dehazing.video.motion import motion_between, small_picture
from corun.dehazing.video.source import read_film
from corun.dehazing.video.stability import Look, steadied


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


def cpu_of_parts(path: Path, dehazer: Dehazer, encoding: Encoding) -> dict[str, float]:
    """CPU milliseconds that a frame takes in each part, all threads together."""
    film = read_film(path)
    with av.open(str(path)) as container:
        begun = time.process_time()
        decoded = [frame for frame, _ in zip(container.decode(video=0), range(33), strict=False)]
        found = {"decoding": (time.process_time() - begun) / len(decoded)}

    def part(name: str, share: float, work: Callable[[Any], Any], given: list[Any]) -> list[Any]:
        work(given[0])
        begun = time.process_time()
        made = [work(one) for one in given]
        found[name] = share * (time.process_time() - begun) / len(given)
        return made

    frames = decoded[:9]
    rgb = part("to RGB", 1, lambda frame: rgb_of_frame(frame, film.colours), frames)
    maps = part("network", 1 / LOOK_EVERY, lambda one: dehazer.maps([one])[0], rgb[:4])[0]
    grid = maps.coefficients.shape[:2]
    small = part("cells", 1, lambda one: small_picture(one, grid, maps.covered), rgb)
    pairs = list(itertools.pairwise(small))
    motions = part("motion", 1, lambda pair: motion_between(*pair), pairs)
    looks = [
        Look(None, small[n % 9], motions[n % 8] if n else None, None if n % LOOK_EVERY else maps)
        for n in range(4 * REACH + 1)
    ]
    begun = time.process_time()
    deque(steadied(looks, behind=REACH, ahead=REACH), maxlen=0)
    found["filter"] = (time.process_time() - begun) / len(looks)
    clear = part("full-size step", 1, lambda one: dehazer.apply(one, maps), rgb)
    target = target_of(film, encoding)
    part("from RGB", 1, lambda one: frame_of_rgb(one, target.pixel_format, target.colours), clear)
    scenes = [dehazer.apply(rgb_of_frame(frame, film.colours), maps) for frame in decoded]
    ready = [frame_of_rgb(one, target.pixel_format, target.colours) for one in scenes]
    encoder = Encoder(target)
    begun = time.process_time()
    for number, frame in enumerate(ready):
        encoder.encode(frame, number, 1)
    encoder.finish()
    found["encoding"] = (time.process_time() - begun) / len(ready)
    return {name: round(1000 * seconds, 1) for name, seconds in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--model", default="corun-lite")
    parser.add_argument("--codec", default="h264")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-parts", action="store_true", help="the whole way only")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    dehazer = load(arguments.model, device=arguments.device, threads=arguments.threads)
    encoding = Encoding(arguments.codec)
    memory: list[float] = []
    times: list[tuple[float, float]] = []

    def report(done: int, total: int) -> None:
        memory.append(resident_mib())
        times.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        hazy = Path(folder) / "hazy.mp4"
        make_film(hazy, arguments.frames, height, width)
        parts = {}
        if not arguments.no_parts and dehazer.gives_maps:
            parts = cpu_of_parts(hazy, dehazer, encoding)
        options = VideoOptions(encoding=encoding)
        begun = time.perf_counter(), time.process_time()
        result = dehaze_video(hazy, Path(folder) / "clear.mkv", dehazer, options, report)
        ended = time.perf_counter(), time.process_time()
    cpu = (ended[1] - begun[1]) / result.frames
    processors = usable_threads()
    early = min(1000, result.frames // 5)
    before = float(np.median(memory[early : early + 50]))
    growth = float(np.median(memory[-50:])) / before - 1
    print(
        json.dumps(
            {
                "size": arguments.size,
                "dehazer": repr(dehazer),
                "threads": dehazer.threads,
                "frames": result.frames,
                "frames_per_second": round(result.frames / (ended[0] - begun[0]), 2),
                # without what comes before the first frame
                "steady_frames_per_second": round(
                    (len(times) - 2) / (times[-1][0] - times[1][0]), 2
                ),
                "cpu_ms_per_frame": round(1000 * cpu, 1),
                "processors": processors,
                "most_frames_per_second": round(processors / cpu, 2),
                "cpu_ms_of_parts": parts,
                "cpu_ms_of_parts_together": round(sum(parts.values()), 1),
                "memory_mib_early": round(before, 1),
                "memory_growth_percent": round(100 * growth, 2),
            },
            indent=1,
        )
    )
    if result.frames >= 1000 and growth > 0.05:
        sys.exit("memory grows")


if __name__ == "__main__":
    main()
