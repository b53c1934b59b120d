"""`corun doctor` tells a working installation from a broken one, and `--version` the commit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from corun.apps import doctor_command, installation
from corun.dehazing.engines.protocol import EngineFacts

Corun = Callable[..., Result]


def test_a_working_installation_passes(corun: Corun) -> None:
    """The golden picture is that of the weights that ship: `benchmarks/golden_picture.py`."""
    result = corun("doctor", "--device", "cpu")
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert lines[0] == installation.version_line()
    assert "numpy" in lines[2]
    assert "MISSING" not in lines[2]
    assert any(line.startswith("chosen: corun-lite by onnx on cpu in float32") for line in lines)
    assert lines[-1].startswith("self-test: passed; ")
    assert str(Path.home()) not in result.stdout


def test_a_device_or_network_that_computes_something_else_fails(
    corun: Corun, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        name = "wrong"
        engine = SimpleNamespace(facts=EngineFacts("numpy", "cpu", "float32", gives_maps=False))

        def __call__(self, image: np.ndarray) -> object:
            return type("Result", (), {"image": image})()

    monkeypatch.setattr("corun.dehazing.loading.load", lambda **_: Wrong())
    result = corun("doctor")
    assert result.exit_code == 1
    assert "self-test: FAILED; " in result.stdout


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_every_engine_makes_the_golden_picture(corun: Corun, engine: str) -> None:
    result = corun("doctor", "--device", "cpu", "--engine", engine)
    assert result.exit_code == 0, result.stdout
    assert f"by {engine} on cpu" in result.stdout


def test_a_device_that_is_not_there_is_said(corun: Corun) -> None:
    result = corun("doctor", "--device", "abacus")
    assert result.exit_code == 1
    assert "self-test: FAILED; " in result.stdout
    assert "abacus" in result.stdout


def test_torch_is_not_imported_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corun.dehazing.devices.torch_installed", lambda: False)
    assert list(doctor_command._devices())[-1] == "torch: not installed; photos need none"


def test_what_an_extra_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = [
        "numpy>=2",
        'corun-dehaze[heif,web]; extra == "all"',
        "pillow-heif>=0.22; extra == 'heif'",
        'gradio<7,>=6; python_version >= "3.11" and extra == "web"',
    ]
    there = {"numpy": "2.4", "pillow-heif": "1.0"}
    monkeypatch.setattr(installation, "requires", lambda name: stated)
    monkeypatch.setattr(installation, "installed_version", there.get)
    assert installation.packages() == {"numpy": "2.4"}
    assert installation.extras() == {"all": ["gradio"], "heif": [], "web": ["gradio"]}


def test_the_version_names_the_recorded_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "files", lambda package: tmp_path)
    assert installation.commit() is None
    assert "commit" not in installation.version_line()
    (tmp_path / "commit.txt").write_text("0123456789ab\n", encoding="utf-8")
    assert installation.version_line().endswith(" (commit 0123456789ab)")


def test_completion_is_printed_for_a_shell() -> None:
    # Typer would else ask which shell started it, and a test run may have none.
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "corun", "--show-completion", "bash"],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env=environment,
    )
    assert "complete" in done.stdout


def test_the_golden_picture_is_hazy_above_and_clear_below() -> None:
    path = Path(str(installation.files("corun"))) / "weights" / "golden.png"
    with Image.open(path) as image:
        hazy, clear = np.split(np.asarray(image).astype(float), 2)
    assert clear.std() > hazy.std()
