"""What there is of a film's job: on the disk, for a restart, and in this process.

The folder of jobs has one folder per job, named by its secret id: `job.json`, which makes it a job,
`film` until the job has ended, and the clear film under its final name once that is whole. What
has no `job.json` is an upload that never arrived, or was given up; it is removed at the start.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from corun.files import write_atomically
from corun.server.observation import LOGGER

if TYPE_CHECKING:
    from corun.dehazing.video.conversion import VideoOptions

FILM, RECORD = "film", "job.json"
ID_BYTES = 24
ID = re.compile(r"[\w-]{32}")

CodecName = Literal["h264", "hevc", "av1"]
Status = Literal["queued", "running", "done", "failed"]


@dataclass(frozen=True)
class VideoOrder:
    """What is to be done with a film.

    Attributes:
        model: one of the server's.
        strength: how much of the haze goes, 0 to 1.
        codec, crf: of the clear film; None for the codec's own quality.
        tone: "sdr" brings HDR to SDR.
        suffix: of the clear film, which is its format.
    """

    model: str
    strength: float = 1.0
    codec: CodecName = "h264"
    crf: int | None = None
    tone: Literal["sdr"] | None = None
    suffix: str = ".mp4"

    def options(self) -> VideoOptions:
        """As `dehaze_video` takes them.

        Raises:
            ConfigurationError: an impossible one.
            MissingExtraError: films need the extra `video`.
        """
        from corun.dehazing.video.conversion import VideoOptions
        from corun.dehazing.video.encoders import Encoding

        return VideoOptions(
            strength=self.strength, encoding=Encoding(self.codec, self.crf), tone=self.tone
        )


@dataclass(frozen=True)
class Record:
    """What a restart has to know of a job.

    Attributes:
        order: what was asked.
        created, ended: seconds since 1970; None while it is not ended.
        frames: that were finished when it was last begun, or all of them.
        attempts: how often it was begun since frames were last finished.
        error: why it failed.
        notes: what could not be kept.
    """

    order: VideoOrder
    created: float
    ended: float | None = None
    frames: int = 0
    attempts: int = 0
    error: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class VideoJob:
    """A film that was accepted.

    Attributes:
        id: unguessable; who knows it owns the job.
        folder: its own.
        record: what is on the disk of it.
        unwanted: set when its owner gave it up.
        running: whether it is worked on.
        done, total: frames, of this process's knowledge; a total of 0 is unknown.
        first: frames that were done when this process began.
        begun: when that was, by the monotonic clock.
    """

    id: str
    folder: Path
    record: Record
    unwanted: threading.Event = field(default_factory=threading.Event)
    running: bool = False
    done: int = 0
    total: int = 0
    first: int = 0
    begun: float | None = None

    @property
    def output(self) -> Path:
        """The clear film, which is whole where it exists."""
        return self.folder / f"clear{self.record.order.suffix}"

    @property
    def status(self) -> Status:
        """Where it stands."""
        if self.record.ended is not None:
            return "done" if self.record.error is None else "failed"
        return "running" if self.running else "queued"

    @property
    def rate(self) -> float | None:
        """Frames per second, since this process began with it; None where not known yet."""
        made = self.done - self.first
        if self.begun is None or not self.running or made <= 0:
            return None
        return made / max(1e-6, time.monotonic() - self.begun)

    @property
    def seconds_left(self) -> float | None:
        """Until its end, as it goes at present; None where that is not known yet."""
        rate = self.rate
        if rate is None or self.total <= 0:
            return None
        return max(0, self.total - self.done) / rate

    def store(self, **changes: Any) -> None:
        """Puts a changed record on the disk, in one step.

        Raises:
            OSError: it cannot be written.
        """
        record = replace(self.record, **changes)
        write_atomically(self.folder / RECORD, json.dumps(asdict(record)))
        self.record = record

    def count(self, done: int, total: int) -> int:
        """Takes the frames that are finished, and gives how many are new."""
        if self.begun is None:
            self.begun, self.first = time.monotonic(), done
            if done > self.record.frames:  # runs were finished since it was last begun
                self.store(frames=done, attempts=1)
            self.done = done
        new, self.done, self.total = done - self.done, done, total
        return new

    def end(self, **changes: Any) -> None:
        """Keeps how it ended, and nothing else of it but its result."""
        try:
            self.store(ended=time.time(), **changes)
        except OSError:  # a full disk: it is known here, and found out again after a restart
            LOGGER.exception("the end of a job cannot be kept")
            self.record = replace(self.record, ended=time.time(), **changes)
            return
        self.tidy()

    def tidy(self) -> None:
        """Removes what an ended job needs no more."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path not in (self.folder / RECORD, self.output):
                path.unlink(missing_ok=True)


def stored_jobs(folder: Path, keep_seconds: float) -> list[VideoJob]:
    """The jobs in a state folder, the oldest first; uploads that never became one are removed.

    Args:
        folder: of the state.
        keep_seconds: after which a job that cannot be read is removed.

    Raises:
        OSError: the folder cannot be read.
    """
    jobs = []
    for place in folder.iterdir():
        if not place.is_dir() or not ID.fullmatch(place.name):  # nothing of ours
            continue
        try:
            stored = json.loads((place / RECORD).read_text(encoding="utf-8"))
            order, notes = VideoOrder(**stored.pop("order")), tuple(stored.pop("notes"))
            job = VideoJob(place.name, place, Record(order=order, notes=notes, **stored))
        except FileNotFoundError:
            shutil.rmtree(place, ignore_errors=True)
            continue
        except (OSError, ValueError, TypeError, KeyError) as error:
            LOGGER.error("a job that cannot be read is left out", exc_info=error)
            if place.stat().st_mtime < time.time() - keep_seconds:
                shutil.rmtree(place, ignore_errors=True)
            continue
        job.done = job.record.frames
        if job.record.ended is not None:
            job.tidy()
        jobs.append(job)
    return sorted(jobs, key=lambda job: job.record.created)
