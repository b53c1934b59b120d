"""Thousands of damaged files: none escapes as an unexpected error, hangs or fills memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("mutants.py")
KINDS = ("jpeg", "progressive", "png", "png16", "webp", "tiff", "tiff16", "tiff tiled", "bmp")
KINDS += ("bmp runs", "avif", "heic")

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="measures memory by Linux's /proc"
)


def check_mutants(kind: str, count: int) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), kind, "0", str(count)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.stderr, lines[-1:])
    assert done.stderr == ""  # neither libtiff nor libpng has the word
    assert [line for line in lines if "escaped" in line] == []
    assert lines[-1]["slowest"] < 60  # decoding is given up after 15 to 50 seconds
    assert lines[-1]["peak"] < 2 << 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_mutants_of_each_kind(kind: str) -> None:
    check_mutants(kind, 30)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_six_hundred_mutants_of_each_kind(kind: str) -> None:
    check_mutants(kind, 600)
