"""Rendered scenes on disk: clean photos with depth, and "real" haze whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from toy_networks import VeilRemover

from corun.data.scenes import render_scene
from corun.physics.scattering import add_haze
from corun.physics.transmission import depth_to_transmission

SIDE = 64


def write_picture(path: Path, image: Tensor) -> None:
    """RGB (3,H,W) in [0,1] as an 8-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path)


def real_haze(image: Tensor, depth: Tensor, seed: int) -> Tensor:
    """Haze that the synthesis of the toy run never makes: denser, and blue."""
    rng = np.random.default_rng(seed)
    transmission = depth_to_transmission(depth[None], float(rng.uniform(1.5, 3.0)))
    airlight = torch.tensor([0.66, 0.74, 0.82]).view(1, 3, 1, 1)
    return add_haze(image[None], transmission, airlight)[0]


def write_toy(folder: Path, count: int = 12) -> Path:
    """``clean``, ``depth`` and ``real``, the last from other scenes; truth in ``truth``."""
    for seed in range(count):
        scene = render_scene(SIDE, SIDE, seed)
        write_picture(folder / "clean" / f"{seed:02d}.png", scene.image)
        (folder / "depth").mkdir(exist_ok=True)
        np.save(folder / "depth" / f"{seed:02d}.npy", scene.depth[0].numpy())
        other = render_scene(SIDE, SIDE, 1000 + seed)
        write_picture(
            folder / "real" / f"{seed:02d}.png", real_haze(other.image, other.depth, seed)
        )
        write_picture(folder / "truth" / f"{seed:02d}.png", other.image)
    return folder


def toy_settings(folder: Path, run: Path, **changes: Any) -> dict[str, Any]:
    """A configuration of the toy run; dotted keys replace single values."""
    settings: dict[str, Any] = {
        "run": {
            "folder": str(run),
            "steps": 8,
            "batch": 4,
            "threads": 1,
            "workers": 0,
            "device": "cpu",
            "checkpoint_every": 4,
            "validate_every": 1000,
            "picture_every": 0,
        },
        "network": {"name": "toy_networks:VeilRemover"},
        "synthetic": {
            "clean": str(folder / "clean"),
            "depth": str(folder / "depth"),
            "convention": "distance",
            "crop": SIDE,
            "scale": [0.8, 1.0],
        },
        "synthesis": {
            "beta": [0.2, 1.0],
            "airlight": [0.7, 0.9],
            "jpeg_probability": 0.0,
            "darken_probability": 0.0,
            "noise_probability": 0.0,
        },
        "real": {"folder": str(folder / "real"), "side": SIDE, "scale": 1.0},
        "adaptation": {"block": 16, "density_target": 0.2},
        "optimizer": {"learning_rate": 1e-3},
    }
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        target = settings
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return settings


def pretrained(folder: Path, steps: int = 150) -> dict[str, Tensor]:
    """A small network that has seen thin, grey synthetic haze only."""
    from corun.data.clean_depth import CleanDepthConfig, CleanDepthFolder
    from corun.data.synthesis import SynthesisConfig, synthesize_haze

    torch.manual_seed(0)
    settings = toy_settings(folder, folder)
    clean = CleanDepthFolder(CleanDepthConfig.model_validate(settings["synthetic"]))
    network = VeilRemover()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    synthesis = SynthesisConfig.model_validate(settings["synthesis"])
    for step in range(steps):
        samples = [clean.sample(step * 4 + n) for n in range(4)]
        haze = synthesize_haze(
            torch.stack([s.clean for s in samples]),
            torch.stack([s.depth for s in samples]),
            synthesis,
            generator,
        )
        loss = (network(haze.hazy)[0] - haze.target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.state_dict()


@torch.no_grad()
def real_error(network: nn.Module, folder: Path) -> float:
    """Mean |J − truth| over the "real" photos."""
    from corun.data.images import list_images, read_rgb

    errors = []
    for path in list_images(folder / "real"):
        truth = read_rgb(folder / "truth" / path.name)
        output = network(read_rgb(path)[None])
        scene = (output if isinstance(output, Tensor) else output[0]).clamp(0, 1)[0]
        errors.append(float((scene - truth).abs().mean()))
    return sum(errors) / len(errors)
