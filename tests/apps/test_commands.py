"""The other commands, and how fast help comes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import Result

from corun.apps.cli import app
from corun.dehazing.loading import from_network
from corun.dehazing.rendered_demo import DemoResult, run_demo
from corun.networks.registry import MODELS

Corun = Callable[..., Result]


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_help_answers_in_under_two_seconds_and_imports_nothing_heavy(command: list[str]) -> None:
    """Processor time, so that a busy machine does not fail it; it waits for nothing else."""

    timed = (
        "import atexit, sys, time; atexit.register(lambda: print(time.process_time(), end=''));"
        "sys.argv[1:] = ['--help']; from corun.apps.cli import main; main()"
    )

    def once() -> float:
        ran = subprocess.run([command[0], "-c", timed], check=True, capture_output=True)
        return float(ran.stdout.split()[-1])

    assert min(once() for _ in range(2)) < 2
    heavy = "{'torch', 'numpy', 'PIL', 'cv2', 'lightning', 'jaxtyping'}"
    code = f"import sys, corun, corun.apps.cli; sys.exit(len({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_command_has_help(corun: Corun) -> None:
    commands = ["dehaze", "demo", "models", "synthesize", "train"]
    listed = corun("--help").stdout
    for command in commands:
        assert command in listed
        assert corun(command, "--help").exit_code == 0
    pretrain = corun("train", "pretrain", "--help")
    assert pretrain.exit_code == 0
    assert "optimizer.learning_rate=2e-4" in pretrain.stdout
    assert app.info.name == "corun"


def test_version(corun: Corun) -> None:
    import corun as package

    result = corun("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"corun {package.__version__}")


def test_models_are_listed(corun: Corun) -> None:
    result = corun("models")
    assert result.exit_code == 0
    for name in MODELS:
        assert name in result.stdout
    assert "corun-lite (default)" in result.stdout


def test_info_says_what_a_weights_file_is(corun: Corun, weights: Path) -> None:
    facts = json.loads(corun("models", "info", str(weights), "--json").stdout)
    assert facts["architecture"] == "CORUN"
    assert facts["config"]["stages"] == 2
    assert facts["config"]["dim"] == 4
    assert "stages=2" in corun("models", "info", str(weights)).stdout
    assert "architecture: none" in corun("models", "info", "dcp").stdout
    base = json.loads(corun("models", "info", "corun-base", "--json").stdout)
    assert (base["parameters"], base["trained"]) == (18_674_262, False)
    missing = corun("models", "info", "nothing.pth")
    assert missing.exit_code == 1
    assert missing.stderr.startswith("corun: nothing.pth:")


def test_convert_refuses_what_it_cannot_use(corun: Corun, tmp_path: Path) -> None:
    source, target = tmp_path / "other.pth", tmp_path / "ours.safetensors"
    torch.save({"params": {"conv.weight": torch.zeros(3)}}, source)
    wrong = corun("models", "convert", source, "-o", target)
    assert wrong.exit_code == 1
    assert "other.pth" in wrong.stderr
    assert not target.exists()
    assert "must end in .safetensors" in corun("models", "convert", source, "-o", "x.bin").stderr
    target.write_bytes(b"precious")
    assert "--overwrite" in corun("models", "convert", source, "-o", target).stderr
    assert target.read_bytes() == b"precious"


def test_the_demo_needs_no_photo_and_measures_against_the_truth(
    corun: Corun, tmp_path: Path
) -> None:
    out = tmp_path / "demo"
    options = ("--model", "dcp", "--width", "96", "--height", "64", "-o", out)
    result = corun("demo", *options)
    assert result.exit_code == 0
    assert "hazy    against the truth: PSNR" in result.stdout
    numbers = json.loads(corun("demo", *options, "--overwrite", "--json").stdout)
    pictures = {name: opened(out / f"{name}.png") for name in ("hazy", "truth")}
    error = (pictures["hazy"] / 255 - pictures["truth"] / 255) ** 2
    assert abs(numbers["hazy_psnr"] + 10 * np.log10(error.mean())) < 0.05
    comparison = opened(out / "before_after.png")
    assert comparison.shape == (64, 3 * 96 + 16, 3)
    np.testing.assert_array_equal(comparison[:, :96], pictures["hazy"])
    np.testing.assert_array_equal(comparison[:, -96:], pictures["truth"])
    again = corun("demo", *options)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr


def test_a_perfect_dehazer_reaches_the_truth(tmp_path: Path) -> None:
    """Without haze there is nothing to remove, and the identity is perfect."""
    identity = from_network(torch.nn.Identity(), device="cpu")
    result = run_demo(identity, tmp_path, seed=1, density=0.0, size=(32, 48))
    assert result.hazy_psnr > 100
    assert result.dehazed_psnr > 100
    assert result.transmission_error is None


def test_a_demo_without_haze_is_json_all_the_same(
    corun: Corun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal pictures have an infinite PSNR, for which JSON has no number."""
    perfect = DemoResult("perfect", float("inf"), 40.0, None)
    monkeypatch.setattr("corun.dehazing.rendered_demo.run_demo", lambda *_, **__: perfect)
    result = corun("demo", "--model", "dcp", "--density", "0", "--json", "-o", tmp_path)
    assert "Infinity" not in result.stdout
    numbers = json.loads(result.stdout)
    assert numbers["hazy_psnr"] is None
    assert numbers["dehazed_psnr"] == 40


def test_synthesize_writes_hazy_pictures_with_their_truth(corun: Corun, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("clean", "depth"):
        (tmp_path / name).mkdir()
    picture = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "clean" / "street.png")
    far = np.tile(np.linspace(0, 255, 48).astype(np.uint8), (40, 1))
    Image.fromarray(far).save(tmp_path / "depth" / "street.png")
    arguments = ("--clean", tmp_path / "clean", "--depth", tmp_path / "depth", "--count", "2")
    result = corun("synthesize", *arguments, "-o", tmp_path / "out", "convention=distance")
    assert result.exit_code == 0
    assert len(list((tmp_path / "out" / "hazy").iterdir())) == 2
    assert (tmp_path / "out" / "truth.csv").exists()
    missing = corun("synthesize", *arguments, "-o", tmp_path / "out", "colour=blue")
    assert missing.exit_code == 1
    assert missing.stderr.startswith("corun: ")


def test_pretrain_names_a_recipe_that_is_not_there(corun: Corun) -> None:
    result = corun("train", "pretrain", "--config", "gone.yaml")
    assert result.exit_code == 1
    assert "gone.yaml" in result.stderr
    assert len(result.stderr.splitlines()) == 1
