"""The page: seconds from the end of a photo's upload to its first result, fetched.

    python benchmarks/web_page.py [--megapixels 12] [--photos 3]

`corun web` runs as a process of its own; this one says what a browser says: the upload, then the
event that the page sends after it, then the two pictures of the slider. The full-size photo is made
on request only, so it does not count. 3 s are asked for on two cores. The processor time that the
page's process took for it is printed too (on Linux), which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from corun.data.scenes import render
from corun.physics.scattering import add_haze

MOST_SECONDS = 3.0


def photo(seed: int, megapixels: float) -> bytes:
    """A rendered hazy scene with grain, as a camera's JPEG file of 4:3."""
    scene = render(seed, 600, 800)
    t = np.exp(-3 * scene.depth)
    hazy = add_haze(scene.clean, t[..., None], np.full(3, 0.9, np.float32))
    pixels = np.rint(np.clip(hazy, 0, 1) * 255).astype(np.uint8)
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    large = Image.fromarray(pixels).resize((height * 4 // 3, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(seed).integers(-5, 6, (height, large.width, 1), dtype=np.int16)
    grainy = np.clip(np.asarray(large).astype(np.int16) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grainy).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


class Visitor:
    """A browser's part of the conversation.

    Args:
        port: of the page, on this machine.
    """

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        config = json.loads(self.ask("GET", "/config"))
        # The first event with the page's four inputs and four outputs follows an upload.
        self.event = next(
            found["id"]
            for found in config["dependencies"]
            if len(found["inputs"]) == len(found["outputs"]) == 4
        )

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> bytes:
        """The body of an answer."""
        self.connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        reply = self.connection.getresponse()
        content = reply.read()
        assert reply.status == 200, (path, reply.status, content[:300])
        return content

    def upload(self, content: bytes) -> str:
        """Where the page put a photo."""
        head = 'Content-Disposition: form-data; name="files"; filename="photo.jpg"\r\n\r\n'
        form = f"--limit\r\n{head}".encode() + content + b"\r\n--limit--\r\n"
        kind = "multipart/form-data; boundary=limit"
        (path,) = json.loads(self.ask("POST", "/gradio_api/upload", form, kind))
        return str(path)

    def first_result(self, path: str, model: str) -> list[bytes]:
        """The two pictures of the slider."""
        session = secrets.token_hex(6)
        file = {"path": path, "orig_name": "photo.jpg", "meta": {"_type": "gradio.FileData"}}
        event = {"data": [[file], None, model, 1], "fn_index": self.event, "session_hash": session}
        self.ask("POST", "/gradio_api/queue/join", json.dumps(event).encode(), "application/json")
        self.connection.request("GET", f"/gradio_api/queue/data?session_hash={session}")
        told = ""
        reply = self.connection.getresponse()
        while not (found := re.findall(r'"path": ?"([^"]+/(?:before|after)\.jpg)"', told)):
            line = reply.readline().decode()
            assert line, told
            assert '"success": false' not in line, line
            told += line
        self.connection.close()  # the stream goes on; the next request opens another connection
        return [self.ask("GET", f"/gradio_api/file={path}") for path in sorted(set(found))]


def processor_seconds(process: int) -> float:
    """What a process has had of the processor; 0 where the system does not say."""
    path = Path(f"/proc/{process}/stat")
    if not path.exists():
        return 0.0
    fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(port: int, process: int, photos: list[bytes]) -> list[tuple[float, float]]:
    """Seconds of each photo, on the clock and of the processor."""
    visitor = Visitor(port)
    seconds = []
    for content in photos:
        path = visitor.upload(content)
        start, had = time.perf_counter(), processor_seconds(process)
        pictures = visitor.first_result(path, "corun-lite")
        seconds.append((time.perf_counter() - start, processor_seconds(process) - had))
        assert len(pictures) == 2
        for picture in pictures:
            with Image.open(io.BytesIO(picture)) as image:
                image.load()
    return seconds


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--photos", type=int, default=3)
    options = parser.parse_args()
    photos = [photo(seed, options.megapixels) for seed in range(options.photos + 1)]
    program = [sys.executable, "-m", "corun.apps.cli", "web", "--port", "0"]
    page = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert page.stdout is not None
    try:
        found = re.match(r"http://127\.0\.0\.1:(\d+)/ ", page.stdout.readline())
        assert found, "the page did not start"
        first, *rest = measure(int(found[1]), page.pid, photos)
    finally:
        page.terminate()
        page.wait()
        page.stdout.close()
    seconds = [clock for clock, _ in rest]
    median = statistics.median(seconds)
    print(f"{options.megapixels:g} megapixels, {len(photos[0]) / 1e6:.1f} MB")
    share = f"{median / MOST_SECONDS:.2f} of the {MOST_SECONDS:g} s that are asked for"
    print(f"first result  median {median:.2f} s, {share}")
    print(f"              worst {max(seconds):.2f} s, the very first {first[0]:.2f} s")
    print(f"processor     median {statistics.median([had for _, had in rest]):.2f} s")


if __name__ == "__main__":
    main()
