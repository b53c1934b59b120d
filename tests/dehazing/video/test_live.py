"""Live streams from this machine to this machine: whole files, and frames dropped, not late."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from corun.dehazing.maps import FrameMaps
from corun.dehazing.video import live
from corun.dehazing.video.conversion import VideoOptions
from corun.dehazing.video.live import dehaze_live, is_live, live_frames
from corun.errors import VideoError
from live_streams import FRAMES, RATE, Pieces, by_http, by_rtsp, by_udp, pieces_of_film
from video_films import ToyDehazer, names, times_of


class SlowDehazer(ToyDehazer):
    """Looks at ten frames a second at the most, where twenty-five come."""

    def maps(self, pictures: Sequence[np.ndarray]) -> list[FrameMaps]:
        time.sleep(0.1)
        return super().maps(pictures)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Pieces:
    return pieces_of_film(tmp_path_factory.mktemp("live"))


@pytest.fixture
def http_stream(pieces: Pieces) -> Iterator[str]:
    with by_http(pieces) as address:
        yield address


@pytest.fixture
def udp_stream(pieces: Pieces) -> Iterator[str]:
    with by_udp(pieces) as address:
        yield address


def test_frames_are_dropped_rather_than_late(http_stream: str, tmp_path: Path) -> None:
    begun = time.perf_counter()
    result = dehaze_live(http_stream, tmp_path / "live.mp4", SlowDehazer(), VideoOptions())
    took = time.perf_counter() - begun
    assert result.error is None
    assert result.dropped > 5
    times = times_of(tmp_path / "live.mp4")
    assert len(times) == result.frames < FRAMES
    assert times[0] == 0
    assert times == sorted(set(times))
    assert times[-1] > 0.8 * FRAMES / RATE  # it shows the end of the stream, not its middle
    assert took < FRAMES / RATE + 8
    assert names(tmp_path) == {"live.mp4"}


def test_a_quick_network_drops_little(http_stream: str, tmp_path: Path) -> None:
    with contextlib.closing(live_frames(http_stream, ToyDehazer())) as frames:
        seen = list(frames)
    assert len(seen) + seen[-1].dropped <= FRAMES
    assert len(seen) > 5
    assert {frame.rgb.shape for frame in seen} == {(48, 64, 3)}


def test_a_camera_that_speaks_rtsp(pieces: Pieces, tmp_path: Path) -> None:
    with by_rtsp(pieces) as address:
        result = dehaze_live(address, tmp_path / "live.mp4", SlowDehazer(), VideoOptions())
    times = times_of(tmp_path / "live.mp4")
    assert result.error is None
    assert len(times) == result.frames >= 2
    assert result.dropped > 5
    assert times[-1] > 0.8 * FRAMES / RATE  # in time, to the stream's end


def test_a_recording_ends_when_it_is_told_to(udp_stream: str, tmp_path: Path) -> None:
    result = dehaze_live(udp_stream, tmp_path / "live.mkv", ToyDehazer(), VideoOptions(end=0.4))
    times = times_of(tmp_path / "live.mkv")
    assert len(times) == result.frames >= 1
    assert times[-1] < 0.4
    assert result.error is None


def test_what_came_until_a_stream_breaks_off_is_kept(
    udp_stream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE", 2.0)
    result = dehaze_live(udp_stream, tmp_path / "live.mkv", ToyDehazer(), VideoOptions())
    assert "nothing came for too long" in str(result.error)
    assert len(times_of(tmp_path / "live.mkv")) == result.frames > 2


def test_ctrl_c_ends_a_recording_whole(http_stream: str, tmp_path: Path) -> None:
    dehazer = ToyDehazer()
    dehazer.fail_at = 6  # raises KeyboardInterrupt
    result = dehaze_live(http_stream, tmp_path / "live.mp4", dehazer, VideoOptions())
    assert result.frames == len(times_of(tmp_path / "live.mp4")) == 6


def test_streams_that_are_not_there_are_named(tmp_path: Path) -> None:
    for source in ("http://127.0.0.1:1/live.ts", "rtsp://127.0.0.1:1/live"):
        with pytest.raises(VideoError, match=rf"{source}: cannot be opened as a video"):
            dehaze_live(source, tmp_path / "live.mp4", ToyDehazer(), VideoOptions())
    with pytest.raises(VideoError, match="camera 97: cannot be opened"):
        dehaze_live("97", tmp_path / "live.mp4", ToyDehazer(), VideoOptions())
    (tmp_path / "live.mp4").write_text("somebody's")
    with pytest.raises(VideoError, match="exists already; add --overwrite"):
        dehaze_live("97", tmp_path / "live.mp4", ToyDehazer(), VideoOptions())
    assert names(tmp_path) == {"live.mp4"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        *(("0", True), ("rtsp://camera/1", True), ("udp://@:1234", True)),
        *(("clip.mp4", False), ("folder/0.mp4", False), ("file:///a.mp4", False)),
    ],
)
def test_what_is_live(source: str, expected: bool) -> None:
    assert is_live(source) is expected
