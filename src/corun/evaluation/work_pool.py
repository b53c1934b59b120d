"""The same function on many things, in this process or in several, reported as they finish."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")


def finished(
    function: Callable[[Any], Answer],
    tasks: Sequence[Task],
    *,
    jobs: int,
    initialise: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[tuple[Task, Answer]]:
    """Yields each task with its answer, in the order they finish.

    A bounded number of tasks is in flight. Several processes are started anew (spawned), so they
    work beside CUDA and threads; each is limited to its share of the cores.

    Args:
        function: importable by name.
        tasks: picklable.
        jobs: processes; 1 works in this one.
        initialise: called once in each process.
        arguments: of `initialise`.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        if initialise is not None and tasks:
            initialise(*arguments)
        for task in tasks:
            yield task, function(task)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting = iter(tasks)
    pending: dict[Future[Answer], Task] = {}
    executor = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_start, initargs=(threads, initialise, arguments)
    )
    try:
        for task in islice(waiting, 2 * jobs):
            pending[executor.submit(function, task)] = task
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                task = pending.pop(future)
                for following in islice(waiting, 1):
                    pending[executor.submit(function, following)] = following
                yield task, future.result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start(
    threads: int, initialise: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> None:
    import torch

    torch.set_num_threads(threads)
    if initialise is not None:
        initialise(*arguments)
