"""A live film in a browser: the newest frame, and nobody waits."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import cv2
import numpy as np
import pytest
from running_service import Running, running

pytest.importorskip("fastapi", reason="needs the extra serve")

from corun.dehazing.video.live import LiveFrame
from corun.errors import VideoError
from corun.server.live_page import LivePage


class Film:
    """Grey frames, each brighter, that come when they are let."""

    def __init__(self, count: int, error: str | None = None) -> None:
        self.count, self.error = count, error
        self.due = threading.Semaphore(0)
        self.closed = threading.Event()

    def frames(self) -> Generator[LiveFrame, None, None]:
        try:
            for number in range(self.count):
                self.due.acquire()
                rgb = np.full((48, 64, 3), 10 * number, np.uint8)
                rgb[..., 0] += 40  # red, not blue
                yield LiveFrame(number / 25, rgb, 2 * number)
            if self.error is not None:
                raise VideoError(self.error)
        finally:
            self.closed.set()


@contextmanager
def watching(served: Running) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=30)
    connection.request("GET", "/live.mjpeg")
    with closing(connection), closing(connection.getresponse()) as reply:
        yield reply


def next_picture(reply: http.client.HTTPResponse) -> np.ndarray:
    """The next part of the answer, as RGB."""
    size = 0
    while line := reply.readline().strip():
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    coded = reply.read(size)
    reply.readline()
    return cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_each_viewer_gets_the_newest_frame_and_the_end() -> None:
    film = Film(3)
    page = LivePage(film.frames())
    with running(page.app()) as served:
        page.start()
        with watching(served) as one, watching(served) as other:
            for number in range(3):
                film.due.release()
                for reply in (one, other):
                    picture = next_picture(reply)
                    assert picture.shape == (48, 64, 3)
                    expected = np.array([10 * number + 40, 10 * number, 10 * number])
                    assert np.abs(picture.mean((0, 1)) - expected).max() < 3
            assert [one.read(), other.read()] == [b"", b""]
        state = json.loads(served.ask("GET", "/state").body)
        assert state == {
            "frames": 3, "dropped": 4, "seconds": 0.08, "ended": True, "error": None,
        }  # fmt: skip


def test_a_stream_that_breaks_off_is_said_and_the_server_told() -> None:
    ended = threading.Event()
    page = LivePage(Film(0, "rtsp://camera: gone").frames(), on_end=ended.set)
    with running(page.app()) as served:
        page.start()
        assert ended.wait(20)
        assert json.loads(served.ask("GET", "/state").body)["error"] == "rtsp://camera: gone"
    page.wait()


def test_an_error_that_nobody_foresaw_is_not_taken_for_the_end() -> None:
    def frames() -> Generator[LiveFrame, None, None]:
        yield LiveFrame(0.0, np.zeros((8, 8, 3), np.uint8), 0)
        raise MemoryError

    page = LivePage(frames())
    page.start()
    with pytest.raises(MemoryError):
        page.wait()
    assert page.ended
    assert page.error is not None


def test_closing_lets_viewers_go_and_closes_the_stream() -> None:
    film = Film(10)
    page = LivePage(film.frames())
    with running(page.app()) as served:
        page.start()
        film.due.release()
        with watching(served) as reply:
            next_picture(reply)
            page.close()
            assert reply.read() == b""
        film.due.release()
        assert film.closed.wait(20)
    page.wait()


def test_the_page_is_whole_and_only_for_names_of_this_machine() -> None:
    page = LivePage(Film(0).frames())
    with running(page.app()) as served:
        answer = served.ask("GET", "/")
        assert answer.status == 200
        assert b'<img src="live.mjpeg" alt=' in answer.body
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        foreign = served.ask("GET", "/live.mjpeg", headers={"Host": "evil.example"})
        assert foreign.status == 421
