"""The example's page in a real headless browser, served from loopback as plain files."""

from __future__ import annotations

import base64
import functools
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from corun.dehazing.loading import load
from corun.export import ExportReport, export_model
from corun.networks.corun import CORUN

pytest.importorskip("selenium", reason="needs selenium")

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PAGE = Path(__file__).resolve().parents[2] / "examples" / "browser"
RUNTIME = "/node_modules/onnxruntime-web/"
PATIENCE = 120


class FileServer(ThreadingHTTPServer):
    """Serves the example; the graph and the runtime from where they lie. It notes what is asked."""

    def __init__(self, graph: Path, runtime: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(FileHandler, directory=str(PAGE)))
        self.graph, self.runtime = graph, runtime
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class FileHandler(SimpleHTTPRequestHandler):
    server: FileServer

    def translate_path(self, path: str) -> str:
        if path.startswith(RUNTIME):
            return str(self.server.runtime / path.removeprefix(RUNTIME))
        return str(self.server.graph) if path == "/lite.onnx" else super().translate_path(path)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        self.server.asked.append(self.requestline)


@pytest.fixture(scope="module")
def runtime() -> Path:
    """The folder of the package onnxruntime-web."""
    given = os.environ.get("ONNXRUNTIME_WEB")
    folder = Path(given) if given else PAGE / RUNTIME.strip("/")
    if not given and not folder.is_dir():
        pytest.skip(
            "needs npm's onnxruntime-web: its folder in ONNXRUNTIME_WEB, or beside the example"
        )
    return folder


@contextmanager
def served(graph: Path, runtime: Path) -> Iterator[FileServer]:
    with FileServer(graph, runtime) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def wait(browser: Any, condition: Callable[[Any], Any]) -> Any:
    return WebDriverWait(browser, PATIENCE, poll_frequency=0.05).until(condition)


def choose(browser: Any, photo: Path) -> str:
    """Choose a photo; what the page says when it is done with it."""
    status = browser.find_element(By.ID, "status")
    browser.execute_script("arguments[0].textContent = 'Reading'", status)  # not the last photo's
    browser.find_element(By.ID, "file").send_keys(str(photo))

    def said(_: Any) -> str | None:
        text: str = status.text
        return None if text.startswith(("Drop", "Reading", "Clearing")) else text

    return wait(browser, said)


def shown(browser: Any, canvas: str) -> np.ndarray:
    """The pixels of a canvas, RGB, uint8."""
    url = browser.execute_script(f"return document.getElementById('{canvas}').toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def test_a_photo_is_cleared_in_the_browser_and_sent_nowhere(
    browser: Any, runtime: Path, whole_onnx: ExportReport, cells: CORUN, tmp_path: Path
) -> None:
    hazy = np.random.default_rng(0).integers(0, 256, (45, 67, 3), np.uint8)
    Image.fromarray(hazy).save(tmp_path / "hazy.png")
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    with served(whole_onnx.path, runtime) as server:
        browser.get_log("performance")  # of other tests
        browser.get(server.url)
        assert choose(browser, tmp_path / "hazy.png").startswith("Cleared in ")
        np.testing.assert_array_equal(shown(browser, "hazy"), hazy)
        clear = shown(browser, "clear")
        save = browser.find_element(By.ID, "save")
        wait(browser, lambda _: save.is_displayed())
        assert save.get_attribute("download") == "hazy.dehazed.png"
        moved = "const s = document.getElementById('share'); s.value = 20;"
        browser.execute_script(moved + "s.dispatchEvent(new Event('input'))")
        clip = "return getComputedStyle(document.getElementById('clear')).clipPath"
        assert browser.execute_script(clip) == "inset(0px 0px 0px 20%)"

        said = choose(browser, tmp_path / "no.jpg")
        assert said == "no.jpg: not a photo that this browser can read."
        assert not browser.find_element(By.ID, "view").is_displayed()
        asked = {line.removesuffix(" HTTP/1.1") for line in server.asked}
        events = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    with torch.no_grad():
        scene = cells.explained(torch.from_numpy(hazy).permute(2, 0, 1)[None] / 255).scene
    expected = scene[0].clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(clear / 255 - expected).max() <= 2 / 255
    files = ["", "page.css", "page.js", "dehaze.js", "lite.onnx"]
    files += [f"{RUNTIME[1:]}dist/{path.name}" for path in (runtime / "dist").iterdir()]
    assert asked <= {f"GET /{name}" for name in files}
    requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    sent = [entry["request"]["url"] for entry in requests]
    assert sent
    assert all(url.startswith((server.url, "blob:", "data:")) for url in sent), sent


def test_what_is_missing_is_named_and_can_be_mended(
    browser: Any, runtime: Path, whole_onnx: ExportReport, tmp_path: Path
) -> None:
    Image.new("RGB", (9, 7), "gray").save(tmp_path / "hazy.png")
    with served(tmp_path / "lite.onnx", tmp_path) as server:
        browser.get(server.url)
        assert "npm install onnxruntime-web" in choose(browser, tmp_path / "hazy.png")
        server.runtime = runtime
        browser.get(server.url)
        assert "corun export corun-lite -o lite.onnx" in choose(browser, tmp_path / "hazy.png")
        server.graph = whole_onnx.path
        assert choose(browser, tmp_path / "hazy.png").startswith("Cleared in ")


@pytest.mark.slow
def test_corun_lite_gives_the_same_picture_in_the_browser(
    browser: Any, runtime: Path, shared: Path, tmp_path: Path
) -> None:
    photo = next(iter(sorted((shared / "data" / "fattal").iterdir())))
    with Image.open(photo) as image:  # JPEG decoders differ
        image.convert("RGB").save(tmp_path / "hazy.png")
    report = export_model("corun-lite", tmp_path / "lite.onnx")
    with served(report.path, runtime) as server:
        browser.get(server.url)
        assert choose(browser, tmp_path / "hazy.png").startswith("Cleared in ")
        clear = shown(browser, "clear")
    expected = np.asarray(load("corun-lite", device="cpu")(tmp_path / "hazy.png").image)
    assert np.abs(clear.astype(int) - expected).max() <= 2
