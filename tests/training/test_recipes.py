"""Every recipe in the repository is valid, and the chain of corun-lite's runs at toy size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from corun.configuration import load_configuration
from corun.networks.checkpoints import load_network
from corun.training import colabator, pretrain
from corun.training.checkpoint import load_checkpoint
from corun.training.density import DensityConfig
from rendered_folders import write_scenes

CONFIGS = Path(__file__).parents[2] / "configs"
TOY = ["run.batch=2", "run.workers=0", "run.precision=float32"]
SMALL = ["network.dim=4", "network.levels=1", "network.ffn_expansion=1"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_is_valid(path: Path) -> None:
    model: type = pretrain.PretrainConfig
    if "colabator" in path.stem:
        model = DensityConfig if "density" in path.stem else colabator.ColabatorConfig
    assert load_configuration(model, path).run.steps > 0


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    write_scenes(tmp_path, 4, 72, 96)
    return [
        f"data.clean={tmp_path}/clean",
        f"data.depth={tmp_path}/depth",
        "data.crop=64",
        "validation.clean=null",
        "validation.depth=null",
        *TOY,
        *SMALL,
    ]


@pytest.mark.filterwarnings("ignore")
def test_the_chain_of_lite_runs_from_nothing_to_an_adapted_network(
    data: list[str], tmp_path: Path
) -> None:
    def train(recipe: str, *overrides: str) -> Path:
        folder = tmp_path / recipe
        changes = [*data, f"run.folder={folder}", *overrides]
        pretrain.run(CONFIGS / f"{recipe}.yaml", changes)
        return folder

    trunk = train("lite-1-pretrain", "run.steps=3")
    cooldown = train("lite-1-cooldown", "run.steps=2", f"run.start_from={trunk}/last.ckpt")
    torch.save(_vgg(), tmp_path / "vgg.pth")
    part_2 = train(
        "lite-2-perceptual",
        "run.steps=2",
        f"run.start_from={cooldown}/last.ckpt",
        f"loss.vgg={tmp_path}/vgg.pth",
    )
    steps = load_checkpoint(part_2 / "last.ckpt")["optimizer"]["state"][0]["step"]
    assert float(steps) == 7
    adapted = tmp_path / "adapted"
    colabator.run(
        CONFIGS / "lite-3-colabator.yaml",
        [
            f"run.folder={adapted}",
            f"network.name={part_2}/weights.safetensors",
            f"synthetic.clean={tmp_path}/clean",
            f"synthetic.depth={tmp_path}/depth",
            "synthetic.crop=64",
            f"real.folder={tmp_path}/clean",
            "real.side=64",
            "real.scale=1.0",
            "validation.clean=null",
            "validation.depth=null",
            "validation.real=null",
            "run.steps=2",
            *TOY,
        ],
    )
    before, after = (load_network(f / "weights.safetensors").network for f in (part_2, adapted))
    assert before.config == after.config
    assert any(
        not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)
    )


@pytest.mark.filterwarnings("ignore")
def test_base_trains_with_the_step_at_full_size(data: list[str], tmp_path: Path) -> None:
    changes = [*data, f"run.folder={tmp_path}/base", "run.steps=2", "network.stages=2"]
    pretrain.run(CONFIGS / "base-1-pretrain.yaml", changes)
    network = load_network(tmp_path / "base" / "weights.safetensors").network
    assert network.config.full_size_step
    assert (network.config.cell, network.config.transmission_step) == (1, "least_squares")


def _vgg() -> dict[str, torch.Tensor]:
    """VGG-19 up to relu3_1 in torchvision's layout, narrow, of random weights."""
    state, width = {}, 3
    for index in (0, 2, 5, 7, 10):
        state[f"features.{index}.weight"] = torch.randn(4, width, 3, 3) / 4
        state[f"features.{index}.bias"] = torch.randn(4) / 4
        width = 4
    return state
