"""The embedded pair, which needs no download: our density network and our pristine model."""

from __future__ import annotations

from dataclasses import astuple
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.judges.natural_scene import NaturalSceneQuality, load_models
from corun.judges.protocols import Scores, block_means
from corun.networks.density_net import STRIDE, DensityNet, load_density_net
from corun.networks.fingerprint import fingerprint, values_fingerprint

DENSITY_FILE = "density.safetensors"
QUALITY_FILE = "quality.json"


class EmbeddedDensity:
    """D by :class:`~corun.networks.density_net.DensityNet`; differentiable.

    Args:
        network: frozen.
        name: what pools call it.
    """

    differentiable = True

    def __init__(self, network: DensityNet, name: str = "density-net") -> None:
        self.network, self.name = network, name

    def overall(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """D of pictures, [0,1]."""
        overall: Tensor = self._read(image).overall
        return overall

    def _read(self, image: Tensor) -> Any:
        # The hand-made layer needs more digits than bfloat16 has.
        with torch.autocast(image.device.type, enabled=False):
            return self.network(image.float())

    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """D of pictures and of their blocks, [0,1]."""
        height, width = image.shape[-2:]
        density = self._read(image)
        full = F.interpolate(density.map, scale_factor=STRIDE, mode="nearest")
        return Scores(density.overall, block_means(full[..., :height, :width], block))

    def to(self, device: torch.device) -> EmbeddedDensity:
        """Move to a device, in place."""
        self.network.to(device)
        return self


def embedded_density(path: Path | None = None) -> EmbeddedDensity:
    """The shipped density network, or one of your own.

    Raises:
        WeightsError: the file is missing or of another layout.
    """
    network = load_density_net(shipped(DENSITY_FILE) if path is None else path)
    return EmbeddedDensity(network, f"density-net {fingerprint(network)}")


def embedded_quality(path: Path | None = None) -> NaturalSceneQuality:
    """The shipped pristine model, or one of your own.

    Raises:
        WeightsError: the file is missing or of another layout.
    """
    models = load_models(shipped(QUALITY_FILE) if path is None else path)
    numbers = [value for model in models for value in astuple(model)]
    return NaturalSceneQuality(models, f"natural-scene {values_fingerprint(*numbers)}")


def shipped(name: str) -> Path:
    """A file that comes with the package."""
    return Path(str(files("corun") / "weights" / name))
