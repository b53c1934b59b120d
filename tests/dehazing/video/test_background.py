"""Stages in threads: in order, bounded, and their errors arrive."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest

from corun.dehazing.video.background import in_background, newest


def test_items_come_in_order_and_not_too_far_ahead() -> None:
    made: list[int] = []

    def numbers() -> Generator[int, None, None]:
        for number in range(20):
            made.append(number)
            yield number

    taken = []
    for number in in_background(numbers(), 2):
        time.sleep(0.002)
        assert len(made) <= number + 5
        taken.append(number)
    assert taken == list(range(20))


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_an_error_is_raised_where_the_items_are_taken(error: BaseException) -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise error

    items = in_background(failing(), 2)
    assert next(items) == 1
    with pytest.raises(type(error)):
        next(items)


def test_closing_ends_the_thread_and_what_it_reads() -> None:
    ended = []

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            ended.append(threading.current_thread().name)

    before = threading.active_count()
    for wrap in (lambda g: in_background(g, 1), newest):
        items = wrap(endless())
        next(items)
        items.close()
    assert ended == ["corun-video", "corun-live"]
    assert threading.active_count() == before


def test_the_newest_is_given_and_the_others_are_counted() -> None:
    taken, ended = threading.Event(), threading.Event()

    def quick() -> Generator[int, None, None]:
        yield 0
        assert taken.wait(60)
        yield from range(1, 30)
        ended.set()

    items = newest(quick())
    assert next(items) == (0, 0)
    taken.set()
    assert ended.wait(60)
    assert list(items) == [(28, 29)]
