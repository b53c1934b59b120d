"""A batch on a Ray cluster of this machine, one of whose two workers is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_pictures import jpeg

pytestmark = pytest.mark.slow


def ray_workers(parent: int) -> list[int]:
    """Processes of Ray that have a model, started below a process."""
    parents, workers = {}, []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes()
                stat = (folder / "stat").read_text().rpartition(") ")[2].split()
                parents[int(folder.name)] = int(stat[1])
            except OSError:
                continue
            if command.startswith(b"ray::") and b"RayWorker" in command:
                workers.append(int(folder.name))

    def below(process: int) -> bool:
        while process > 1 and process != parent:
            process = parents.get(process, 0)
        return process == parent

    return [worker for worker in workers if below(worker)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes by /proc")
def test_one_of_two_workers_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    photos, clear = tmp_path / "photos", tmp_path / "clear"
    photos.mkdir()
    for index in range(80):
        (photos / f"{index:02}.jpg").write_bytes(jpeg(480, 640))
    (photos / "bad.jpg").write_bytes(b"no picture")
    command = [sys.executable, "-m", "corun", "batch", str(photos), str(clear), "--model", "dcp"]
    command += ["--ray", "--workers", "2", "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while len(list(clear.glob("[0-9]*.jpg"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = ray_workers(process.pid)
    assert len(workers) == 2
    times = {path.name: path.stat().st_mtime_ns for path in clear.glob("[0-9]*.jpg")}
    os.kill(workers[0], signal.SIGKILL)
    _, said = process.communicate(timeout=400)
    assert process.returncode == 1
    [line] = [line for line in said.splitlines() if line.startswith("corun:")]
    assert "bad.jpg: not a picture" in line
    assert "Traceback" not in said
    parts = (clear / "_manifest").glob("*.jsonl")
    rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    by_output = {row["output"]: row for row in rows}
    assert len(rows) == len(by_output) == 81
    assert by_output.pop("bad.jpg")["status"] == "failed"
    assert {row["status"] for row in by_output.values()} <= {"ok", "skipped"}
    after = {path.name: path.stat().st_mtime_ns for path in clear.glob("[0-9]*.jpg")}
    assert len(after) == 80
    assert {name: after[name] for name in times} == times  # none was done twice


def test_a_model_that_is_not_there_and_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    (tmp_path / "a.jpg").write_bytes(jpeg())
    base = [
        sys.executable,
        "-m",
        "corun",
        "batch",
        str(tmp_path / "a.jpg"),
        str(tmp_path / "clear"),
    ]
    for more, message in (
        (["--model", "gone.safetensors", "--ray", "local"], "gone.safetensors: neither a model's"),
        (["--ray", "127.0.0.1:9"], "Ray at 127.0.0.1:9: does not answer"),
    ):
        done = subprocess.run([*base, *more], capture_output=True, text=True, timeout=400)
        assert done.returncode == 1
        [line] = [line for line in done.stderr.splitlines() if line.startswith("corun:")]
        assert "Traceback" not in done.stderr
        assert message in line
    assert not list((tmp_path / "clear" / "_manifest").glob("*.jsonl"))


POISON = """
import os
import corun.batch.worker as worker
read = worker.Worker._read
def deadly(self, entry):
    if entry.input.endswith("poison.jpg"):
        os._exit(1)
    return read(self, entry)
worker.Worker._read = deadly
"""


def test_a_picture_that_kills_every_worker_fails_alone(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    photos, clear = tmp_path / "photos", tmp_path / "clear"
    photos.mkdir()
    for name in ("a", "b", "poison", "x", "y"):
        (photos / f"{name}.jpg").write_bytes(jpeg())
    (tmp_path / "sitecustomize.py").write_text(POISON)
    paths = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-m", "corun", "batch", str(photos), str(clear), "--model", "dcp"]
    done = subprocess.run(
        [*command, "--ray", "--workers", "1"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 1, done.stderr
    assert {path.name for path in clear.glob("*.jpg")} == {"a.jpg", "b.jpg", "x.jpg", "y.jpg"}
    parts = (clear / "_manifest").glob("*.jsonl")
    rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    failed = {row["output"]: row.get("error") for row in rows if row["status"] == "failed"}
    assert len(rows) == 5
    assert list(failed) == ["poison.jpg"]
    assert "its worker died each time" in failed["poison.jpg"]
