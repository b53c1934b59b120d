"""Folders of small pictures, and stores that fsspec serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from batch_pictures import jpeg

from sample_pictures import pil_picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """photos/0.jpg … 3.jpg, photos/inner/4.png and what is no picture or hidden."""
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    for index in range(4):
        (folder / f"{index}.jpg").write_bytes(jpeg())
    pil_picture("RGB").save(folder / "inner" / "4.png")
    (folder / "notes.txt.bak").write_text("no picture")
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's file system in memory, empty."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()
