"""Folders of rendered scenes with depth, as photos for tests of training and synthesis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from corun.data.scenes import render_scene


def write_scenes(folder: Path, count: int, height: int = 48, width: int = 64) -> None:
    """``folder/clean/N.png`` and ``folder/depth/N.npy``, distance in [0,1]."""
    (folder / "clean").mkdir(parents=True)
    (folder / "depth").mkdir()
    for seed in range(count):
        scene = render_scene(height, width, seed)
        pixels = (scene.image * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / "clean" / f"{seed}.png")
        np.save(folder / "depth" / f"{seed}.npy", scene.depth[0].numpy())


RECIPE = """
run:
  folder: {folder}/run
  steps: 12
  batch: 2
  seed: 3
  threads: 1
  checkpoint_every: 3
  validate_every: 6
  picture_every: 0
data:
  clean: {folder}/clean
  depth: {folder}/depth
  convention: distance
  crop: 32
network: {{stages: 2, dim: 4, levels: 1, ffn_expansion: 2, cell: 2,
  transmission_step: least_squares}}
loss: {{contrastive: 0.0, density: 0.0}}
optimizer: {{learning_rate: 1.0e-3, warmup_steps: 2}}
validation: {{clean: {folder}/clean, depth: {folder}/depth, side: 32}}
"""


def write_recipe(folder: Path) -> Path:
    """A pre-training recipe over :func:`write_scenes`' folder, seconds long."""
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(folder=folder))
    return path
