"""The published checkpoints and results of other methods, by the layouts in which they lie."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_pictures import save_levels
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

import corun
from corun.apps.cli import app
from corun.errors import WeightsError
from corun.evaluation.methods import parse_method, run_method
from corun.networks.brought import BroughtNetwork, open_network
from corun.networks.known_methods import known_method

RUNNER = CliRunner()
CODE = '''
"""Networks of a few weights whose tensors are called as in the published ones."""
import torch
from torch import nn

def holder(**parts):
    made = nn.Module()
    for name, part in parts.items():
        setattr(made, name, part)
    return made

class Small(nn.Module):
    multiple = 1
    def forward(self, hazy):
        assert all(side % self.multiple == 0 for side in hazy.shape[-2:])
        self.darkest = float(hazy.min())
        return hazy + self.convolution()(hazy)

class DehazeFormer(Small):
    def __init__(self):
        super().__init__()
        self.patch_embed = holder(proj=nn.Conv2d(3, 3, 3, padding=1))
        attention = holder(conv=nn.Conv2d(2, 2, 1), attn=nn.Module())
        attention.attn.register_buffer("relative_positions", torch.zeros(4, 4, 2))
        feed_forward = holder(mlp=nn.Sequential(nn.Conv2d(2, 2, 1)))
        block = holder(attn=attention, mlp=feed_forward)
        self.layer1 = holder(blocks=nn.ModuleList([block]))
    def convolution(self):
        return self.patch_embed.proj

def dehazeformer_t():
    return DehazeFormer()

class Backbone(Small):
    multiple = 4
    def __init__(self, base_dim=3):
        super().__init__()
        self.fe_level_2, self.fe_level_3 = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)
        self.down_level1_block1 = holder(conv1=nn.Conv2d(2, 2, 3))
        self.up3 = nn.Sequential(nn.Conv2d(base_dim, 3, 3, padding=1))
    def convolution(self):
        return self.up3[0]

class PGLNet(Small):
    multiple = 32
    def __init__(self):
        super().__init__()
        self.inconv = holder(proj=nn.Conv2d(3, 3, 3, padding=1))
        self.layers = nn.ModuleList([holder(norm=nn.BatchNorm2d(2))])
        self.fusions = nn.ModuleList([holder(pw_enc=nn.Conv2d(2, 2, 1))])
    def convolution(self):
        return self.inconv.proj

def pglnet_t():
    return PGLNet()
'''

State = dict[str, Tensor]
LAYOUTS: dict[str, tuple[str, str, Callable[[State], dict[str, Any]], tuple[float, float], int]] = {
    # of DataParallel, and as MixDehazeNet's with the optimiser beside
    "DehazeFormer": (
        "dehazeformer_t",
        "dehazeformer-t.pth",
        lambda state: {
            "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
            "optimizer": {"state": {}, "param_groups": []},
            "best_psnr": 35.1,
        },
        (-1.0, 1.0),
        1,
    ),
    # re-parameterised, the tensors alone
    "DEA-Net": ("Backbone", "PSNR4131_SSIM9945.pth", lambda state: state, (0.0, 1.0), 4),
    # with the scores of NumPy
    "PGL-Net": (
        "pglnet_t",
        "rw2ah_pglnet_t.pk",
        lambda state: {
            "step": 10,
            "max_psnr": np.float64(25.5),
            "ssims": [np.float32(0.9), np.int64(1)],
            "model": state,
        },
        (0.0, 1.0),
        32,
    ),
}
METHODS = pytest.mark.parametrize("method", list(LAYOUTS))


@pytest.fixture
def checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> tuple[str, Path, nn.Module]:
    """The import path of a method's network, a checkpoint as published, and the network."""
    (tmp_path / "code" / "their_models").mkdir(parents=True)
    (tmp_path / "code" / "their_models" / "__init__.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.delitem(sys.modules, "their_models", raising=False)
    name, file, layout, _, _ = LAYOUTS[method]
    torch.manual_seed(3)
    network = getattr(__import__("their_models"), name)()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.3)
    torch.save(layout(network.state_dict()), tmp_path / file)
    return f"their_models:{name}", tmp_path / file, network


@METHODS
def test_a_published_checkpoint_is_called_as_its_authors_call_it(
    method: str, checkpoint: tuple[str, Path, nn.Module]
) -> None:
    code, file, network = checkpoint
    _, _, _, (black, white), multiple = LAYOUTS[method]
    known = known_method(network.state_dict().keys())
    assert known is not None
    assert (known.name, known.value_range, known.multiple) == (method, (black, white), multiple)
    opened = open_network(code, weights=file).eval()
    hazy = torch.rand(1, 3, 33, 46)
    scene = opened(hazy).scene if isinstance(opened, BroughtNetwork) else opened(hazy)
    padded = nn.functional.pad(hazy, (0, -46 % multiple, 0, -33 % multiple), mode="reflect")
    expected = network(black + (white - black) * padded)[..., :33, :46]
    torch.testing.assert_close(scene, (expected - black) / (white - black))
    # What is said counts more than what is known.
    assert isinstance(open_network(code, weights=file, value_range=(0.0, 2.0)), BroughtNetwork)


