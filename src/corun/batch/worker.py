"""One loaded model that does entries: reading, the network and writing at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import cv2

from corun.batch.entries import Entry
from corun.batch.stores import Store, persistently
from corun.dehazing.dehazed import Dehazed
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.devices import usable_threads
from corun.dehazing.file_jobs import JobOptions, Outcome, failed_outcome, outcome_of
from corun.dehazing.loading import load
from corun.dehazing.overlap import Failed, overlapped
from corun.pictures.formats import FORMAT_OF_SUFFIX
from corun.pictures.reading import Picture, read_picture
from corun.pictures.writing import encode_picture

LOCAL_THREADS, REMOTE_THREADS = 1, 8
"""That read ahead, and that write: a store's answer takes long, and more only fill the memory."""


@dataclass(frozen=True)
class Work:
    """What a worker needs to know; plain values, so that it can be sent to another machine.

    Attributes:
        destination: path or URL of the folder of the results.
        model: a name, or a file.
        load: further arguments of `corun.load`.
        options: strength, quality, and the largest picture.
        retries: how often reading and writing are tried again.
    """

    destination: str
    model: str
    load: dict[str, Any] = field(default_factory=dict)
    options: JobOptions = field(default_factory=JobOptions)
    retries: int = 3


class _Seconds:
    """Adds the time that passes inside to a count: not that of waiting for one's turn."""

    def __init__(self, count: float) -> None:
        self.count = count

    def __enter__(self) -> _Seconds:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.count += time.perf_counter() - self._start


class Worker:
    """Does entries with one model.

    Args:
        work: what to do.
        dehazer: loaded already, or None to load it.
    """

    def __init__(self, work: Work, dehazer: Dehazer | None = None) -> None:
        self.work = work
        self.dehazer = dehazer or load(work.model, **work.load)
        threads = work.load.get("threads")
        if threads is not None:
            cv2.setNumThreads(threads)  # of this process: it would take all processors
        # With one thread, decoding, clearing and encoding take turns; a store is waited for beside.
        self._processors = threading.BoundedSemaphore(threads or usable_threads() + 2)
        on_cpu = self.dehazer.engine.facts.device == "cpu"
        self._clearing: AbstractContextManager[object] = (
            self._processors if on_cpu else nullcontext()
        )
        self._destination = Store(work.destination)

    def done(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Outcome]]:
        """Does entries in order; an error of one is its outcome and does not stop the rest.

        Whoever stops early, by an exception too, lets what is being written be written.
        """
        results = overlapped(
            entries,
            self._read,
            self._cleared,
            self._write,
            readers=REMOTE_THREADS,
            writers=LOCAL_THREADS if self._destination.local else REMOTE_THREADS,
            ahead=lambda entry: REMOTE_THREADS if "://" in entry.input else LOCAL_THREADS,
        )
        for result in results:
            if isinstance(result, Failed):
                yield result.job, self._failed(result.job, result.error)
            else:
                yield result

    def _read(self, entry: Entry) -> tuple[Picture, float]:
        start = time.perf_counter()
        content: bytes | Path = Path(entry.input)
        if "://" in entry.input:
            store = Store(entry.input)
            content = persistently(lambda: store.read(store.root), self.work.retries)
        fetching = time.perf_counter() - start
        most = self.work.options.max_pixels
        with self._processors, _Seconds(fetching) as seconds:
            picture = read_picture(content, name=entry.input, max_pixels=most)
        return picture, seconds.count

    def _cleared(self, entry: Entry, read: tuple[Picture, float]) -> tuple[Dehazed, float]:
        picture, before = read
        with self._clearing, _Seconds(before) as seconds:
            result = self.dehazer.dehaze_picture(picture, strength=self.work.options.strength)
        return result, seconds.count

    def _write(self, entry: Entry, cleared: tuple[Dehazed, float]) -> tuple[Entry, Outcome]:
        result, before = cleared
        with self._processors, _Seconds(before) as seconds:
            content, notes = encode_picture(
                result.storable_image(),
                result.metadata,
                FORMAT_OF_SUFFIX[PurePosixPath(entry.output).suffix.lower()],
                quality=self.work.options.quality,
            )
        path = self._destination.below(entry.output)
        with _Seconds(seconds.count) as seconds:
            persistently(lambda: self._destination.write(path, content), self.work.retries)
        return entry, outcome_of(
            self.dehazer,
            result,
            input=entry.input,
            output=self._destination.name(path),
            seconds=seconds.count,
            notes=notes,
        )

    def _failed(self, entry: Entry, error: Exception) -> Outcome:
        outcome = failed_outcome(entry.input, error, self.dehazer)
        if entry.input in str(outcome.error):
            return outcome
        return replace(outcome, error=f"{entry.input}: {outcome.error}")

    def found(self, entry: Entry) -> Outcome | None:
        """The outcome of an entry whose result is there, or None."""
        path = self._destination.below(entry.output)
        there = persistently(lambda: self._destination.exists(path), self.work.retries)
        return found_outcome(entry, self._destination.name(path)) if there else None


def found_outcome(entry: Entry, output: str) -> Outcome:
    """Of an entry whose result was there: its process was stopped before it wrote the row."""
    return Outcome(entry.input, "skipped", output=output)
