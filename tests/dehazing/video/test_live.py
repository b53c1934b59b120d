"""Live streams from this machine to this machine: whole files, and frames dropped, not late."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from corun.dehazing.maps import FrameMaps
from corun.dehazing.video import live
from corun.dehazing.video.conversion import VideoOptions
from corun.dehazing.video.live import dehaze_live, is_live, live_frames
from corun.errors import VideoError
from video_films import ToyDehazer, make_film, names, times_of

RATE = 25
FRAMES = 50


class SlowDehazer(ToyDehazer):
    """Looks at ten frames a second at the most, where twenty-five come."""

    def maps(self, pictures: Sequence[np.ndarray]) -> list[FrameMaps]:
        time.sleep(0.1)
        return super().maps(pictures)


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, bytes]]:
    """Two seconds of MPEG transport stream: when each piece is due, and its bytes."""
    stamps = [n * 90000 // RATE for n in range(FRAMES)]
    path = make_film(
        tmp_path_factory.mktemp("live") / "film.mp4",
        stamps=stamps,
        options={"g": "5", "preset": "ultrafast", "tune": "zerolatency"},
    )
    pieces = []
    buffer = io.BytesIO()
    with av.open(str(path)) as film, av.open(buffer, "w", format="mpegts") as out:
        stream = out.add_stream_from_template(film.streams.video[0])
        sent = 0
        for packet in film.demux(video=0):
            if packet.dts is None:
                continue
            due = float(packet.dts * packet.time_base)
            packet.stream = stream
            out.mux(packet)
            pieces.append((due, buffer.getvalue()[sent:]))
            sent = buffer.tell()
    pieces.append((FRAMES / RATE, buffer.getvalue()[sent:]))
    return [(due, data) for due, data in pieces if data]


@pytest.fixture
def http_stream(packets: list[tuple[float, bytes]]) -> Iterator[str]:
    """The address of a server that sends the film as fast as it was filmed."""

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            begun = time.perf_counter()
            with contextlib.suppress(ConnectionError):
                for due, data in packets:
                    time.sleep(max(0.0, due - (time.perf_counter() - begun)))
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/live.ts"
    server.shutdown()
    thread.join()
    server.server_close()


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


@pytest.fixture
def udp_stream(packets: list[tuple[float, bytes]]) -> Iterator[str]:
    """The address where the film arrives in datagrams, once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ended = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            begun = time.perf_counter()
            for due, data in packets:
                if ended.wait(max(0.0, 0.3 + due - (time.perf_counter() - begun))):
                    return
                for at in range(0, len(data), 1316):
                    sender.sendto(data[at : at + 1316], ("127.0.0.1", port))

    thread = threading.Thread(target=send)
    thread.start()
    yield f"udp://127.0.0.1:{port}?fifo_size=1000&overrun_nonfatal=1"
    ended.set()
    thread.join()


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
