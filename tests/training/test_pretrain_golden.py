"""Losses of a pre-training that a refactor must not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from corun.configuration import load_configuration
from corun.training.pretrain import PretrainConfig, Pretraining
from rendered_folders import write_recipe

# Made by this test when it was written; every term of the loss is on. The order in which a machine
# adds may differ from run to run, and AdamW enlarges that to 4e-6.
GOLDEN = [
    1.3925286531448364, 1.0436996221542358, 1.622079610824585, 1.4218721389770508,
    1.4383636713027954, 0.9336355924606323, 1.1625477075576782, 1.0818989276885986,
    0.8674537539482117, 0.8328517079353333, 1.1346105337142944, 1.4865833520889282,
]  # fmt: skip
EVERY_TERM = (
    "loss.pixel=1", "loss.last_stage=0.5", "loss.earlier_stages=0.15", "loss.scattering=0.01",
    "loss.transmission=0.3", "loss.colour=1", "loss.structure=0.15", "loss.gradient=0.5",
    "loss.contrastive=0.2", "loss.density=0.1", "synthesis.patchy_probability=0.5",
    "synthesis.tint_probability=0.5", "synthesis.frame_probability=0.3",
)  # fmt: skip


def write_photos(folder: Path) -> None:
    """Four clean pictures and their distances, made of a formula."""
    (folder / "clean").mkdir(parents=True)
    (folder / "depth").mkdir()
    y, x = np.mgrid[:48, :64] / 64
    for k in range(4):
        waves = [np.sin((k + 3) * (c + 2) * x + 5 * (c + 1) * y) for c in range(3)]
        pixels = (0.5 + 0.4 * np.stack(waves, -1)) * 255
        Image.fromarray(pixels.round().astype(np.uint8)).save(folder / "clean" / f"{k}.png")
        depth = np.clip(1 - y + 0.1 * np.sin(9 * x + k), 0, 1).astype(np.float32)
        np.save(folder / "depth" / f"{k}.npy", depth)


def write_vgg(path: Path) -> None:
    """Two narrow convolutions in torchvision's layout."""
    draws, state, width = np.random.default_rng(0), {}, 3
    for index in (0, 2, 5):
        weight = draws.standard_normal((4, width, 3, 3)).astype(np.float32) / 4
        state[f"features.{index}.weight"] = torch.from_numpy(weight)
        state[f"features.{index}.bias"] = torch.zeros(4)
        width = 4
    torch.save(state, path)


def losses(folder: Path, steps: int) -> list[float]:
    write_photos(folder)
    write_vgg(folder / "vgg.pth")
    vgg = [f"loss.vgg={folder}/vgg.pth", "loss.vgg_layer_weights=[0.3,0.7]"]
    config = load_configuration(PretrainConfig, write_recipe(folder), [*vgg, *EVERY_TERM])
    task = Pretraining(config)
    optimizer = torch.optim.AdamW(task.network.parameters(), lr=1e-3)
    found = []
    for step in range(steps):
        terms = task.loss(task.network, task.prepare(step, 0, 0, 1), step, 0, 0)
        assert len(terms.parts) == 10
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        found.append(terms.total.item())
    return found


def test_golden_losses(tmp_path: Path) -> None:
    sequence = losses(tmp_path, 12)
    assert sequence == pytest.approx(GOLDEN, rel=2e-5), sequence
