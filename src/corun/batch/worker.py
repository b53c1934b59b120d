"""One loaded model that does entries: reading, the network and writing at the same time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from corun.batch.entries import Entry
from corun.batch.stores import Store, persistently
from corun.dehazing.dehazed import Dehazed
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.file_jobs import JobOptions, Outcome, failed_outcome
from corun.dehazing.loading import load
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


class Worker:
    """Does entries with one model.

    Args:
        work: what to do.
        dehazer: loaded already, or None to load it.
    """

    def __init__(self, work: Work, dehazer: Dehazer | None = None) -> None:
        self.work = work
        self.dehazer = dehazer or load(work.model, **work.load)
        self._destination = Store(work.destination)

    def done(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Outcome]]:
        """Does entries in order; an error of one is its outcome and does not stop the rest.

        Whoever stops early, by an exception too, lets what is being written be written.
        """
        coming = iter(entries)
        reading: deque[tuple[Entry, Future[tuple[Picture, float]]]] = deque()
        writing: deque[tuple[Entry, Future[Outcome]]] = deque()

        with (
            ThreadPoolExecutor(REMOTE_THREADS) as reader,
            ThreadPoolExecutor(
                LOCAL_THREADS if self._destination.local else REMOTE_THREADS
            ) as writer,
        ):

            def read_ahead() -> None:
                for entry in coming:
                    reading.append((entry, reader.submit(self._read, entry)))
                    if len(reading) > (REMOTE_THREADS if "://" in entry.input else LOCAL_THREADS):
                        return

            read_ahead()
            try:
                while reading:
                    entry, picture = reading.popleft()
                    read_ahead()
                    try:
                        result, seconds = self._cleared(*picture.result())
                    except Exception as error:  # the boundary between pictures
                        yield entry, self._failed(entry, error)
                        continue
                    writing.append((entry, writer.submit(self._write, entry, result, seconds)))
                    while writing and (
                        writing[0][1].done()
                        or len(writing) > (1 if self._destination.local else REMOTE_THREADS)
                    ):
                        yield self._written(*writing.popleft())
            finally:
                for _, waiting in reading:
                    waiting.cancel()
            while writing:
                yield self._written(*writing.popleft())

    def _read(self, entry: Entry) -> tuple[Picture, float]:
        start = time.perf_counter()
        content: bytes | Path = Path(entry.input)
        if "://" in entry.input:
            store = Store(entry.input)
            content = persistently(lambda: store.read(store.root), self.work.retries)
        picture = read_picture(content, name=entry.input, max_pixels=self.work.options.max_pixels)
        return picture, time.perf_counter() - start

    def _cleared(self, picture: Picture, seconds: float) -> tuple[Dehazed, float]:
        start = time.perf_counter()
        result = self.dehazer.dehaze_picture(picture, strength=self.work.options.strength)
        return result, seconds + time.perf_counter() - start

    def _write(self, entry: Entry, result: Dehazed, seconds: float) -> Outcome:
        start = time.perf_counter()
        content, notes = encode_picture(
            result.storable_image(),
            result.metadata,
            FORMAT_OF_SUFFIX[PurePosixPath(entry.output).suffix.lower()],
            quality=self.work.options.quality,
        )
        path = self._destination.below(entry.output)
        persistently(lambda: self._destination.write(path, content), self.work.retries)
        height, width = result.size
        return Outcome(
            entry.input,
            "ok",
            output=self._destination.name(path),
            model=self.dehazer.name,
            engine=self.dehazer.engine.facts.name,
            device=self.dehazer.device,
            dtype=self.dehazer.dtype,
            width=width,
            height=height,
            seconds=round(seconds + time.perf_counter() - start, 3),
            notes=tuple(dict.fromkeys((*result.metadata.notes, *notes))),
        )

    def _written(self, entry: Entry, future: Future[Outcome]) -> tuple[Entry, Outcome]:
        try:
            return entry, future.result()
        except Exception as error:  # the boundary between pictures
            return entry, self._failed(entry, error)

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
