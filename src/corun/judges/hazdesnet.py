"""HazDesNet as haze density, from a local file in its published layout."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.judges.protocols import Scores, pixel_block_means
from corun.networks.fingerprint import fingerprint
from corun.networks.hazdesnet import MIN_SIDE, HazDesNet, map_index
from corun.networks.hazdesnet import load_hazdesnet as load_network


class HazDesNetDensity:
    """D = the mean of HazDesNet's map, [0,1]; differentiable.

    Args:
        network: frozen.
    """

    differentiable = True

    def __init__(self, network: HazDesNet) -> None:
        self.network = network
        self.name = f"hazdesnet {fingerprint(network)}"

    def overall(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """D of pictures."""
        return self._map(image).flatten(1).mean(1)

    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """D of pictures and of their blocks; each pixel counts with the value centred nearest."""
        density = self._map(image)
        rows, columns = (
            map_index(side, count).to(image.device)
            for side, count in zip(image.shape[-2:], density.shape[-2:], strict=True)
        )
        return Scores(density.flatten(1).mean(1), pixel_block_means(density, rows, columns, block))

    def _map(self, image: Tensor) -> Tensor:
        """Small pictures are continued by their border."""
        height, width = image.shape[-2:]
        missing = (0, max(0, MIN_SIDE - width), 0, max(0, MIN_SIDE - height))
        with torch.autocast(image.device.type, enabled=False):
            density: Tensor = self.network(F.pad(image.float(), missing, mode="replicate"))
        return density

    def to(self, device: torch.device) -> HazDesNetDensity:
        """Move to a device, in place."""
        self.network.to(device)
        return self


def load_hazdesnet(path: Path) -> HazDesNetDensity:
    """Read the published weights.

    Raises:
        WeightsError: the file is missing or not HazDesNet's.
        MissingExtraError: h5py is not installed.
    """
    return HazDesNetDensity(load_network(path))
