"""SIGKILL under load: nothing half-made is served or lies under a final name, and films go on."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from running_service import Running, encoded, photo, serve_command, until

pytest.importorskip("av", reason="needs the extra video")

import corun
from corun.dehazing.video.conversion import dehaze_video
from video_films import frames_of, make_film, names, planes, times_of

FRAMES = 800
WORK = ".clear.mp4.corun-video"
PICTURE = encoded(photo(1, (96, 64)))


@contextmanager
def crowd(port: int) -> Iterator[list[bytes]]:
    """Clients that ask until the server is gone; what they were given whole."""
    answers: list[bytes] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            while True:
                connection.request("POST", "/v1/dehaze", PICTURE)
                reply = connection.getresponse()
                content = reply.read()  # raises where fewer bytes come than were stated
                assert reply.status == 200
                answers.append(content)
        except (OSError, http.client.HTTPException):
            connection.close()

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield answers
    for thread in threads:
        thread.join()


@pytest.mark.slow
def test_killed_under_load_and_started_again(tmp_path: Path) -> None:
    stamps = [3600 * n + 300 * (n % 3) for n in range(FRAMES)]
    film = make_film(tmp_path / "hazy.mp4", stamps=stamps, audio=True)
    state = tmp_path / "state" / "corun-videos"
    job = ""
    for kills in range(2):
        with serve_command(tmp_path, "--model", "dcp") as (process, port):
            service = Running(None, SimpleNamespace(port=port))
            if not job:
                reply = service.ask("POST", "/v1/videos", film.read_bytes())
                assert reply.status == 202
                job = json.loads(reply.body)["id"]
            half = socket.create_connection(("127.0.0.1", port), 60)
            half.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nxx")
            until(lambda: len([path for path in state.iterdir() if path.is_dir()]) == 2)
            with crowd(port) as answers:
                # One more run is finished, and the one after it begun, when the blow falls.
                until(lambda n=kills: len(list(state.glob("*/*/*.packets"))) > n + 1, 120)
                until(lambda: len(answers) > 3, 60)
                process.kill()
                process.wait()
            half.close()
        assert names(state / job) == {"job.json", "film", WORK}  # no film under its name
        for content in answers:
            with Image.open(io.BytesIO(content)) as image:
                assert image.convert("RGB").size == (96, 64)
    with serve_command(tmp_path, "--model", "dcp") as (_, port):
        service = Running(None, SimpleNamespace(port=port))
        assert [path.name for path in state.iterdir() if path.is_dir()] == [job]  # no half upload
        assert service.ask("GET", f"/v1/videos/{job}/result").status in (200, 409)

        def told() -> dict[str, object]:
            return dict(json.loads(service.ask("GET", f"/v1/videos/{job}").body))

        until(lambda: told()["status"] == "done", 120)
        assert told()["frames"] == FRAMES
        assert service.metric("corun_video_frames_total") <= FRAMES - 500  # two runs were kept
        clear = tmp_path / "over-http.mp4"
        clear.write_bytes(service.ask("GET", f"/v1/videos/{job}/result").body)
    assert names(state / job) == {"job.json", "clear.mp4"}
    dehaze_video(film, tmp_path / "unbroken.mp4", corun.load("dcp", device="cpu"))
    assert times_of(clear) == times_of(film)
    for one, other in zip(frames_of(clear), frames_of(tmp_path / "unbroken.mp4"), strict=True):
        assert np.array_equal(planes(one), planes(other))
