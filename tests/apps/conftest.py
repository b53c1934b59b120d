"""A folder of pictures, a tiny network in a weights file, and the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from corun.networks.checkpoints import save_network
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised CORUN of a few hundred parameters."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(path, CORUN(CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=1)))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """photos/a.jpg, b.png, c.tif and photos/inner/d.jpg, and a text file."""
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    for index, name in enumerate(("a.jpg", "b.png", "c.tif", "inner/d.jpg")):
        picture(24, 32, index).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def picture(height: int, width: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(90, 230, (4, 5, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def corun() -> Callable[..., Result]:
    """The command in this process."""

    def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
        from corun.apps.cli import app

        texts = [str(argument) for argument in arguments]
        return CliRunner().invoke(app, texts, input=stdin, catch_exceptions=False)

    return run


@pytest.fixture(scope="session")
def command() -> list[str]:
    """The command as a process of its own."""
    return [sys.executable, "-m", "corun.apps.cli"]


@pytest.fixture(scope="session")
def in_process_of_its_own(command: list[str]) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    def run(
        *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        texts = [str(argument) for argument in arguments]
        return subprocess.run(
            [*command, *texts],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            timeout=600,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )

    return run
