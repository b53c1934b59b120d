"""`corun video` and the films that `corun dehaze` is given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from live_streams import by_http, pieces_of_film
from video_films import frames_of, make_film, names, planes, times_of

Corun = Callable[..., Result]
SHORT = [0, 3600, 7300, 10800, 15300]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_film(tmp_path / "clip.mp4", stamps=SHORT, audio=True)


def test_a_film_in_and_the_clear_one_out(corun: Corun, film: Path, tmp_path: Path) -> None:
    result = corun("video", film, tmp_path / "clear.mkv", "--model", "dcp", "--json")
    assert result.exit_code == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert outcome["status"] == "ok"
    assert (outcome["frames"], outcome["resumed"], outcome["model"]) == (5, 0, "dcp")
    assert len(times_of(tmp_path / "clear.mkv")) == 5
    again = corun("video", film, tmp_path / "clear.mkv", "--model", "dcp")
    assert again.exit_code == 1
    assert "clear.mkv: exists already; add --overwrite" in again.stderr


def test_dehaze_hands_films_over(corun: Corun, film: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24), (180, 190, 200)).save(tmp_path / "photo.png")
    result = corun("dehaze", film, tmp_path / "photo.png", "--model", "dcp")
    assert result.exit_code == 0, result.stderr
    assert {"clip.dehazed.mp4", "photo.dehazed.png"} <= names(tmp_path)
    assert times_of(tmp_path / "clip.dehazed.mp4") == times_of(film)
    again = corun("dehaze", film, "--model", "dcp", "--skip-existing")
    assert (again.exit_code, "skipped" in again.stderr) == (0, True)
    out = tmp_path / "out"
    assert corun("dehaze", str(film.parent / "cl*.mp4"), "-o", out, "--model", "dcp").exit_code == 0
    assert names(out) == {"clip.mp4", "clip.dehazed.mp4"}


def test_films_of_old_kinds_become_matroska(corun: Corun, tmp_path: Path) -> None:
    source = make_film(
        tmp_path / "old.avi", codec="mpeg4", time_base=Fraction(1, 25), stamps=[0, 1, 2]
    )
    assert corun("dehaze", source, "--model", "dcp").exit_code == 0
    assert len(times_of(tmp_path / "old.dehazed.mkv")) == 3


def test_a_bad_film_fails_alone(corun: Corun, film: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no film")
    result = corun("dehaze", bad, film, "--model", "dcp", "--json")
    assert result.exit_code == 1
    assert "bad.mp4: cannot be opened as a video" in result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["status"] for line in lines] == ["failed", "ok"]


def test_stills(corun: Corun, film: Path, tmp_path: Path) -> None:
    stills = tmp_path / "stills"
    arguments = ["--every", "0.08", "--model", "dcp", "--start", "0.04"]
    result = corun("video", film, stills, *arguments)
    assert result.exit_code == 0, result.stderr
    assert names(stills) == {"clip-00-00-00.040.png", "clip-00-00-00.120.png"}
    with Image.open(stills / "clip-00-00-00.040.png") as still:
        assert (still.format, still.size) == ("PNG", (64, 48))
    again = corun("video", film, stills, *arguments)
    assert again.exit_code == 1
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start", "soon"], "--start soon: give seconds"),
        (["--start", "2", "--end", "1"], "--end is after it"),
        (["--bitrate", "fast"], "--bitrate fast: give 8M"),
        (["--codec", "ffv1", "--crf", "3"], "one quality"),
        (["--every", "0"], "--every is in seconds and above 0"),
        (["--end", "-1"], "give seconds"),
    ],
)
def test_wrong_usage_is_said_before_any_work(
    corun: Corun, film: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = corun("video", film, tmp_path / "clear.mp4", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert names(tmp_path) == {"clip.mp4"}


def test_times_are_clock_times(corun: Corun, film: Path, tmp_path: Path) -> None:
    output = tmp_path / "part.mp4"
    arguments = ["--start", "0:00:00.04", "--end", "0:0.13", "--model", "dcp"]
    assert corun("video", film, output, *arguments).exit_code == 0
    assert times_of(output) == [Fraction(t - 3600, 90000) for t in (3600, 7300, 10800)]


def test_without_the_extra_the_install_line_is_said(film: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from corun.apps.cli import app\n"
        f"app(['video', {str(film)!r}, {str(tmp_path / 'clear.mp4')!r}])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "pip install 'corun-dehaze[video]'" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.slow
def test_killed_at_any_moment_and_gone_on_with(tmp_path: Path, command: list[str]) -> None:
    """SIGKILL again and again: never a part under the name, and in the end the unbroken film."""
    stamps = [3600 * n + 300 * (n % 3) for n in range(1100)]
    source = make_film(tmp_path / "hazy.mp4", stamps=stamps, size=(96, 128), audio=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def arguments(name: str) -> list[str]:
        return [*command, "video", str(source), str(tmp_path / name), "--model", "dcp", "-q"]

    subprocess.run(arguments("whole.mp4"), check=True, env=environment)
    output = tmp_path / "clear.mp4"
    work = tmp_path / ".clear.mp4.corun-video"
    killed = 0
    while True:
        process = subprocess.Popen(arguments("clear.mp4"), env=environment)
        before = len(list(work.glob("*.packets")))
        while process.poll() is None and killed < 2:
            if len(list(work.glob("*.packets"))) > before + 1:  # one is finished, one is begun
                assert not output.exists()
                process.kill()
                killed += 1
                break
            time.sleep(0.02)
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL
        assert not output.exists()
    assert killed == 2
    assert times_of(output) == times_of(source)
    for one, other in zip(frames_of(tmp_path / "whole.mp4"), frames_of(output), strict=True):
        assert np.array_equal(planes(one), planes(other))
    assert names(tmp_path) == {"hazy.mp4", "whole.mp4", "clear.mp4"}


def test_a_stream_is_shown_on_a_page(tmp_path: Path) -> None:
    """`corun video ADDRESS --web` in its own process: a picture comes, and the end ends it."""
    with by_http(pieces_of_film(tmp_path)) as address:
        command = [sys.executable, "-m", "corun", "video", address, "--web", "--port", "0"]
        with subprocess.Popen(
            [*command, "--model", "dcp"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                url = process.stdout.readline().split()[0]
                with urllib.request.urlopen(url + "live.mjpeg", timeout=60) as reply:
                    assert reply.readline() == b"--frame\r\n"
                    film = reply.read()
                assert film.count(b"Content-Type: image/jpeg") >= 1
                errors = process.communicate(timeout=60)[1]
            finally:
                process.kill()
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clip.mp4", "--web"], "--web is for cameras and streams"),
        (["0"], "give OUT, or --web"),
        (["0", "out.mp4", "--web"], "give OUT, or --web"),
    ],
)
def test_the_page_stands_in_place_of_a_file(
    corun: Corun, arguments: list[str], message: str
) -> None:
    result = corun("video", *arguments, "--model", "dcp")
    assert result.exit_code == 2
    assert message in result.stderr
