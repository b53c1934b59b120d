"""Jobs of films that last: they expire, survive the server, and belong to one."""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from film_service import LIMITS, Waiting, ended, jobs_in, serving, submitted, told
from running_service import until

from corun.dehazing.video.conversion import VideoOptions
from corun.errors import ConfigurationError
from corun.server import videos
from corun.server.video_records import FILM, Record, VideoOrder
from corun.server.videos import VideoJobs
from video_films import ToyDehazer, names


def test_results_are_deleted_after_their_time(
    state: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "SWEEP_SECONDS", 0.05)
    dehazer = Waiting()
    with serving(state, dehazer, replace(LIMITS, keep_seconds=0.5)) as service:
        job = submitted(service, film)
        time.sleep(0.7)
        assert told(service, job)["status"] == "running"  # what is not done does not expire
        dehazer.gate.set()
        until(lambda: service.metric('corun_videos_total{outcome="done"}') == 1)
        until(lambda: not jobs_in(state))  # nobody asked for it
        assert service.ask("GET", f"/v1/videos/{job['id']}").status == 404


def test_the_end_of_the_server_pauses_a_film_and_the_next_start_goes_on(
    state: Path, film: Path
) -> None:
    dehazer = Waiting()
    with serving(state, dehazer) as service:
        job = submitted(service, film, "?strength=0.5")
        until(lambda: dehazer.seen)
        threading.Timer(0.3, dehazer.gate.set).start()
        service.server.should_exit = True
    record = json.loads((state / "corun-videos" / job["id"] / "job.json").read_text())
    assert (record["ended"], record["attempts"]) == (None, 0)
    with serving(state, dehazer) as service:
        done = ended(service, job)
        assert (done["status"], done["frames"]) == ("done", 12)
    with serving(state, dehazer) as service:  # and what is done stays
        assert told(service, job)["result"] == done["result"]
        assert service.ask("GET", done["result"]).status == 200


def stored(state: Path, film: Path, **record: Any) -> Path:
    jobs = VideoJobs(state, LIMITS)
    with jobs.arriving(0) as folder:
        (folder / FILM).write_bytes(film.read_bytes())
        jobs.accept(folder, VideoOrder("toy")).store(**record)
    jobs.close()
    return folder


def test_a_film_that_kills_the_server_is_not_begun_for_ever(state: Path, film: Path) -> None:
    folder = stored(state, film, attempts=3)
    with serving(state, ToyDehazer()) as service:
        failed = ended(service, {"id": folder.name})
        assert "killed 3 times while it worked on this film" in failed["error"]


def test_a_kill_between_the_film_and_its_record_loses_nothing(state: Path, film: Path) -> None:
    folder = stored(state, film)
    (folder / "clear.mp4").write_bytes(film.read_bytes())
    dehazer = ToyDehazer()
    with serving(state, dehazer) as service:
        done = ended(service, {"id": folder.name})
        assert (done["status"], done["frames"]) == ("done", 12)
    assert names(folder) == {"job.json", "clear.mp4"}


def test_a_start_removes_uploads_that_never_arrived_and_survives_a_damaged_record(
    state: Path, film: Path
) -> None:
    folder = stored(state, film)
    half = state / "corun-videos" / secrets.token_urlsafe(24)
    mine = state / "corun-videos" / "my-films"
    for place in (half, mine):
        place.mkdir()
        (place / FILM).write_bytes(b"x")
    damaged = stored(state, film)
    (damaged / "job.json").write_text("{")
    with serving(state, ToyDehazer()) as service:
        assert ended(service, {"id": folder.name})["status"] == "done"
        assert service.ask("GET", f"/v1/videos/{damaged.name}").status == 404
    assert set(jobs_in(state)) == {folder, damaged, mine}  # what is somebody else's stays


def test_a_folder_belongs_to_one_server(state: Path, tmp_path: Path) -> None:
    jobs = VideoJobs(state, LIMITS)
    with pytest.raises(ConfigurationError, match="another server keeps its jobs there"):
        VideoJobs(state, LIMITS)
    jobs.close()
    VideoJobs(state, LIMITS).close()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="jobs cannot be kept there"):
        VideoJobs(tmp_path / "file", LIMITS)


def test_a_record_is_what_was_asked() -> None:
    order = VideoOrder("toy", 0.5, "hevc", 20, "sdr", ".mkv")
    assert Record(order, 1.0).order.options() == VideoOptions(
        strength=0.5, tone="sdr", encoding=order.options().encoding
    )


@pytest.mark.parametrize("never", [float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(never: float) -> None:
    with pytest.raises(ConfigurationError, match="keep_seconds"):
        replace(LIMITS, keep_seconds=never)
