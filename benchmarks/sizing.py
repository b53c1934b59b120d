"""How many machines a large job takes, for how long, and what it costs, from measured numbers.

    python benchmarks/sizing.py --measure            # on a machine of your kind: sizing.json
    python benchmarks/sizing.py                      # the table of docs/howto/batch.md
    python benchmarks/sizing.py --page docs/howto/batch.md      # ... and put it there
    python benchmarks/sizing.py --price 0.02 --cores 64 --machines 4 --photos 2e6 --video-hours 500

What is measured is the processor time of one photo and of one frame, everything included (reading,
decoding, the network, encoding): of two runs of different lengths, the difference over the
difference of the lengths, so that the start does not count. Other programs on the machine do not
count either. Cores, machines and the price of a core's hour are parameters, and so is the share of
the time lost to starts, ends and stragglers.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MEASURED = Path(__file__).with_name("sizing.json")
BEGIN, END = "<!-- printed by benchmarks/sizing.py -->\n\n", "\n\n<!-- end -->"


@dataclass(frozen=True)
class Sizing:
    """What a job takes.

    Attributes:
        core_hours: of all cores together.
        hours: from start to end.
        cost: in the currency of the price.
    """

    core_hours: float
    hours: float
    cost: float


def sizing(pictures: float, core_seconds: float, cores: int, price: float, spare: float) -> Sizing:
    """The hours and the cost of a number of pictures.

    Args:
        pictures: photos or frames.
        core_seconds: of the processor, for each, measured.
        cores: that work at the same time, of all machines.
        price: of a core's hour.
        spare: the share of time lost to starts, ends and stragglers, 0 to below 1.

    Raises:
        ValueError: a number is out of range.
    """
    if min(pictures, core_seconds, cores) <= 0 or price < 0 or not 0 <= spare < 1:
        raise ValueError("numbers are above 0, the price at least 0, spare from 0 to below 1")
    core_hours = pictures * core_seconds / 3600 / (1 - spare)
    return Sizing(core_hours, core_hours / cores, core_hours * price)


def processor_seconds(*command: object) -> float:
    """Of a command and what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "corun", *map(str, command)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(photos: int, frames: int, photo: tuple[int, int], frame: tuple[int, int]) -> None:
    """Write :data:`MEASURED`: processor seconds of a photo and of a frame by the default model.

    Args:
        photos: in the longer of two runs.
        frames: in the longer of two runs.
        photo: height and width, pixels.
        frame: height and width, pixels.
    """
    from ray_workers import write_photos
    from video import make_film

    seconds: dict[str, list[float]] = {"photo": [], "frame": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in (4, 1):
            source, film = folder / f"photos{part}", folder / f"film{part}.mp4"
            write_photos(source, photos // part, *photo)
            clear = ("batch", source, folder / f"clear{part}", "--threads", 1, "--quiet")
            seconds["photo"].append(processor_seconds(*clear))
            make_film(film, frames // part, *frame)
            clear = ("video", film, folder / f"clear{part}.mp4", "--threads", 1, "--quiet")
            seconds["frame"].append(processor_seconds(*clear))
    found = {
        what: {
            "size": f"{size[1]}x{size[0]}",
            "core_seconds": round((long - short) / (count - count // 4), 3),
        }
        for what, size, count in (("photo", photo, photos), ("frame", frame, frames))
        for short, long in [seconds[what]]
    }
    found["processor"] = {"name": processor_name()}
    MEASURED.write_text(json.dumps(found, indent=2) + "\n")


def processor_name() -> str:
    """What the system calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def tables(given: argparse.Namespace) -> str:
    """The page's table, from what was measured and what was given.

    Raises:
        ValueError: a number is out of range.
    """
    measured = json.loads(MEASURED.read_text())
    photo, frame = measured["photo"], measured["frame"]
    film = f"{given.video_hours:,.0f} hours of video, {frame['size']} at {given.fps:g} fps"
    jobs = [
        (f"{given.photos:,.0f} photos, {photo['size']}", given.photos, photo["core_seconds"]),
        (film, given.video_hours * 3600 * given.fps, frame["core_seconds"]),
    ]
    lines = [
        f"Measured on one core of {measured['processor']['name']}; {given.machines} machines of "
        f"{given.cores} cores, a core's hour at {given.price:g}, {given.spare:.0%} of the time "
        "lost.",
        "",
        "| job | core seconds each | core hours | hours | days | cost |",
        "|---|---|---|---|---|---|",
    ]
    for name, pictures, seconds in jobs:
        cores = given.cores * given.machines
        needed = sizing(pictures, seconds, cores, given.price, given.spare)
        lines.append(
            f"| {name} | {seconds:g} | {needed.core_hours:,.0f} | {needed.hours:,.1f} "
            f"| {needed.hours / 24:,.1f} | {needed.cost:,.2f} |"
        )
    return "\n".join(lines)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--measure", action="store_true", help="measure here first")
    parser.add_argument("--measured-photos", type=int, default=40)
    parser.add_argument("--measured-frames", type=int, default=200)
    parser.add_argument("--photos", type=float, default=1e6, help="number of photos")
    parser.add_argument("--video-hours", type=float, default=1e4, help="hours of video")
    parser.add_argument("--fps", type=float, default=25.0, help="of the video")
    parser.add_argument("--cores", type=int, default=16, help="of a machine")
    parser.add_argument("--machines", type=int, default=16)
    parser.add_argument("--price", type=float, default=0.04, help="of a core's hour")
    parser.add_argument("--spare", type=float, default=0.1, help="share of time lost")
    parser.add_argument("--page", type=Path, help="whose table is replaced")
    given = parser.parse_args(words)
    if given.measure:
        measure(given.measured_photos, given.measured_frames, (1200, 1600), (1080, 1920))
    try:
        table = tables(given)
    except ValueError as error:
        parser.error(str(error))
    print(table)
    if given.page:
        before, _, rest = given.page.read_text(encoding="utf-8").partition(BEGIN)
        given.page.write_text(before + BEGIN + table + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()
