"""The same function on many things, in this process or in several, reported as they finish."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from corun.dehazing.devices import usable_threads
from corun.errors import DeviceError

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class WorkPool:
    """Processes that stay for all stages of a run, so that each loads its models once.

    They are started anew (spawned) at the first need, so they work beside CUDA and threads, and
    each is limited to its share of the cores. Ctrl-C is this process's affair: it ends them. They
    end by themselves where this process is killed.

    Args:
        jobs: processes; 1 works in this one.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._executor: ProcessPoolExecutor | None = None
        self._others = set(multiprocessing.active_children())

    def __enter__(self) -> WorkPool:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._executor is None:
            return
        if error is not None:  # nobody waits for what is being worked on
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def finished(
        self, function: Callable[[Any], Answer], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Answer]]:
        """Yields each task with its answer, in the order they finish.

        A bounded number of tasks is in flight.

        Args:
            function: importable by name.
            tasks: picklable.

        Raises:
            DeviceError: a process died.
        """
        if self._jobs <= 1 or len(tasks) <= 1:
            for task in tasks:
                yield task, function(task)
            return
        try:
            yield from self._in_processes(function, tasks)
        except BrokenProcessPool as error:
            raise DeviceError(
                "a worker process died, which mostly means too little memory; what is done is "
                "kept: run the command again with fewer --jobs"
            ) from error

    def _in_processes(
        self, function: Callable[[Any], Answer], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Answer]]:
        executor = self._started()
        waiting = iter(tasks)
        with _deaf_to_interrupts():  # processes start as tasks come, and inherit this
            pending: dict[Future[Answer], Task] = {
                executor.submit(function, task): task for task in islice(waiting, 2 * self._jobs)
            }
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                task = pending.pop(future)
                for following in islice(waiting, 1):
                    with _deaf_to_interrupts():
                        pending[executor.submit(function, following)] = following
                yield task, future.result()

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            threads = max(1, usable_threads() // self._jobs)
            self._executor = ProcessPoolExecutor(
                self._jobs,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=(threads,),
            )
        return self._executor


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A process started meanwhile is deaf to Ctrl-C from its first moment, while it is loading.

    Here, one that comes meanwhile is answered afterwards.
    """
    mask: Callable[..., Any] | None = getattr(signal, "pthread_sigmask", None)  # not on Windows
    if mask is None:
        yield
        return
    before = mask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        mask(signal.SIG_SETMASK, before)


def _begin(threads: int) -> None:
    """Prepares a worker: its share of the cores, and an end where its parent has one."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    # a handler, other than deafness, is not inherited by the commands that a worker runs
    signal.signal(signal.SIGINT, lambda number, frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    import torch

    torch.set_num_threads(threads)
