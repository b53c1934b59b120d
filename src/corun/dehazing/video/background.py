"""Stages of a pipeline in threads of their own, so that decoding, network and encoding overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")

_END = object()
_PATIENCE = 0.2
"""Seconds after which a stage that waits looks whether anybody still wants its items."""


def in_background(items: Iterable[Item], waiting: int) -> Generator[Item, None, None]:
    """The items, computed by a thread ahead of whoever takes them.

    An exception of theirs is raised where they are taken. Closing the generator ends the thread,
    and closes `items` in it if they are a generator.

    Args:
        items: iterated over in the thread only.
        waiting: how many computed items may wait; it bounds the memory.
    """
    ready: queue.Queue[object] = queue.Queue(waiting)
    closed = threading.Event()
    failure: list[BaseException] = []

    def put(item: object) -> bool:
        while not closed.is_set():
            try:
                ready.put(item, timeout=_PATIENCE)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    break
        except BaseException as error:  # handed to the taker
            failure.append(error)
        finally:
            if isinstance(items, Generator):
                items.close()
            put(_END)

    thread = threading.Thread(target=work, name="corun-video", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            yield item  # type: ignore[misc]
        if failure:
            raise failure[0]
    finally:
        closed.set()
        thread.join()


def newest(items: Iterable[Item]) -> Generator[tuple[int, Item], None, None]:
    """The newest item each time one is asked for; what came between is dropped.

    Args:
        items: iterated over in a thread, as fast as they come. The last one is never dropped.

    Yields:
        How many were dropped just before, and the item.
    """
    changed = threading.Condition()
    slot: list[Item] = []
    state = {"dropped": 0, "ended": False, "closed": False}
    failure: list[BaseException] = []

    def work() -> None:
        try:
            for item in items:
                with changed:
                    if state["closed"]:
                        break
                    state["dropped"] += len(slot)
                    slot[:] = [item]
                    changed.notify()
        except BaseException as error:  # handed to the taker
            failure.append(error)
        finally:
            if isinstance(items, Generator):
                items.close()
            with changed:
                state["ended"] = True
                changed.notify()

    thread = threading.Thread(target=work, name="corun-live", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                while not slot and not state["ended"]:
                    changed.wait(_PATIENCE)
                if not slot:
                    break
                item, dropped = slot.pop(), int(state["dropped"])
                state["dropped"] = 0
            yield dropped, item
        if failure:
            raise failure[0]
    finally:
        with changed:
            state["closed"] = True
        thread.join()
