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
    *,
    readers: int = 1,
    writers: int = 1,
    ahead: Callable[[Job], int] | None = None,
    begin: Callable[[], None] | None = None,
) -> Iterator[Done | Failed[Job]]:
    """Read, work and write each job: the work one at a time, reading and writing beside it.

    Args:
        jobs: in this order they are worked on, and come back.
        read: runs in threads of its own.
        work: runs in the caller's thread.
        write: runs in threads of its own.
        readers: threads that read. One is enough for a disk, and more pictures that are read
            before their turn only fill the memory; a store far away answers late.
        writers: threads that write.
        ahead: how many may wait, read, once this job is read; by default as many as `readers`.
        begin: runs in the caller's thread once the first are being read, before any is worked on.

    Yields:
        What ``write`` returned, or what became of the job instead. Who stops early loses nothing
        that was worked on: what waits to be written is written.
    """
    coming = iter(jobs)
    reading: deque[tuple[Job, Future[Read]]] = deque()
    writing: deque[tuple[Job, Future[Done]]] = deque()
    with (
        ThreadPoolExecutor(readers, "reader") as reader,
        ThreadPoolExecutor(writers, "writer") as writer,
    ):

        def read_ahead() -> None:
            for job in coming:
                reading.append((job, reader.submit(read, job)))
                if len(reading) > (readers if ahead is None else ahead(job)):
                    return

        def written() -> Done | Failed[Job]:
            job, future = writing.popleft()
            try:
                return future.result()
            except Exception as error:  # handed to the caller, who knows what it means
                return Failed(job, error)

        read_ahead()
        try:
            if begin is not None:
                begin()
            while reading:
                job, future = reading.popleft()
                read_ahead()
                try:
                    made = work(job, future.result())
                except Exception as error:  # handed to the caller, who knows what it means
                    while writing:
                        yield written()
                    yield Failed(job, error)
                    continue
                writing.append((job, writer.submit(write, job, made)))
                while writing and (writing[0][1].done() or len(writing) > writers):
                    yield written()
        finally:
            for _, waiting in reading:
                waiting.cancel()
        while writing:
            yield written()
