"""A dehazer for all tests, and a service with it that most of them share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_service import Running, running

import corun
from corun.dehazing.dehazer import Dehazer

pytest.importorskip("fastapi", reason="needs the extra serve")

from corun.server.limits import Limits
from corun.server.service import create_service
from corun.server.videos import VideoJobs


@pytest.fixture(scope="session")
def dehazer() -> Dehazer:
    return corun.load("corun-lite", device="cpu")


@pytest.fixture(scope="session")
def service(dehazer: Dehazer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With limits that small pictures reach."""
    limits = Limits(body_bytes=200_000, batch_bytes=1_000_000, pixels=1_000_000)
    videos = VideoJobs(tmp_path_factory.mktemp("state"), limits)
    app = create_service(lambda: {"corun-lite": dehazer}, limits=limits, threads=3, videos=videos)
    with running(app, limits=limits) as started:
        yield started


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    from video_films import make_film

    return make_film(tmp_path / "hazy.mp4", audio=True)
