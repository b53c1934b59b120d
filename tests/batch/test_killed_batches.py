"""A batch that is killed, or asked to end, goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from batch_pictures import jpeg, manifest
from PIL import Image


def test_killed_at_any_instant_it_goes_on(tmp_path: Path) -> None:
    photos, clear = tmp_path / "photos", tmp_path / "clear"
    photos.mkdir()
    for index in range(40):
        (photos / f"{index:02}.jpg").write_bytes(jpeg(240, 320))
    command = [sys.executable, "-m", "corun", "batch", str(photos), str(clear), "--model", "dcp"]
    command += ["--quiet", "--threads", "1"]
    for done in (3, 12):
        process = subprocess.Popen(command)
        while len(list(clear.glob("[0-9]*.jpg"))) < done and process.poll() is None:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in clear.glob("[0-9]*.jpg")}
    assert 12 <= len(before) < 40
    rows = len(manifest(clear))
    assert rows >= len(before) - 3  # at most the files in flight
    subprocess.run(command, check=True, timeout=300)
    after = {path.name: path.stat().st_mtime_ns for path in clear.glob("[0-9]*.jpg")}
    assert len(after) == 40
    assert {name: after[name] for name in before} == before
    assert sorted(row["output"] for row in manifest(clear)) == sorted(after)
    assert not list(clear.rglob(".corun-*"))
    for path in clear.glob("[0-9]*.jpg"):
        with Image.open(path) as image:
            image.load()


def test_sigterm_keeps_the_manifest(photos: Path, tmp_path: Path) -> None:
    for index in range(10, 60):
        (photos / f"{index}.jpg").write_bytes(jpeg(240, 320))
    clear = tmp_path / "clear"
    process = subprocess.Popen(
        [sys.executable, "-m", "corun", "batch", str(photos), str(clear), "--model", "dcp", "-q"]
    )
    while len(list(clear.glob("[0-9]*.jpg"))) < 3:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert 1 <= len(manifest(clear)) < 55
