"""The jobs of films: taken into a bounded queue, worked on one by one, kept for a while."""

from __future__ import annotations

import math
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from corun.errors import ConfigurationError, CorunError, system_errors_as
from corun.files import is_full
from corun.server.bodies import RefusedError
from corun.server.engine import BusyError
from corun.server.limits import MIB, Limits
from corun.server.observation import LOGGER, ServiceMetrics
from corun.server.replies import message_of
from corun.server.video_records import (
    FILM,
    ID_BYTES,
    RECORD,
    Record,
    VideoJob,
    VideoOrder,
    stored_jobs,
)
from corun.shapes import Shaped

if TYPE_CHECKING:
    from corun.dehazing.dehazer import Dehazer
    from corun.dehazing.maps import FrameMaps

FOLDER = "corun-videos"
ATTEMPTS = 3
"""Starts of a film without a finished run between them, before it is taken for the culprit."""
MOST_RATE = 60
"""Frames per second at which `Limits.video_seconds` is counted in frames."""
FREE = 256 * MIB
"""Bytes of the disk that uploads leave alone."""
FULL = "the disk of the server is full"
SWEEP_SECONDS = 20.0


class _Stop(Exception):  # noqa: N818 - no error: the job is given up, or goes on after a restart
    pass


class VideoJobs:
    """The jobs of a server, worked on one after the other by a thread of their own.

    Args:
        folder: theirs are in a private folder in it, made if need be, of this server alone.
        limits: of bytes, pixels, seconds, unfinished jobs, and how long results are kept.

    Raises:
        ConfigurationError: the folder cannot be used, or another server has it.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder / FOLDER
        self.limits = limits
        self.closing = False
        self._arriving = 0
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._dehazers: Mapping[str, Dehazer] = {}
        self._metrics = ServiceMetrics()
        what, remedy = f"{folder}: jobs cannot be kept there", "give another --state"
        with system_errors_as(ConfigurationError, what, remedy):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)  # its names are the secret ids
            self._lock = FileLock(self.folder / "lock", thread_local=False)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                raise ConfigurationError(
                    f"{folder}: another server keeps its jobs there; {remedy}"
                ) from error
            stored = stored_jobs(self.folder, limits.keep_seconds)
            self._jobs = {job.id: job for job in stored}

    def start(self, dehazers: Mapping[str, Dehazer], metrics: ServiceMetrics) -> None:
        """Begins, or goes on."""
        self._dehazers, self._metrics = dehazers, metrics
        for work in (self._work, self._sweep):
            thread = threading.Thread(target=work, name="corun-videos", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """The film that is worked on pauses; it goes on after a restart. Nothing new is taken."""
        with self._changed:
            self.closing = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stops, waits for that, and lets another server have the folder."""
        self.stop()
        for thread in self._threads:
            thread.join()
        self._lock.release()

    def get(self, identifier: str) -> VideoJob | None:
        """The job of that id; None where there is none, or its time is over."""
        self.remove_old()
        return self._jobs.get(identifier)

    def ahead_of(self, job: VideoJob) -> int:
        """How many unfinished jobs come before it."""
        with self._changed:
            before = [j for j in self._jobs.values() if j.record.ended is None]
        return before.index(job) if job in before else 0

    @contextmanager
    def arriving(self, size: int) -> Iterator[Path]:
        """A folder for an upload; it is removed unless `accept` makes it a job.

        Args:
            size: bytes that are stated; 0 for unknown.

        Raises:
            BusyError: too many films wait, the disk is full, or the server ends.
        """
        with self._changed:
            if self.closing:
                raise BusyError("the server is being stopped; try again in a while", 10)
            if self._unfinished() + self._arriving >= self.limits.video_queue:
                raise BusyError("too many films are waiting; try again later", 60)
            if shutil.disk_usage(self.folder).free < size + FREE:
                raise BusyError(f"{FULL}; try again later", 600)
            self._arriving += 1
        folder = self.folder / secrets.token_urlsafe(ID_BYTES)
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            with self._changed:
                self._arriving -= 1
            if not (folder / RECORD).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def accept(self, folder: Path, order: VideoOrder) -> VideoJob:
        """Makes an upload a job.

        Raises:
            BusyError: the disk is full, or the server ends.
        """
        job = VideoJob(folder.name, folder, Record(order, time.time()))
        try:
            job.store()
        except OSError as error:
            raise BusyError(f"{FULL}; try again later", 600) from error
        with self._changed:
            if self.closing:
                (folder / RECORD).unlink()
                raise BusyError("the server is being stopped; try again in a while", 10)
            self._jobs[job.id] = job
            self._count()
            self._changed.notify_all()
        return job

    def remove(self, job: VideoJob) -> None:
        """Forgets a job with all that it has; one that is worked on ends at its next frame."""
        with self._changed:
            if self._jobs.pop(job.id, None) is None:
                return
            job.unwanted.set()
            idle = not job.running  # else the thread that works on it removes its folder
            if job.record.ended is None:
                self._metrics.videos.labels("cancelled").inc()
            self._count()
        (job.folder / RECORD).unlink(missing_ok=True)  # from here on no restart knows it
        if idle:
            shutil.rmtree(job.folder, ignore_errors=True)

    def remove_old(self) -> None:
        """Removes what ended longer ago than results are kept."""
        oldest = time.time() - self.limits.keep_seconds
        for job in list(self._jobs.values()):
            if job.record.ended is not None and job.record.ended < oldest:
                self.remove(job)

    def expiry(self, job: VideoJob) -> str | None:
        """When it is removed (ISO 8601); None before its end."""
        if job.record.ended is None:
            return None
        when = datetime.fromtimestamp(job.record.ended + self.limits.keep_seconds, UTC)
        return when.isoformat(timespec="seconds")

    def _unfinished(self) -> int:
        return sum(job.record.ended is None for job in self._jobs.values())

    def _count(self) -> None:
        self._metrics.unfinished_videos.set(self._unfinished())

    def _next(self) -> VideoJob | None:
        with self._changed:
            while not self.closing:
                for job in self._jobs.values():
                    if job.record.ended is None:
                        job.running = True
                        return job
                self._changed.wait()
        return None

    def _work(self) -> None:
        self._count()
        while (job := self._next()) is not None:
            changes = self._outcome(job)
            if changes is not None:
                job.end(**changes)
            with self._changed:
                job.running = False
                self._count()
                given_up = job.unwanted.is_set()
            if given_up:
                shutil.rmtree(job.folder, ignore_errors=True)
            elif changes is not None:
                outcome = "failed" if "error" in changes else "done"
                self._metrics.videos.labels(outcome).inc()
                LOGGER.info("video", extra={"facts": {"outcome": outcome, "frames": job.done}})

    def _outcome(self, job: VideoJob) -> dict[str, Any] | None:
        """What the record of a job becomes; None where it was stopped."""
        try:
            return self._cleared(job)
        except _Stop:
            return None
        except (CorunError, OSError) as error:
            if is_full(error) or is_full(error.__cause__ or error):
                return {"error": f"{FULL}, and the film is gone; send it again later"}
            if isinstance(error, CorunError):
                return {"error": message_of(error).replace(f"{job.folder}/", "")}
            LOGGER.exception("a film failed")
            return {"error": f"{FILM}: the server cannot write its result"}
        except Exception:
            LOGGER.exception("a film failed")
            return {"error": "unexpected error; this is a bug of corun, the server's log has it"}

    def _cleared(self, job: VideoJob) -> dict[str, Any]:
        from corun.dehazing.video.conversion import dehaze_video
        from corun.dehazing.video.source import read_film

        if job.output.exists():  # a kill came between the whole film and its record
            return {"frames": read_film(job.output).frames}
        if job.record.attempts >= ATTEMPTS:
            raise RefusedError(
                500, f"{FILM}: the server was killed {ATTEMPTS} times while it worked on this film"
            )
        dehazer = self._dehazers.get(job.record.order.model)
        if dehazer is None:
            raise RefusedError(422, f"the model {job.record.order.model} is loaded no more")
        job.store(attempts=job.record.attempts + 1)

        def look() -> None:
            if job.unwanted.is_set() or self.closing:
                raise _Stop

        def report(done: int, total: int) -> None:
            look()
            if done > self.limits.video_seconds * MOST_RATE:
                raise RefusedError(413, too_long(self.limits))
            self._metrics.video_frames.inc(job.count(done, total))

        try:
            result = dehaze_video(
                job.folder / FILM,
                job.output,
                _looking(dehazer, look),
                job.record.order.options(),
                report,
            )
        except _Stop:
            if not job.unwanted.is_set():  # an end in good order says nothing against the film
                job.store(attempts=0)
            raise
        return {"frames": result.frames, "notes": result.notes}

    def _sweep(self) -> None:
        while not self.closing:
            self.remove_old()
            with self._changed:
                self._changed.wait_for(lambda: self.closing, SWEEP_SECONDS)


def _looking(dehazer: Dehazer, look: Callable[[], None]) -> Dehazer:
    """The same network, but it looks before each call whether that is still wanted.

    The first frame is reported after those that its maps are smoothed with, which takes a while.
    """
    asked = copy(dehazer)

    def maps(pictures: Sequence[Shaped[np.ndarray, "..."]]) -> list[FrameMaps]:
        look()
        return dehazer.maps(pictures)

    if dehazer.gives_maps:
        vars(asked)["maps"] = maps
    return asked


def too_long(limits: Limits) -> str:
    """Why a film is refused for its length."""
    most = math.floor(limits.video_seconds * MOST_RATE)
    return (
        f"the film is longer than the {limits.video_seconds:g} s, or {most:,} frames, that are "
        "taken here; send it in parts"
    )
