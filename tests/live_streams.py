"""Live streams from this machine to this machine, by HTTP, in datagrams, and by RTSP."""

from __future__ import annotations

import contextlib
import io
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av

from video_films import make_film

RATE = 25
FRAMES = 50
Pieces = list[tuple[float, bytes]]
"""Of an MPEG transport stream: when each is due, and its bytes."""


def pieces_of_film(folder: Path) -> Pieces:
    """Two seconds of film."""
    stamps = [n * 90000 // RATE for n in range(FRAMES)]
    path = make_film(
        folder / "film.mp4",
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


def in_time(pieces: Pieces) -> Iterator[bytes]:
    """As fast as it was filmed."""
    begun = time.perf_counter()
    for due, data in pieces:
        time.sleep(max(0.0, due - (time.perf_counter() - begun)))
        yield data


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def by_http(pieces: Pieces) -> Iterator[str]:
    """The address of a server that sends the film to whoever asks."""

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                for data in in_time(pieces):
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    with _serving(server):
        yield f"http://127.0.0.1:{server.server_port}/live.ts"


@contextlib.contextmanager
def by_rtsp(pieces: Pieces) -> Iterator[str]:
    """The address of a camera that speaks RTSP (RFC 2326) with RTP inside the connection."""

    class Camera(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while method := self._request():
                if method == "PLAY":
                    with contextlib.suppress(ConnectionError):
                        self._play()
                    return

        def _request(self) -> str:
            line = self.rfile.readline().decode()
            headers = {}
            while (header := self.rfile.readline().decode().strip()) != "":
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            if not line:
                return ""
            method = line.split()[0]
            status, body, more = "200 OK", "", ""
            if method == "DESCRIBE":
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=fog\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                    "m=video 0 RTP/AVP 33\r\na=control:track\r\n"
                )
                more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP" and "interleaved" in headers["transport"]:
                more = f"Transport: {headers['transport']}\r\nSession: 1\r\n"
            elif method == "SETUP":
                status = "461 Unsupported Transport"
            answer = f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{more}\r\n{body}"
            self.wfile.write(answer.encode())
            return method

        def _play(self) -> None:
            number = 0
            for data in in_time(pieces):
                clock = number * 3600 & 0xFFFFFFFF
                for at in range(0, len(data), 1316):
                    number += 1
                    head = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, clock, 7)
                    packet = head + data[at : at + 1316]
                    self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    with _serving(server):
        yield f"rtsp://127.0.0.1:{server.server_address[1]}/live"


@contextlib.contextmanager
def by_udp(pieces: Pieces) -> Iterator[str]:
    """The address where the film arrives in datagrams, once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ended = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            if ended.wait(0.3):
                return
            for data in in_time(pieces):
                if ended.is_set():
                    return
                for at in range(0, len(data), 1316):
                    sender.sendto(data[at : at + 1316], ("127.0.0.1", port))

    thread = threading.Thread(target=send)
    thread.start()
    yield f"udp://127.0.0.1:{port}?fifo_size=1000&overrun_nonfatal=1"
    ended.set()
    thread.join()
