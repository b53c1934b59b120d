"""A small study and its server, running."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corun.study.server import StudyServer
from corun.study.trials import open_study
from corun.study.votes import VoteStore


@pytest.fixture
def results(tmp_path: Path) -> list[Path]:
    """Two methods, three photos; each picture of a colour that tells which it is."""
    folders = []
    for method, name in enumerate(("ours", "theirs")):
        folder = tmp_path / name
        folder.mkdir()
        for photo in range(3):
            pixels = np.full((24, 32, 3), (60 * method, 40 * photo, 90), np.uint8)
            Image.fromarray(pixels).save(folder / f"p{photo}.png")
        folders.append(folder)
    return folders


@pytest.fixture
def serve(tmp_path: Path, results: list[Path]) -> Iterator[Callable[[str], StudyServer]]:
    """Starts a server for a mode; all are stopped in the end."""
    started = []

    def start(mode: str) -> StudyServer:
        store = VoteStore(tmp_path / f"{mode}.sqlite")
        server = StudyServer(open_study(results, mode, originals=results[0]), store)
        thread = threading.Thread(target=server.run)
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.stop()
        thread.join()
