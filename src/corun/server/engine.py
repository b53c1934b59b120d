"""The engine of a service: resident models, a bounded queue, threads that take pictures from it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.devices import usable_threads
from corun.errors import CorunError
from corun.pictures.formats import written_format
from corun.pictures.metadata import PictureMetadata
from corun.pictures.reading import read_picture
from corun.pictures.writing import DEFAULT_QUALITY, encode_picture
from corun.server.limits import Limits
from corun.server.micro_batches import MicroBatches
from corun.server.observation import ServiceMetrics


class BusyError(CorunError):
    """The queue is full, the server ends, or a picture waited too long.

    Attributes:
        retry_after: seconds after which to come again.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Order:
    """What is to be done with one picture.

    Attributes:
        content: the file's bytes.
        model: one of the engine's.
        name: what the picture is called in messages.
        strength: how much of the haze goes, 0 to 1.
        quality: 1-100, of lossy formats.
        formats: Pillow's names of those that are accepted, best first; empty for the picture's own.
        transmission: whether the transmission map is wanted instead of the clear picture.
    """

    content: bytes
    model: str
    name: str = "the picture"
    strength: float = 1.0
    quality: int = DEFAULT_QUALITY
    formats: tuple[str, ...] = ()
    transmission: bool = False


@dataclass(frozen=True)
class Answer:
    """A picture that is done.

    Attributes:
        content: the file's bytes.
        file_format: Pillow's name of its format.
        size: width and height in pixels.
        airlight: RGB in [0,1], or None.
        notes: what could not be kept, one line each.
        seconds: by stage: wait, decode, dehaze, encode.
    """

    content: bytes
    file_format: str
    size: tuple[int, int]
    airlight: tuple[float, ...] | None
    notes: tuple[str, ...]
    seconds: Mapping[str, float]


@dataclass(eq=False)
class Job:
    """An order that was accepted; `future` becomes its answer."""

    order: Order
    accepted: float = field(default_factory=time.monotonic)
    abandoned: threading.Event = field(default_factory=threading.Event)
    future: Future[Answer] = field(default_factory=Future)

    def abandon(self) -> None:
        """Nobody wants it any more: it is not begun, or ends at its next stage."""
        self.abandoned.set()
        self.future.cancel()


class Engine:
    """Dehazes what it is given, in the order it came, on threads of its own.

    Args:
        dehazers: by the name they are asked for; the first is the default.
        limits: of pixels, seconds and the queue.
        metrics: where it is counted.
        threads: pictures worked on at a time; two more than the processor's cores by default, so
            that decoding goes on while others wait for the network.
    """

    def __init__(
        self,
        dehazers: Mapping[str, Dehazer],
        limits: Limits,
        metrics: ServiceMetrics,
        *,
        threads: int | None = None,
    ) -> None:
        self.limits = limits
        self.metrics = metrics
        self.threads = threads or min(8, usable_threads() + 2)
        self.batches = {
            name: MicroBatches(
                dehazer, largest=max(1, self.threads - 1), on_batch=metrics.batch.observe
            )
            for name, dehazer in dehazers.items()
        }
        self.default = next(iter(self.batches))
        self.closing = False
        self._unanswered = 0
        self._mean_seconds = 0.5
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="corun-engine")

    @property
    def full(self) -> bool:
        """Whether the queue takes nothing more at present."""
        return self._unanswered >= self.limits.queue

    @property
    def ready(self) -> bool:
        """Whether a picture that came now would be taken."""
        return not (self.closing or self.full)

    def refuse_if_busy(self) -> None:
        """
        Raises:
            BusyError: nothing is taken now.
        """
        if self.closing:
            raise BusyError("the server is being stopped; try again in a while", 10)
        if self.full:
            raise BusyError("too many pictures are waiting; try again later", self.retry_after())

    def retry_after(self) -> int:
        """Seconds in which what waits now will be done, from 1 to 60."""
        seconds = self._mean_seconds * self._unanswered / self.threads
        return max(1, min(60, math.ceil(seconds)))

    def submit(self, order: Order, *, in_batch: bool = False) -> Job:
        """Accepts an order.

        Args:
            order: what is to be done.
            in_batch: part of a batch that was accepted; it is not refused while the server ends.

        Raises:
            BusyError: the queue is full, or the server ends.
        """
        job = Job(order)
        with self._lock:
            if not in_batch or self.full:
                self.refuse_if_busy()
            self._unanswered += 1
            self.metrics.queued.set(self._unanswered)
            self._pool.submit(self._work, job)
        return job

    def close(self) -> None:
        """Waits for what was accepted and ends the threads."""
        self.closing = True
        self._pool.shutdown(wait=True)

    def _work(self, job: Job) -> None:
        try:
            if not job.future.set_running_or_notify_cancel():
                self.metrics.pictures.labels("abandoned").inc()
                return
            start = time.monotonic()
            try:
                answer = self._answer(job)
            except CancelledError as error:
                self.metrics.pictures.labels("abandoned").inc()
                job.future.set_exception(error)
            except BaseException as error:
                outcome = "refused" if isinstance(error, CorunError) else "failed"
                self.metrics.pictures.labels(outcome).inc()
                job.future.set_exception(error)
            else:
                self.metrics.pictures.labels("done").inc()
                self._mean_seconds += 0.1 * (time.monotonic() - start - self._mean_seconds)
                job.future.set_result(answer)
        finally:
            with self._lock:
                self._unanswered -= 1
                self.metrics.queued.set(self._unanswered)

    def _answer(self, job: Job) -> Answer:
        order = job.order
        seconds: dict[str, float] = {}
        last = job.accepted

        def stage(name: str) -> None:
            nonlocal last
            now = time.monotonic()
            seconds[name] = now - last
            self.metrics.stage_seconds.labels(name).observe(seconds[name])
            last = now
            if job.abandoned.is_set():
                raise CancelledError
            if now - job.accepted > self.limits.seconds:
                raise BusyError(
                    f"{order.name}: took more than {self.limits.seconds:g} s; try again later",
                    self.retry_after(),
                )

        stage("wait")
        picture = read_picture(order.content, name=order.name, max_pixels=self.limits.pixels)
        stage("decode")
        result = self.batches[order.model].dehaze(picture, strength=order.strength)
        stage("dehaze")
        if order.transmission:
            own, metadata = "PNG", PictureMetadata()
        else:
            own, metadata = written_format(picture.metadata.format), result.metadata
        image = result.transmission_image() if order.transmission else result.storable_image()
        file_format = own if not order.formats or own in order.formats else order.formats[0]
        content, notes = encode_picture(image, metadata, file_format, quality=order.quality)
        seconds["encode"] = time.monotonic() - last
        self.metrics.stage_seconds.labels("encode").observe(seconds["encode"])
        height, width = result.size
        airlight = None if result.airlight is None else tuple(map(float, result.airlight))
        every_note = tuple(dict.fromkeys((*result.metadata.notes, *notes)))
        return Answer(content, file_format, (width, height), airlight, every_note, seconds)
