"""How many machine hours a large job takes, and what they cost, from a rate that was measured.

    python benchmarks/sizing.py --photos 1000000 --per-second 2.9 --machines 16 --price 0.17
    python benchmarks/sizing.py --video-hours 10000 --fps 25 --per-second 31 --machines 100

The rate is that of one machine on the pictures in question: for photos, rows of the manifest by the
seconds that a run over a sample took; for video, frames per second that `corun video` shows.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Sizing:
    """What a job takes.

    Attributes:
        machine_hours: of all machines together.
        hours: from start to end.
        cost: in the currency of the price.
    """

    machine_hours: float
    hours: float
    cost: float


def sizing(pictures: float, per_second: float, machines: int, price: float, spare: float) -> Sizing:
    """The hours and the cost of a number of pictures.

    Args:
        pictures: photos or frames.
        per_second: of one machine, measured.
        machines: that work at the same time.
        price: of an hour of one machine.
        spare: the share of time lost to starts, ends and stragglers, 0 to below 1.

    Raises:
        ValueError: a number is out of range.
    """
    if min(pictures, per_second, machines) <= 0 or price < 0 or not 0 <= spare < 1:
        raise ValueError("numbers are above 0, the price at least 0, spare from 0 to below 1")
    machine_hours = pictures / per_second / 3600 / (1 - spare)
    return Sizing(machine_hours, machine_hours / machines, machine_hours * price)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--photos", type=float, help="number of photos")
    amount.add_argument("--video-hours", type=float, help="hours of video")
    parser.add_argument("--fps", type=float, default=25.0, help="of the video")
    parser.add_argument("--per-second", type=float, required=True, help="measured, one machine")
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--price", type=float, default=0.0, help="of a machine's hour")
    parser.add_argument("--spare", type=float, default=0.1, help="share of time lost")
    given = parser.parse_args()
    pictures = given.photos or given.video_hours * 3600 * given.fps
    try:
        needed = sizing(pictures, given.per_second, given.machines, given.price, given.spare)
    except ValueError as error:
        parser.error(str(error))
    print("| pictures | per second and machine | machines | machine hours | hours | cost |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {pictures:,.0f} | {given.per_second:g} | {given.machines} "
        f"| {needed.machine_hours:,.1f} | {needed.hours:,.1f} | {needed.cost:,.2f} |"
    )


if __name__ == "__main__":
    main()
