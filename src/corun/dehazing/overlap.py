"""Reading the next picture and writing the last one while the network works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Job = TypeVar("Job")
Read = TypeVar("Read")
Made = TypeVar("Made")
Done = TypeVar("Done")

AHEAD = 1
"""Pictures that are read before their turn, and that wait to be written: more would only fill the
memory, since the network takes longer than either."""


class Failed(Generic[Job]):
    """A job whose reading, work or writing raised.

    Attributes:
        job: the job.
        error: what it raised.
    """

    def __init__(self, job: Job, error: Exception) -> None:
        self.job, self.error = job, error


def overlapped(
    jobs: Iterable[Job],
    read: Callable[[Job], Read],
    work: Callable[[Job, Read], Made],
    write: Callable[[Job, Made], Done],
) -> Iterator[Done | Failed[Job]]:
    """Read, work and write each job, each of the three one at a time, all three at once.

    Args:
        jobs: in this order they are done, and come back.
        read: runs in a thread of its own, at most :data:`AHEAD` jobs early.
        work: runs in the caller's thread.
        write: runs in a thread of its own.

    Yields:
        What ``write`` returned, or what became of the job instead. Who stops early loses nothing
        that was worked on: what waits to be written is written.
    """
    coming = iter(jobs)
    reading: deque[tuple[Job, Future[Read]]] = deque()
    writing: deque[tuple[Job, Future[Done]]] = deque()
    with ThreadPoolExecutor(1, "reader") as reader, ThreadPoolExecutor(1, "writer") as writer:

        def read_ahead() -> None:
            while len(reading) <= AHEAD:
                try:
                    job = next(coming)
                except StopIteration:
                    return
                reading.append((job, reader.submit(read, job)))

        def written() -> Done | Failed[Job]:
            job, future = writing.popleft()
            try:
                return future.result()
            except Exception as error:  # handed to the caller, who knows what it means
                return Failed(job, error)

        read_ahead()
        while reading:
            job, future = reading.popleft()
            failed = None
            try:
                picture = future.result()
                read_ahead()
                made = work(job, picture)
            except Exception as error:  # handed to the caller, who knows what it means
                failed = Failed(job, error)
                read_ahead()
            if failed is not None:
                while writing:
                    yield written()
                yield failed
                continue
            writing.append((job, writer.submit(write, job, made)))
            while len(writing) > AHEAD:
                yield written()
        while writing:
            yield written()
