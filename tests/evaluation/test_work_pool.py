"""Workers: none outlives its parent, Ctrl-C is the parent's affair."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corun.evaluation.work_pool import WorkPool

PROGRAM = """
import signal, sys, time
# A test run in the background inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from corun.evaluation.work_pool import WorkPool
import slow_task
with WorkPool(2) as pool:
    try:
        list(pool.finished(slow_task.wait, [Path(sys.argv[1]) / str(k) for k in range(4)]))
    except KeyboardInterrupt:
        sys.exit(130)
"""
TASK = """
import os, time
def wait(path):
    path.write_text(str(os.getpid()))
    time.sleep(60)
"""


def lives(process: int) -> bool:
    try:
        state = (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        )
    except OSError:
        return False
    return state != "Z"


def until(condition: object, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_no_worker_outlives_its_parent(tmp_path: Path, number: signal.Signals, status: int) -> None:
    (tmp_path / "slow_task.py").write_text(TASK)
    started = tmp_path / "started"
    started.mkdir()
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(started)],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    written = lambda: len([p for p in started.iterdir() if p.read_text()]) == 2  # noqa: E731
    assert until(written)
    workers = [int(entry.read_text()) for entry in started.iterdir()]
    if number == signal.SIGINT:
        os.killpg(parent.pid, number)  # as a terminal does
    else:
        parent.kill()
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == status
    if number == signal.SIGINT:
        assert said == b""
    assert until(lambda: not any(lives(worker) for worker in workers), 10)


def test_a_worker_that_ctrl_c_reaches_works_on() -> None:
    # A test run in the background inherits that Ctrl-C is ignored, and workers would inherit it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with WorkPool(2) as pool:
            done = list(pool.finished(signal.raise_signal, [signal.SIGINT] * 4))
    except KeyboardInterrupt:
        pytest.fail("a worker was interrupted")
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == [(signal.SIGINT, None)] * 4
