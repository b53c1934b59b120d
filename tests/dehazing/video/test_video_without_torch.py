"""A film needs no torch: whoever installs the light package and the extra has all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from video_films import make_film, times_of

PROGRAM = """
import sys


class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "jaxtyping"):
            raise ModuleNotFoundError(f"{name} is not installed", name=name)


sys.meta_path.insert(0, NoTorch())
from corun.apps.cli import app
app(["video", sys.argv[1], sys.argv[2], "--model", "dcp", "--quiet"])
"""


def test_films_are_cleared_without_torch(tmp_path: Path) -> None:
    source = make_film(tmp_path / "hazy.mp4", stamps=[0, 3600, 7200])
    output = tmp_path / "clear.mp4"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source), str(output)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert times_of(output) == times_of(source)
