"""Films over HTTP: jobs that are accepted, end, fail, and are given up."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from film_service import LIMITS, Waiting, ended, jobs_in, serving, submitted, told
from running_service import encoded, form, photo, running, until

from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.server import videos
from corun.server.observation import JsonLines
from corun.server.service import create_service
from corun.server.video_records import FILM, VideoOrder
from video_films import ToyDehazer, frames_of, make_film, names, planes, times_of


def test_a_film_becomes_a_job_and_the_very_film_that_the_command_makes(
    state: Path, film: Path, tmp_path: Path
) -> None:
    dehazer = ToyDehazer()
    with serving(state, dehazer) as service:
        job = submitted(service, film, "?strength=0.7&crf=12")
        assert job["status"] in ("queued", "running")
        assert len(job["id"]) >= 32
        done = ended(service, job)
        assert (done["status"], done["frames"], done["error"]) == ("done", 12, None)
        assert done["expires"] > "2020"
        reply = service.ask("GET", done["result"])
        assert (reply.status, reply.headers["content-type"]) == (200, "video/mp4")
        assert "clear.mp4" in reply.headers["content-disposition"]
        assert "no-store" in reply.headers["cache-control"]
        part = service.ask("GET", done["result"], headers={"Range": "bytes=0-9"})
        assert (part.status, part.body) == (206, reply.body[:10])
        assert service.metric('corun_videos_total{outcome="done"}') == 1
        assert service.metric("corun_video_frames_total") == 12
        assert service.metric("corun_unfinished_videos") == 0
        (folder,) = jobs_in(state)
        assert names(folder) == {"job.json", "clear.mp4"}  # the film itself is gone
        assert folder.stat().st_mode & 0o077 == folder.parent.stat().st_mode & 0o077 == 0
        assert service.ask("DELETE", f"/v1/videos/{job['id']}").status == 204
        assert jobs_in(state) == []
        for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
            assert service.ask(method, f"/v1/videos/{job['id']}{path}").status == 404
    clear, direct = tmp_path / "over-http.mp4", tmp_path / "direct.mp4"
    clear.write_bytes(reply.body)
    encoding = VideoOrder("toy", crf=12).options().encoding
    dehaze_video(film, direct, dehazer, VideoOptions(strength=0.7, encoding=encoding))
    assert times_of(clear) == times_of(film)
    for one, other in zip(frames_of(clear), frames_of(direct), strict=True):
        assert np.array_equal(planes(one), planes(other))


@pytest.mark.parametrize(
    ("name", "query", "suffix", "kind"),
    [
        ("a.mkv", "", ".mkv", "video/x-matroska"),
        ("a.mov", "", ".mov", "video/quicktime"),
        ("a.mp4", "?container=mkv&codec=hevc", ".mkv", "video/x-matroska"),
    ],
)
def test_the_format_is_the_films_own_or_the_one_asked_for(
    state: Path, tmp_path: Path, name: str, query: str, suffix: str, kind: str
) -> None:
    film = make_film(tmp_path / name)
    with serving(state, ToyDehazer()) as service:
        done = ended(service, submitted(service, film, query))
        assert done["status"] == "done", done
        reply = service.ask("GET", done["result"])
        assert reply.headers["content-type"] == kind
        assert f"clear{suffix}" in reply.headers["content-disposition"]


def long_film(folder: Path) -> bytes:
    return make_film(folder / "long.mp4", stamps=[90000 * n for n in range(4)]).read_bytes()


def playlist(folder: Path) -> bytes:
    """What FFmpeg would open, and read another file of the server for."""
    make_film(folder / "other.mp4")
    return b"ffconcat version 1.0\nfile other.mp4\n"


def hdr_film(folder: Path) -> bytes:
    options = {"preset": "ultrafast", "x265-params": "log-level=error"}
    return make_film(
        folder / "hdr.mp4", codec="libx265", pixel_format="yuv420p10le", options=options,
        colours=(1, 9, 16, 9), deep=True,
    ).read_bytes()  # fmt: skip


REFUSED: dict[str, tuple[Any, str, dict[str, str], int, str]] = {
    "text": (lambda f: b"no film", "", {}, 422, "film: cannot be opened as a video"),
    "nothing": (lambda f: b"", "", {}, 422, "film: cannot be opened as a video"),
    "a picture": (lambda f: encoded(photo(1)), "", {}, 422, "its format is not taken here"),
    "a playlist": (playlist, "", {}, 422, "its format is not taken here"),
    "too long": (long_film, "", {}, 413, "longer than the 2 s, or 120 frames"),
    "too many bytes": (lambda f: b"x" * 200_001, "", {}, 413, "longer than the 200,000 bytes"),
    "too many bytes without a length": (
        lambda f: iter([b"x" * 50_000] * 5), "", {}, 413, "longer than the 200,000 bytes",
    ),
    "too large": (
        lambda f: make_film(f / "large.mp4", size=(64, 80)).read_bytes(), "", {}, 413,
        "frames of 80x64 are above the limit of 5,000 pixels",
    ),
    "cut short": (
        lambda f: make_film(f / "cut.mp4").read_bytes()[:3000], "", {}, 422, "film: cannot be",
    ),
    "a form": (
        lambda f: form(("a.mp4", b"x"))[0], "", form()[1], 415, "send the film itself as the body",
    ),
    "HDR": (hdr_film, "", {}, 422, "add tone=sdr to have it brought to SDR"),
    "a format without the codec": (
        lambda f: make_film(f / "a.mp4").read_bytes(), "?container=webm", {}, 422,
        "clear.webm: this name asks for a format that cannot hold h264",
    ),
    "strength": (lambda f: b"x", "?strength=2", {}, 422, "strength: "),
    "a model": (lambda f: b"x", "?model=ours", {}, 422, "choose one of: toy"),
    "a quality": (lambda f: b"x", "?crf=60", {}, 422, "crf"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_film_is_refused_in_words_and_leaves_nothing(
    state: Path, tmp_path: Path, name: str
) -> None:
    make, query, headers, status, message = REFUSED[name]
    with serving(state, ToyDehazer()) as service:
        reply = service.ask("POST", f"/v1/videos{query}", make(tmp_path), headers)
        error = json.loads(reply.body)["error"]
        assert (reply.status, message in error) == (status, True), error
        assert "--" not in error
        assert str(state) not in error
        assert jobs_in(state) == []
        assert service.metric("corun_unfinished_videos") == 0


def test_hdr_is_brought_to_sdr_where_asked(state: Path, tmp_path: Path) -> None:
    hdr_film(tmp_path)
    with serving(state, ToyDehazer()) as service:
        done = ended(service, submitted(service, tmp_path / "hdr.mp4", "?tone=sdr"))
        assert done["status"] == "done", done


def test_a_film_that_fails_later_says_why_without_telling_of_the_server(
    state: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corun.dehazing.video.conversion.free_memory", lambda: 1000)
    with serving(state, ToyDehazer()) as service:
        failed = ended(service, submitted(service, film))
        assert failed["status"] == "failed"
        assert failed["error"].startswith("film: 24 frames of ")
        assert str(state) not in failed["error"]
        assert "/" not in failed["error"].replace("and/or", "")
        reply = service.ask("GET", f"/v1/videos/{failed['id']}/result")
        assert reply.status == 409
        assert failed["error"] in json.loads(reply.body)["error"]
        (folder,) = jobs_in(state)
        assert names(folder) == {"job.json"}


def test_a_film_is_stopped_where_it_turns_out_longer_than_it_said(state: Path, film: Path) -> None:
    limits = replace(LIMITS, video_seconds=0.1)
    with serving(state, ToyDehazer(), limits) as service:
        jobs = service.app.state.videos
        with jobs.arriving(0) as folder:
            (folder / FILM).write_bytes(film.read_bytes())
            job = jobs.accept(folder, VideoOrder("toy"))
        failed = ended(service, {"id": job.id})
        assert "longer than the 0.1 s, or 6 frames" in failed["error"]


def test_a_job_that_is_given_up_ends_and_the_next_one_begins(state: Path, film: Path) -> None:
    dehazer = Waiting()
    try:
        with serving(state, dehazer) as service:
            first, second = submitted(service, film), submitted(service, film)
            until(lambda: () in dehazer.seen)  # a frame, not what tells models apart
            assert told(service, first)["status"] == "running"
            assert (told(service, second)["status"], told(service, second)["ahead"]) == (
                "queued",
                1,
            )
            reply = service.ask("GET", f"/v1/videos/{second['id']}/result")
            assert (reply.status, "not done yet" in str(reply.body)) == (409, True)
            full = service.ask("POST", "/v1/videos", film.read_bytes())
            assert (full.status, full.headers["retry-after"]) == (503, "60")
            assert service.ask("DELETE", f"/v1/videos/{first['id']}").status == 204
            assert service.ask("GET", f"/v1/videos/{first['id']}").status == 404
            dehazer.gate.set()
            assert ended(service, second)["status"] == "done"
            assert [folder.name for folder in jobs_in(state)] == [second["id"]]
            assert service.metric('corun_videos_total{outcome="cancelled"}') == 1
            # The first ended at its next call of the network; the second looked at every
            # fourth frame of its twelve.
            assert dehazer.seen.count(()) == 1 + 3
    finally:
        dehazer.gate.set()


def test_who_leaves_during_an_upload_leaves_nothing_and_no_one_waiting(
    state: Path, film: Path
) -> None:
    with serving(state, ToyDehazer()) as service:
        head = b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
        leaving = [service.connect(head + bytes(100)) for _ in range(LIMITS.video_queue)]
        until(lambda: len(jobs_in(state)) == LIMITS.video_queue)
        assert service.ask("POST", "/v1/videos", film.read_bytes()).status == 503
        for connection in leaving:
            connection.close()
        until(lambda: not jobs_in(state))
        assert ended(service, submitted(service, film))["status"] == "done"


def test_a_disk_that_is_full_is_said(
    state: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(state, ToyDehazer()) as service:
        monkeypatch.setattr(videos, "FREE", 1 << 60)
        reply = service.ask("POST", "/v1/videos", film.read_bytes())
        assert (reply.status, "disk of the server is full" in str(reply.body)) == (503, True)


def test_the_key_is_asked_for_and_no_log_names_a_job(
    state: Path, film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serving(state, ToyDehazer(), key="sesame") as service,
        caplog.at_level(logging.INFO, "corun.server"),
    ):
        key = {"X-API-Key": "sesame"}
        assert service.ask("POST", "/v1/videos", film.read_bytes()).status == 401
        job = json.loads(service.ask("POST", "/v1/videos", film.read_bytes(), key).body)
        path = f"/v1/videos/{job['id']}"
        for method, end in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
            assert service.ask(method, path + end).status == 401
        service.ask("GET", f"{path}/no-route", headers=key)
        until(lambda: json.loads(service.ask("GET", path, headers=key).body)["status"] == "done")
        assert service.ask("DELETE", path, headers=key).status == 204
        until(lambda: len(caplog.records) > 7)
    lines = [JsonLines().format(record) for record in caplog.records]
    assert not any(job["id"] in line for line in lines)
    assert any('"path": "/v1/videos/{job}"' in line for line in lines)


def test_without_the_extra_the_install_line_is_said(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("corun.dehazing.video")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    with serving(state, ToyDehazer()) as service:
        for method, path in (("POST", ""), ("GET", "/x"), ("GET", "/x/result"), ("DELETE", "/x")):
            reply = service.ask(method, f"/v1/videos{path}")
            assert reply.status == 501
            assert "pip install 'corun-dehaze[video]'" in json.loads(reply.body)["error"]


def test_a_server_without_a_folder_says_so() -> None:
    with running(create_service(lambda: {"toy": ToyDehazer()})) as service:
        reply = service.ask("POST", "/v1/videos", b"")
        assert (reply.status, "no folder to keep them in" in str(reply.body)) == (501, True)
