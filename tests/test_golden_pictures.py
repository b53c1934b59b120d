"""Pictures that a refactor must not change: two hazy scenes and what became of them.

``tests/golden`` holds the hazy pictures (rendered scenes under β = 1.2 and a bluish airlight) and
the results, 8-bit PNG. To make the results anew, because they are meant to change:
``python tests/test_golden_pictures.py``.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import corun
from corun.networks.checkpoints import save_network
from corun.networks.corun import CORUN, CorunConfig

FOLDER = Path(__file__).parent / "golden"
SCENES = ("street", "country")
TINY = {
    "stages": CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=2),
    "cells": CorunConfig(
        stages=2, dim=4, levels=1, ffn_expansion=2, transmission_step="least_squares", cell=2,
        working_pixels=6000,
    ),
}  # fmt: skip
"""A network of the published form, and one that finishes at full size from a reduced picture."""


def tiny(kind: str, folder: Path) -> Path:
    """A weights file whose numbers are made of the tensors' names."""
    network = CORUN(TINY[kind])
    state = network.state_dict()
    for name, tensor in state.items():
        if name.endswith(("lam", "gamma", "norm.weight", "rescale")):
            continue
        draws = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tensor.shape)
        fan = max(1.0, float(np.prod(tensor.shape[1:])))
        state[name] = torch.from_numpy((0.12 * draws / np.sqrt(fan)).astype(np.float32))
    network.load_state_dict(state)
    path = folder / f"{kind}.safetensors"
    save_network(path, network)
    return path


def dehazed(scene: str, method: str, folder: Path) -> np.ndarray:
    model = "dcp" if method == "dcp" else tiny(method, folder)
    target = folder / f"{method}.png"
    corun.load(model, device="cpu")(FOLDER / f"{scene}.png").save(target)
    return np.asarray(Image.open(target))


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("method", ["dcp", *TINY])
def test_the_results_are_those_of_before(scene: str, method: str, tmp_path: Path) -> None:
    expected = np.asarray(Image.open(FOLDER / f"{scene}-{method}.png")).astype(int)
    found = dehazed(scene, method, tmp_path).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1
    hazy = np.asarray(Image.open(FOLDER / f"{scene}.png")).astype(int)
    assert np.abs(found - hazy).mean() > 3  # something was done


def make() -> None:
    """Write the hazy pictures that are not there, and all results."""
    import tempfile

    from corun.data.scenes import render_scene
    from corun.physics.scattering import add_haze
    from corun.physics.transmission import depth_to_transmission

    def save(name: str, pixels: np.ndarray) -> None:
        Image.fromarray(pixels).save(FOLDER / f"{name}.png", optimize=True)

    for seed, name in enumerate(SCENES):
        if not (FOLDER / f"{name}.png").exists():
            scene = render_scene(120, 160, seed)
            airlight = torch.tensor([0.82, 0.86, 0.90]).view(1, 3, 1, 1)
            T = depth_to_transmission(scene.depth[None], 1.2)
            hazy = add_haze(scene.image[None], T, airlight)[0]
            save(name, (hazy.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
        with tempfile.TemporaryDirectory() as folder:
            for method in ("dcp", *TINY):
                save(f"{name}-{method}", dehazed(name, method, Path(folder)))


if __name__ == "__main__":
    make()
