"""An application that runs in a thread of this process, and a plain client for it."""

from __future__ import annotations

import http.client
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from corun.server.limits import Limits
from corun.server.running import AppServer


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Running(NamedTuple):
    app: Any
    server: AppServer | Any

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            told = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, told, reply.read())
        finally:
            connection.close()

    def post(self, body: Any, path: str = "/v1/dehaze", **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, body, named)

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=60)
        connection.sendall(sent)
        return connection

    def metric(self, line: str) -> float:
        """The value of a metric, 0 where it is not there yet."""
        for found in self.ask("GET", "/metrics").body.decode().splitlines():
            if found.startswith(line + " "):
                return float(found.rpartition(" ")[2])
        return 0.0


@contextmanager
def serve_command(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`corun serve` as a process of its own, and its port; its log and state are in the folder."""
    program = [sys.executable, "-m", "corun.apps.cli", "serve", "--port", "0", *arguments]
    state = str(folder / "state")
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            program,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CORUN_STATE": state},
        )
        assert process.stdout is not None
        try:
            found = re.match(r"http://127\.0\.0\.1:(\d+)/ ", process.stdout.readline())
            assert found, (folder / "log").read_text()
            yield process, int(found[1])
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@contextmanager
def running(app: Any, *, limits: Limits | None = None, **options: Any) -> Iterator[Running]:
    server = AppServer(app, limits=limits, **options)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield Running(app, server)
    finally:
        server.stop()
        thread.join()


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def photo(seed: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A smooth hazy picture of a colour of its own."""
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(90, 230, (4, 5, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image).astype(np.int32)


def form(*files: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """The body of a form with files, and its headers."""
    parts = b"".join(
        b'--limit\r\nContent-Disposition: form-data; name="pictures"; filename="'
        + name.encode()
        + b'"\r\nContent-Type: image/png\r\n\r\n'
        + content
        + b"\r\n"
        for name, content in files
    )
    return parts + b"--limit--\r\n", {"Content-Type": "multipart/form-data; boundary=limit"}
