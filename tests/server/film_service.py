"""A service that takes films, with a network that needs no weights, and what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from running_service import Running, running, until

pytest.importorskip("av", reason="needs the extra video")

from corun.server.limits import Limits
from corun.server.service import create_service, stop_accepting
from corun.server.videos import VideoJobs
from video_films import ToyDehazer

LIMITS = Limits(video_bytes=200_000, video_pixels=5000, video_seconds=2.0, video_queue=2)


class Waiting(ToyDehazer):
    """A network that waits for its gate, as one that takes long."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def maps(self, pictures: Any) -> Any:
        if pictures[0].shape[:2] != (64, 96):  # which is how models are told apart
            self.seen.append(())
            assert self.gate.wait(30)
        return super().maps(pictures)


@contextmanager
def serving(
    state: Path, dehazer: ToyDehazer, limits: Limits = LIMITS, **options: Any
) -> Iterator[Running]:
    app = create_service(
        lambda: {"toy": dehazer}, limits=limits, threads=1, videos=VideoJobs(state, limits),
        **options,
    )  # fmt: skip
    with running(app, limits=limits, on_stop=lambda: stop_accepting(app)) as service:
        yield service


def submitted(service: Running, film: Path, query: str = "") -> dict[str, Any]:
    reply = service.ask("POST", f"/v1/videos{query}", film.read_bytes())
    assert reply.status == 202, reply.body
    job = json.loads(reply.body)
    assert reply.headers["location"] == f"/v1/videos/{job['id']}"
    return job


def told(service: Running, job: dict[str, Any]) -> dict[str, Any]:
    reply = service.ask("GET", f"/v1/videos/{job['id']}")
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def ended(service: Running, job: dict[str, Any]) -> dict[str, Any]:
    until(lambda: told(service, job)["status"] in ("done", "failed"), 60)
    return told(service, job)


def jobs_in(state: Path) -> list[Path]:
    return [path for path in (state / "corun-videos").iterdir() if path.is_dir()]
