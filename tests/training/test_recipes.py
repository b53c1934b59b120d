"""Every recipe in the repository is valid, and the chain of corun-lite's runs at toy size."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

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


SOURCE = re.compile(r"^ *([\w]+): *(.*?) *# \[(paper|code|ours)\];? ?(.*)$")


def marked_values() -> list[tuple[str, str, str, str]]:
    """Dotted key, value, mark and remark of each line of the paper's recipe that has a mark."""
    rows, parents = [], []
    lines = (CONFIGS / "colabator-paper.yaml").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if not line.strip() or line.lstrip().startswith(("#", "[")):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [line.split(":")[0].strip()]
        if found := SOURCE.match(line):
            rows.append((".".join(parents), *found.groups()[1:]))
    return rows


def test_the_table_of_the_papers_recipe_is_the_recipe() -> None:
    """And every value that the recipe states has a mark, but for places of files."""
    page = (CONFIGS.parent / "docs" / "explanation" / "colabator.md").read_text(encoding="utf-8")
    table = ["| key | value | from | |", "|---|---|---|---|"]
    for key, value, mark, remark in marked_values():
        shown = f"`{value}`" if value else ""
        table.append(f"| `{key}` | {shown} | {mark} | {remark} |")
    assert "\n".join(table) in page, "the table should be:\n" + "\n".join(table)
    marked = {key for key, *_ in marked_values()}
    content = yaml.safe_load((CONFIGS / "colabator-paper.yaml").read_text(encoding="utf-8"))
    stated = {
        f"{section}.{key}"
        for section, values in content.items()
        for key, value in values.items()
        if not isinstance(value, dict)
    }
    places = {"run.folder", "synthetic.clean", "synthetic.depth", "real.folder"}
    assert stated - marked - places == {"synthetic.convention"}


def test_the_papers_recipe_has_the_papers_values() -> None:
    """What it leaves to the defaults, and what is ours, is off or the paper's too."""
    config = load_configuration(colabator.ColabatorConfig, CONFIGS / "colabator-paper.yaml")
    haze = config.synthesis
    assert (haze.beta, haze.airlight, haze.airlight_jitter) == ((0.2, 2.8), (0.25, 1.0), 0.025)
    assert (haze.darken_probability, haze.darken_power) == (0.5, (1.5, 3.0))
    assert (haze.noise_probability, haze.noise_sigma) == (0.5, (2.0, 25.0))
    assert (haze.jpeg_probability, haze.jpeg_quality) == (0.5, (30.0, 95.0))
    options = [name for name in type(haze).model_fields if name.endswith("_probability")]
    on = {name for name in options if getattr(haze, name)}
    assert on == {"darken_probability", "noise_probability", "jpeg_probability"}
    assert haze.veil == (0.0, 0.0)
    losses = config.adaptation
    assert (losses.pixel, losses.real, losses.scattering, losses.perceptual) == (5, 2, 0.01, 0.2)
    assert losses.contrastive == losses.density_synthetic == losses.density_real == 1
    assert (losses.transmission, losses.density_target, losses.density_range) == (0, 0, (0, 0))
    assert (losses.density_gradient, losses.weights, losses.use_pool) == ("full", "trusted", True)
    assert (config.run.steps, 4 * config.run.batch, config.teacher.decay) == (5_000, 8, 0.999)
    rates = config.optimizer
    assert (rates.learning_rate, rates.final_learning_rate) == (5e-5, 1e-6)


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
