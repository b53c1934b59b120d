"""Somebody's own network, from its adaptation to every command that runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from corun.apps.cli import app
from corun.errors import WeightsError

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from colabator_toy import toy_settings, write_toy

RUNNER = CliRunner()
MODULE = """
import pathlib, torch
from torch import nn

pathlib.Path(__file__).with_name("imported").touch()

class Net(nn.Module):
    "Takes values in [-1,1] and sides of 4; returns the scene last."
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.GELU(), nn.Conv2d(width, 48, 1))

    def forward(self, hazy):
        return hazy, hazy + nn.functional.pixel_shuffle(self.body(hazy), 4)
"""


def run(*words: object) -> Any:
    done = RUNNER.invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `module/their_net.py`, `run/weights.safetensors` and `photos`."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "module").mkdir()
    (folder / "module" / "their_net.py").write_text(MODULE)
    toy = write_toy(folder / "toy", 4)
    network = {"name": "their_net:Net", "arguments": {"width": 3}, "range": [-1, 1]}
    settings = toy_settings(toy, folder / "run", run__steps=2, run__checkpoint_every=1)
    settings["network"] = {**network, "multiple": 4, "output": 1}
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    sys.path.insert(0, str(folder / "module"))
    try:
        done = RUNNER.invoke(app, ["train", "colabator", "--config", str(folder / "mine.yaml")])
        assert done.exit_code == 0, done.output
    finally:
        sys.path.remove(str(folder / "module"))
        sys.modules.pop("their_net", None)
    (folder / "photos").mkdir()
    for seed in range(2):
        levels = np.random.default_rng(seed).integers(60, 230, (21, 30, 3), dtype=np.uint8)
        Image.fromarray(levels).save(folder / "photos" / f"{seed}.png")
    (folder / "module" / "imported").unlink()
    return folder


@pytest.fixture
def importable(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(theirs / "module"))
    monkeypatch.delitem(sys.modules, "their_net", raising=False)
    (theirs / "module" / "imported").unlink(missing_ok=True)
    return theirs


def test_its_code_is_named_and_not_imported_before_it_is_trusted(
    importable: Path, tmp_path: Path
) -> None:
    weights, photo = importable / "run" / "weights.safetensors", importable / "photos" / "0.png"
    for words in (
        ("dehaze", photo, "-o", tmp_path / "out.png", "--model", weights),
        ("export", weights, "-o", tmp_path / "out.onnx"),
        ("batch", importable / "photos", tmp_path / "out", "--model", weights),
        (
            *("evaluate", "-m", weights, "-d", f"photos={importable / 'photos'}"),
            *("-o", tmp_path / "scores", "--metrics", "brightness", "--jobs", 1),
        ),
    ):
        done = run(*words)
        assert done.exit_code == 1, words
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("corun: ")]
        assert line.startswith(f"corun: {weights}: its network is code on this machine, ")
        assert "their_net:Net(width=3)" in line
        assert "--trust" in line
    shown = run("models", "info", weights)
    assert "architecture: their_net:Net" in shown.stdout
    assert "parameters: 339" in shown.stdout
    assert not (importable / "module" / "imported").exists()
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(WeightsError, match="trust=True"):
        __import__("corun").load(weights)


def test_trusted_it_runs_in_every_command(importable: Path, tmp_path: Path) -> None:
    weights, photos = importable / "run" / "weights.safetensors", importable / "photos"
    done = run("dehaze", photos, "-o", tmp_path / "clear", "--model", weights, "--trust")
    assert done.exit_code == 0
    assert f"note: {weights}: runs their_net:Net(width=3)" in done.stderr
    clear = np.asarray(Image.open(tmp_path / "clear" / "0.png"))
    assert clear.shape == (21, 30, 3)

    done = run("batch", photos, tmp_path / "batch", "--model", weights, "--trust", "--quiet")
    assert done.exit_code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "batch" / "0.png")), clear)

    done = run(
        *("evaluate", "-m", f"mine={weights}", "-d", f"photos={photos}", "-o", tmp_path / "scores"),
        *("--metrics", "brightness", "--jobs", 1, "--trust"),
    )
    assert done.exit_code == 0
    results = list((tmp_path / "scores").rglob("mine/**/0.png"))
    assert [np.abs(np.asarray(Image.open(p)).astype(int) - clear).max() for p in results] == [0]


def test_its_graph_needs_no_code_of_theirs(importable: Path, tmp_path: Path) -> None:
    import corun

    weights, photo = importable / "run" / "weights.safetensors", importable / "photos" / "1.png"
    by_code = np.asarray(corun.load(weights, trust=True)(photo).image).astype(int)
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)  # its checks branch on sizes
    try:
        done = run("export", weights, "-o", tmp_path / "mine.onnx", "--trust")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert done.exit_code == 0, done.output
    by_graph = np.asarray(corun.load(tmp_path / "mine.onnx")(photo).image).astype(int)
    assert np.abs(by_graph - by_code).max() <= 1
    for words, said in (
        (("--part", "stages"), "has no stages"),
        (("--precision", "int8", "--photos", photo.parent), "int8 is for CORUN"),
    ):
        done = run("export", weights, "-o", tmp_path / "other.onnx", "--trust", *words)
        assert done.exit_code == 1
        assert said in done.stderr
        assert not (tmp_path / "other.onnx").exists()


def test_a_published_checkpoint_and_its_class_become_such_a_file(
    importable: Path, tmp_path: Path
) -> None:
    """As of DehazeFormer and others: somebody's class, and a state dict under a name of theirs."""
    weights, photo = importable / "run" / "weights.safetensors", importable / "photos" / "0.png"
    state = safetensors.torch.load_file(weights)
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "net.pth")
    words = ("models", "convert", tmp_path / "net.pth", "--network", "their_net:Net")
    options = ("--range", "-1", "1", "--multiple", "4", "--entry", "1")
    done = run(*words, "-o", tmp_path / "net.safetensors", *options, "--argument", "width=3")
    assert done.exit_code == 0, done.output
    assert "their_net:Net, 339 parameters" in done.stdout
    import corun

    theirs, adapted = (
        np.asarray(corun.load(file, trust=True)(photo).image)
        for file in (tmp_path / "net.safetensors", weights)
    )
    assert np.array_equal(theirs, adapted)
    for given, said in (
        (("--argument", "width"), "write NAME=VALUE"),
        (("--argument", "width=4"), "net.pth"),
    ):
        done = run(*words, "-o", tmp_path / "other.safetensors", *options, *given)
        assert done.exit_code == 1
        assert said in done.stderr
        assert not (tmp_path / "other.safetensors").exists()
    done = run(*words[:3], "-o", tmp_path / "other.safetensors", "--multiple", "4")
    assert done.exit_code == 2
    assert "are for --network" in done.stderr


