"""A film on the page: a job of the server's, told of while it is worked on, and what it gives."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator
from pathlib import Path, PurePath
from typing import NamedTuple

from corun.server.bodies import RefusedError
from corun.server.engine import BusyError
from corun.server.video_checks import accepted
from corun.server.video_records import FILM, VideoJob, VideoOrder
from corun.server.videos import FULL, VideoJobs
from corun.web.previews import Photo, Previews, hour_is_over, middle_of

LOOK_SECONDS = 0.25


class Told(NamedTuple):
    """How far a film is.

    Attributes:
        text: in words.
        share: that is done, 0 to 1; None where that is not known.
    """

    text: str
    share: float | None = None


class Cleared(NamedTuple):
    """A film that is done.

    Attributes:
        path: of the clear film, whose name is the hazy one's.
        frames: how many it has.
        pair: a frame in the middle before and after, files.
        notes: what could not be kept, one line each.
    """

    path: Path
    frames: int
    pair: tuple[str, str]
    notes: tuple[str, ...]


def cleared(
    jobs: VideoJobs, previews: Previews, photo: Photo, model: str, strength: float
) -> Generator[Told | Cleared, None, None]:
    """Makes a film clear; where this generator is closed before its end, the work is given up.

    Args:
        jobs: those of the server, which bound how many there are.
        previews: with the folder of results.
        photo: the film.
        model: one of the engine's.
        strength: how much of the haze goes, 0 to 1.

    Yields:
        How far it is, every so often; at last what it gives.

    Raises:
        CorunError: it cannot be read, is above the limits, too many wait, or the work failed.
    """
    _, seconds = middle_of(photo, jobs.limits)
    with jobs.arriving(0) as folder:
        _linked(photo, folder / FILM)
        # HDR is brought to what a browser shows
        job = accepted(jobs, folder, VideoOrder(model, strength, tone="sdr"), None)
    try:
        while job.running or job.record.ended is None:
            if jobs.closing:
                raise BusyError("the server is being stopped; try again in a while", 10)
            yield told(job, jobs.ahead_of(job))
            time.sleep(LOOK_SECONDS)
        if job.record.error is not None:
            reason = job.record.error.removeprefix(f"{FILM}: ")
            raise RefusedError(422, f"{photo.name}: {reason}")
        path = previews.folder.place(f"{PurePath(photo.name).stem}{job.output.suffix}")
        job.output.replace(path)
    finally:
        jobs.remove(job)
    pair = previews.pair(photo, path, seconds)
    yield Cleared(path, job.record.frames, pair, job.record.notes)


def told(job: VideoJob, ahead: int) -> Told:
    """How far a job is, in words."""
    if ahead and not job.running:
        return Told(f"{ahead} {'film is' if ahead == 1 else 'films are'} before this one …")
    rate, left = job.rate, job.seconds_left
    if rate is None:
        return Told("The first frames are looked at …", 0.0 if job.total else None)
    words = [f"{job.done:,} of about {max(job.done, job.total):,} frames" if job.total
             else f"{job.done:,} frames", f"{rate:.1f} frames a second"]  # fmt: skip
    if left is not None:
        words.append(f"{in_words(left)} left")
    share = min(1.0, job.done / job.total) if job.total else None
    return Told(", ".join(words), share)


def in_words(seconds: float) -> str:
    """A time that somebody waits for: "40 s", "3 min", "1 h 20 min"."""
    if seconds < 60:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _linked(photo: Photo, path: Path) -> None:
    """Gives a film that was uploaded a second name, which the end of its hour leaves alone."""
    try:
        try:
            os.link(photo.path, path)
        except OSError:  # a file system without hard links
            shutil.copyfile(photo.path, path)
    except FileNotFoundError as error:
        raise hour_is_over(photo) from error
    except OSError as error:
        raise BusyError(f"{FULL}; try again later", 600) from error
