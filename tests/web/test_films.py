"""Films behind the page, without a browser: bounded, named, given up, and never half there."""

from __future__ import annotations

import html
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("av", reason="needs the extra video")
pytest.importorskip("fastapi", reason="needs the extra serve")

from corun.errors import CorunError
from corun.server.engine import BusyError, Engine
from corun.server.limits import Limits
from corun.server.observation import ServiceMetrics
from corun.server.videos import VideoJobs
from corun.web.films import Cleared, Told, cleared, in_words
from corun.web.previews import Photo, Previews, bytes_of, middle_of
from corun.web.temporary import TemporaryFolder
from video_films import ToyDehazer, frames_of, make_film

LIMITS = Limits(video_queue=2, video_seconds=20.0, video_bytes=10_000_000, body_bytes=100)


class Desk(NamedTuple):
    jobs: VideoJobs
    previews: Previews


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = TemporaryFolder()
    dehazers = {"toy": ToyDehazer()}
    engine = Engine(dehazers, LIMITS, ServiceMetrics(), threads=1)
    jobs = VideoJobs(folder.work, LIMITS)
    jobs.start(dehazers, ServiceMetrics())
    yield Desk(jobs, Previews(engine, folder))
    jobs.close()
    engine.close()
    folder.close()


@pytest.fixture
def film(tmp_path: Path) -> Photo:
    return Photo(_film(tmp_path), "a fog.m4v")


def _film(folder: Path) -> str:
    return str(make_film(folder / "a-fog.mp4"))


def folders(desk: Desk) -> list[str]:
    return [path.name for path in desk.jobs.folder.iterdir() if path.is_dir()]


def test_a_film_comes_under_its_own_name_and_leaves_nothing_behind(desk: Desk, film: Photo) -> None:
    *told, done = cleared(desk.jobs, desk.previews, film, "toy", 1.0)
    assert all(isinstance(step, Told) for step in told)
    assert isinstance(done, Cleared)
    assert done.path.name == "a fog.mp4"
    assert done.frames == len(frames_of(done.path)) == 12
    assert all(Path(path).stat().st_size for path in done.pair)
    assert Path(film.path).exists()
    assert folders(desk) == []


def test_hdr_is_brought_to_what_a_browser_shows(desk: Desk, tmp_path: Path) -> None:
    path = make_film(
        tmp_path / "hdr.mp4", pixel_format="yuv420p10le", colours=(1, 9, 16, 9), deep=True
    )
    *_, done = cleared(desk.jobs, desk.previews, Photo(str(path), path.name), "toy", 1.0)
    assert isinstance(done, Cleared)
    assert {int(frame.color_trc) for frame in frames_of(done.path)} == {1}


def test_whoever_goes_gives_the_film_up(desk: Desk, tmp_path: Path) -> None:
    path = make_film(tmp_path / "long.mp4", stamps=range(0, 3600 * 400, 3600))
    steps = cleared(desk.jobs, desk.previews, Photo(str(path), path.name), "toy", 1.0)
    next(steps)
    assert len(folders(desk)) == 1
    steps.close()
    desk.jobs.close()
    assert folders(desk) == []


def test_more_than_may_wait_are_refused_in_words(desk: Desk, film: Photo) -> None:
    with (
        desk.jobs.arriving(0),
        desk.jobs.arriving(0),
        pytest.raises(BusyError, match="too many films are waiting"),
    ):
        next(cleared(desk.jobs, desk.previews, film, "toy", 1.0))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(video_bytes=100), "a fog.m4v: is larger than the 100 bytes"),
        (Limits(video_pixels=100), "a fog.m4v: frames of 64x48 are above the limit of 100 pixels"),
        (Limits(video_seconds=0.1), "the film is longer than the 0.1 s"),
    ],
)
def test_limits_hold(film: Photo, limits: Limits, said: str) -> None:
    with pytest.raises(CorunError) as caught:
        middle_of(film, limits)
    assert said in str(caught.value)


def test_a_photo_is_not_taken_at_the_size_of_a_film(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"x" * 101)
    with pytest.raises(CorunError, match=r"^fog\.jpg: is larger than the 100 bytes"):
        bytes_of(Photo(str(path), "fog.jpg"), 100)


def test_an_upload_whose_hour_is_over_is_told(desk: Desk, tmp_path: Path) -> None:
    gone = Photo(str(tmp_path / "gone.mp4"), "fog.mp4")
    with pytest.raises(CorunError, match=r"^fog\.mp4: uploads are kept for an hour"):
        next(cleared(desk.jobs, desk.previews, gone, "toy", 1.0))


def test_no_message_names_a_path_of_the_server(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(Path(_film(tmp_path)).read_bytes()[:900])
    with pytest.raises(CorunError) as caught:
        next(cleared(desk.jobs, desk.previews, Photo(str(path), "fog.mp4"), "toy", 1.0))
    assert str(caught.value).startswith("fog.mp4: ")
    assert str(tmp_path) not in str(caught.value)


def test_without_the_extra_the_page_says_the_install_line(
    desk: Desk, film: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio", reason="needs the extra web", exc_type=ImportError)
    from corun.web.page import Page

    for name in [name for name in sys.modules if name.startswith("corun.dehazing.video")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    page = Page(lambda: desk.previews.engine, lambda: desk.previews, desk.jobs)
    for steps in (page.show([film], 0, "toy", 1.0), page.make_film([film], 0, "toy", 1.0)):
        *_, last = steps
        told = html.unescape(" ".join(part for part in last if isinstance(part, str)))
        assert "pip install 'corun-dehaze[video]'" in told


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 s"), (59.6, "60 s"), (89.0, "1 min"), (3600.0, "1 h 0 min"), (4800.0, "1 h 20 min")],
)
def test_times_in_words(seconds: float, said: str) -> None:
    assert in_words(seconds) == said
