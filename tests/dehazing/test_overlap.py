"""Jobs come back in order, whatever fails, and the three steps run beside each other."""

from __future__ import annotations

import threading

import pytest

from corun.dehazing.overlap import Failed, overlapped


def test_jobs_come_back_in_order_and_failures_stand_where_they_belong() -> None:
    def read(job: int) -> int:
        if job == 2:
            raise ValueError("unreadable")
        return job * 10

    def work(job: int, value: int) -> int:
        if job == 4:
            raise ValueError("too large")
        return value + 1

    def write(job: int, value: int) -> str:
        if job == 5:
            raise OSError("disk full")
        return f"{job}:{value}"

    results = list(overlapped(range(8), read, work, write))
    shown = [(one.job, str(one.error)) if isinstance(one, Failed) else one for one in results]
    assert shown == [
        "0:1", "1:11", (2, "unreadable"), "3:31", (4, "too large"), (5, "disk full"),
        "6:61", "7:71",
    ]  # fmt: skip


def test_reading_and_writing_go_on_during_the_work() -> None:
    """Job 1 can only be worked on if its reading did not wait for the work on job 0 to end."""
    read_second, wrote_first = threading.Event(), threading.Event()

    def read(job: int) -> int:
        if job == 1:
            read_second.set()
        return job

    def work(job: int, value: int) -> int:
        if job == 0:
            assert read_second.wait(10)
        if job == 2:
            assert wrote_first.wait(10)
        return value

    def write(job: int, value: int) -> int:
        if job == 0:
            wrote_first.set()
        return value

    assert list(overlapped(range(3), read, work, write)) == [0, 1, 2]


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_is_read_ahead_than_said(ahead: int) -> None:
    taken: list[int] = []

    def read(job: int) -> int:
        taken.append(job)
        return job

    def work(job: int, value: int) -> int:
        assert len(taken) <= job + 2 + ahead
        return value

    done = overlapped(
        range(10), read, work, lambda job, value: value, readers=4, ahead=lambda job: ahead
    )
    assert list(done) == list(range(10))
    assert sorted(taken) == list(range(10))


def test_what_was_worked_on_is_written_when_the_caller_is_interrupted() -> None:
    written: list[int] = []

    def work(job: int, value: int) -> int:
        if job == 3:
            raise KeyboardInterrupt
        return value

    def write(job: int, value: int) -> int:
        written.append(value)
        return value

    with pytest.raises(KeyboardInterrupt):
        list(overlapped(range(10), lambda job: job, work, write))
    assert written == [0, 1, 2]


def test_what_begins_runs_beside_the_first_reading_and_before_any_work() -> None:
    reading, seen = threading.Event(), []

    def read(job: int) -> int:
        reading.set()
        return job

    def work(job: int, value: int) -> int:
        seen.append("work")
        return value

    def begin() -> None:
        assert reading.wait(10)
        seen.append("begin")

    assert list(overlapped([7], read, work, lambda job, made: made, begin=begin)) == [7]
    assert seen == ["begin", "work"]

    def fail() -> None:
        raise KeyError("no network")

    with pytest.raises(KeyError, match="no network"):
        list(overlapped([7], read, work, lambda job, made: made, begin=fail))
    assert seen == ["begin", "work"]