@METHODS
def test_it_is_evaluated_by_name(
    method: str, checkpoint: tuple[str, Path, nn.Module], pairs: Path, tmp_path: Path
) -> None:
    code, file, _ = checkpoint
    output = tmp_path / "out"
    words = ("evaluate", "-m", f"{method}={code}:{file}", "-m", f"{code}:{file}")
    words = (*words, "-d", f"pairs={pairs}", "-o", str(output), "--metrics", "psnr", "--jobs", "1")
    done = RUNNER.invoke(app, words)
    assert done.exit_code == 0, done.output
    report = json.loads((output / "report.json").read_text())
    assert {row["method"] for row in report["scores"]} == {method, file.stem}
    assert code in (output / "report.md").read_text()
    with Image.open(output / "results" / method / "pairs" / "p0.png") as made:
        result = np.asarray(made).astype(float)
    # and by the file that `corun models convert` makes of it, which says range and multiple
    converted = tmp_path / "w.safetensors"
    done = RUNNER.invoke(
        app, ["models", "convert", str(file), "-o", str(converted), "--network", code]
    )
    assert done.exit_code == 0, done.output
    again = corun.load(converted, trust=True)(pairs / "hazy" / "p0.png").image
    assert np.abs(result - np.asarray(again)).max() <= 1


@METHODS
def test_without_its_code_the_method_and_the_way_are_named(
    method: str, checkpoint: tuple[str, Path, nn.Module]
) -> None:
    _, file, _ = checkpoint
    with pytest.raises(WeightsError, match=f"is a checkpoint of {method}, .* MODULE:CLASS:FILE"):
        corun.load(file)


def test_scores_of_an_older_numpy_do_not_keep_a_file_closed(tmp_path: Path) -> None:
    from corun.networks.checkpoints import read_pth

    torch.save({"psnr": np.float64(25.5), "model": {"w": torch.ones(2)}}, tmp_path / "new.pk")
    with (
        zipfile.ZipFile(tmp_path / "new.pk") as new,
        zipfile.ZipFile(tmp_path / "old.pk", "w") as old,
    ):
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.", b"numpy.core."))
    assert b"numpy.core." in (tmp_path / "old.pk").read_bytes()
    assert read_pth(tmp_path / "old.pk")["psnr"] == 25.5
    torch.save({"values": np.zeros(3)}, tmp_path / "array.pk")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        read_pth(tmp_path / "array.pk")


def test_a_checkpoint_of_mixdehazenet_by_spandrel(tmp_path: Path) -> None:
    pytest.importorskip("spandrel", reason="needs the extra spandrel")
    from spandrel.architectures.MixDehazeNet import MixDehazeNet

    torch.manual_seed(0)
    network = MixDehazeNet(embed_dims=[8, 16, 32, 16, 8], depths=[1, 1, 1, 1, 1]).eval()
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    file = tmp_path / "MixDehazeNet-t.pth"
    torch.save({"state_dict": state, "optimizer": {}, "epoch": 3, "best_psnr": 30.0}, file)
    known = known_method(network.state_dict().keys())
    assert known is not None
    assert known.name == "MixDehazeNet"
    levels = np.random.default_rng(0).integers(0, 256, (41, 52, 3), dtype=np.uint8)
    hazy = save_levels(tmp_path / "hazy.png", levels)
    run_method(parse_method(f"mix=spandrel:{file}"), hazy, tmp_path / "clear.png")
    with torch.no_grad():
        signed = network(torch.from_numpy(levels).permute(2, 0, 1)[None] / 127.5 - 1)
    expected = ((signed[0].permute(1, 2, 0).numpy() + 1) * 127.5).clip(0, 255)
    with Image.open(tmp_path / "clear.png") as made:
        assert np.abs(np.asarray(made) - expected).max() <= 1
    with pytest.raises(WeightsError, match=r"is a checkpoint of MixDehazeNet, .* spandrel:FILE"):
        corun.load(file)


@pytest.mark.parametrize(
    ("place", "ending"),
    [
        ("", "_RIDCP"),
        ("sots-outdoor", ""),
        ("imgs", ""),
        ("output", ".jpg"),
        ("visualization/sots-outdoor", "_Net"),
    ],
)
def test_results_in_a_methods_usual_places_and_names(
    place: str, ending: str, tmp_path: Path
) -> None:
    """As DEA-Net's and RIDCP's: called as the hazy photos, whose truth has a shorter name."""
    rng = np.random.default_rng(1)
    truths = {}
    for name in ("0001_0.8_0.2", "0001_0.85_0.2", "0014_0.9_0.2"):
        clear = rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)
        clear = truths.setdefault(name.split("_")[0], clear)
        save_levels(tmp_path / "sots" / "gt" / f"{name.split('_')[0]}.png", clear)
        save_levels(tmp_path / "sots" / "hazy" / f"{name}.png", clear // 2 + 90)
        save_levels(tmp_path / "theirs" / place / f"{name}{ending}.png", clear)
    done = RUNNER.invoke(
        app,
        [
            *("evaluate", "-m", f"theirs={tmp_path / 'theirs'}", "-o", str(tmp_path / "out")),
            *("-d", f"sots-outdoor={tmp_path / 'sots'}", "--metrics", "psnr", "--jobs", "1"),
        ],
    )
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(report["scores"]) == 3
    assert (f"results are called PHOTO{ending}" in str(report["notes"])) == bool(ending)
    assert "∞" in done.output  # equal to the truth


def test_a_number_is_no_ending() -> None:
    """It would make the result of another photo of it."""
    from corun.evaluation.prepared_pictures import common_ending

    assert common_ending(["1400_1", "1400_10"], ["1400"]) == ""
    assert common_ending(["a", "b_RIDCP"], ["a", "b"]) == ""
    assert common_ending(["a_RIDCP", "a_b_RIDCP"], ["a", "a_b"]) == "_RIDCP"
    assert common_ending([], ["a"]) == ""
