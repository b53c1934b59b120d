"""What a process keeps of pictures that are done: no memory, and no processor time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

STATISTICS = Path("/proc/self/statm")
PROGRAM = """
import gc, json, os, sys, time
from pathlib import Path
import numpy as np
from corun.dehazing.loading import load


def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


dehazer = load("corun-lite", engine="onnx", device="cpu", threads=2)
rng = np.random.default_rng(0)
grain = rng.integers(0, 256, (1000, 1000, 3), np.uint8)
measured = []
"""
LARGE = """
dehazer(grain[:480, :640])
measured.append(resident())
dehazer(np.resize(grain, (5000, 10000, 3)))
measured.append(resident())
"""
MANY = """
for index in range(1000):
    longest = 1000 if index % 10 == 5 else 400
    height, width = rng.integers(16, longest + 1, 2)
    dehazer(grain[:height, :width])
    if index % 10 == 9:
        measured.append(resident())
"""
IDLE = """
dehazer(grain[:480, :640])
time.sleep(0.2)
before = time.process_time()
time.sleep(1)
measured.append(time.process_time() - before)
"""

pytestmark = pytest.mark.skipif(not STATISTICS.exists(), reason="needs Linux's /proc")


def measure(program: str) -> list[float]:
    """What a process of its own measured; the tests' own memory would hide it."""
    code = f"{PROGRAM}{program}\nprint(json.dumps(measured))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    numbers: list[float] = json.loads(done.stdout)
    return numbers


@pytest.mark.slow
def test_a_picture_of_50_megapixels_leaves_its_memory() -> None:
    before, after = measure(LARGE)
    assert after <= 1.1 * before + 8


@pytest.mark.slow
def test_a_thousand_pictures_of_random_sizes_take_no_more_than_the_first_hundred() -> None:
    measured = measure(MANY)
    assert max(measured[10:]) <= 1.1 * max(measured[:10])


def test_no_thread_is_busy_when_there_is_nothing_to_do() -> None:
    (seconds,) = measure(IDLE)
    assert seconds <= 0.05