def test_workers_of_an_evaluation_trust_it_too(importable: Path, tmp_path: Path) -> None:
    weights = importable / "run" / "weights.safetensors"
    words = ("evaluate", "-m", f"mine={weights}", "-d", f"photos={importable / 'photos'}")
    words = (*words, "-o", "out", "--jobs", "2", "--trust", "--metrics", "brightness")
    places = [str(importable / "module"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [sys.executable, "-m", "corun", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("note: ") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("dehaze", "photo.png", "--model", "w.safetensors"),
        ("video", "film.mp4", "clear.mp4", "--model", "w.safetensors"),
        ("batch", "photos", "out", "--model", "w.safetensors"),
        ("serve", "--model", "w.safetensors"),
        ("web", "--model", "w.safetensors"),
    ],
)
@pytest.mark.parametrize("trusted", [False, True])
def test_one_door_is_told_of_the_trust(
    words: tuple[str, ...], trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corun.batch import worker
    from corun.dehazing import loading

    told = []

    def load(name: str, **given: Any) -> None:
        told.append(given["trust"])
        raise WeightsError(f"{name}: enough")

    monkeypatch.chdir(tmp_path)
    for module, name in ((loading, "load"), (loading, "begin_loading"), (worker, "load")):
        monkeypatch.setattr(module, name, load)
    for photo in (Path("photo.png"), Path("photos/0.png")):
        photo.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(photo)
    Path("film.mp4").touch()
    done = run(*words, *(["--trust"] if trusted else []))
    assert done.exit_code == 1
    assert "w.safetensors: enough" in done.stderr
    assert told == [trusted]


def test_an_entry_that_the_network_does_not_return_is_told() -> None:
    from corun.errors import NetworkOutputError
    from corun.networks.brought import BroughtNetwork

    network = BroughtNetwork(torch.nn.Conv2d(3, 3, 1), output="scene")
    with pytest.raises(NetworkOutputError, match=r"network\.output: Conv2d returned no entry"):
        network(torch.zeros(1, 3, 4, 4))
