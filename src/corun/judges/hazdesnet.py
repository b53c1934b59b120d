"""HazDesNet, a small network that predicts a map of haze density, as a judge of it.

Zhang, Min, Zhu, Zhai, Zhou, Yang and Zhang, "HazDesNet: An End-to-End Network for Haze Density
Prediction" (IEEE Transactions on Intelligent Transportation Systems, 2022). The published weights
are a Keras HDF5 file; it is read here as it is, without Keras.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from corun.errors import MissingExtraError, WeightsError
from corun.judges.facts import JUDGES
from corun.judges.protocols import Scores, pixel_block_means
from corun.networks.fingerprint import fingerprint

MIN_SIDE = 32
"""Below this many pixels the network's windows do not fit."""

_KERAS_LAYERS = {
    "conv2d_1": "colour",
    "conv2d_2": "mix",
    "batch_normalization_1": "normalisation",
    "conv2d_3": "texture",
    "conv2d_4": "density",
}
_KERAS_ARRAYS = {
    "kernel:0": "weight",
    "bias:0": "bias",
    "gamma:0": "weight",
    "beta:0": "bias",
    "moving_mean:0": "running_mean",
    "moving_variance:0": "running_var",
}


class HazDesNet(nn.Module):
    """Haze density of a picture, (B,1,H',W'), in (0,1); larger = hazier.

    conv 5×5 (24) → conv 1×1 (24) → max-pool 2 → batch norm → conv 5×5 (48) → [max-pool 5, stride 1;
    average-pool 5, stride 1] → conv 6×6 (1) → sigmoid; nothing is padded and there is no other
    activation. H' = ⌊(H−4)/2⌋ − 13, likewise W'. A map's mean is the picture's score.

    Differentiable: it can serve as a loss or as Colabator's D.
    """

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Conv2d(3, 24, 5)
        self.mix = nn.Conv2d(24, 24, 1)
        self.normalisation = nn.BatchNorm2d(24, eps=1e-3)
        self.texture = nn.Conv2d(24, 48, 5)
        self.density = nn.Conv2d(96, 1, 6)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 dh dw"]:
        """The density map.

        Args:
            image: RGB, sRGB-encoded, [0,1], at least 32×32 pixels. (The weights were trained on
                BGR in 0–255; the order and the range are changed here.)

        Raises:
            ValueError: the picture is too small.
        """
        if min(image.shape[-2:]) < MIN_SIDE:
            height, width = image.shape[-2:]
            raise ValueError(
                f"HazDesNet needs pictures of at least {MIN_SIDE}×{MIN_SIDE} pixels, "
                f"got {width}×{height}"
            )
        features = self.mix(self.colour(image.flip(1) * 255))
        features = self.texture(self.normalisation(F.max_pool2d(features, 2)))
        pooled = (F.max_pool2d(features, 5, 1), F.avg_pool2d(features, 5, 1))
        density: Tensor = torch.sigmoid(self.density(torch.cat(pooled, 1)))
        return density

    def mean_density(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """The mean of the map, in double precision: the published score."""
        density: Tensor = self(image.float())
        return density.mean((1, 2, 3), dtype=torch.float64)


def map_index(side: int, count: int) -> Int64[Tensor, " s"]:
    """Which of a map's ``count`` values along one side is centred nearest to each pixel.

    Value k sees the pixels 2k … 2k+31, so its centre lies between the pixels 2k+15 and 2k+16.
    """
    return ((torch.arange(side) - 15) // 2).clamp(0, count - 1)


class HazDesNetDensity:
    """D = the mean of HazDesNet's map, [0,1]; differentiable.

    Args:
        network: frozen.
    """

    differentiable = JUDGES["hazdesnet"].differentiable

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


def load_hazdesnet(path: Path | str) -> HazDesNet:
    """Read the published weights, in evaluation mode and without gradients of their own.

    Args:
        path: the Keras file of weights, e.g. ``weights.hdf5`` of the authors' repository.

    Raises:
        WeightsError: the file is missing, is not HDF5, or holds other layers.
        MissingExtraError: h5py is not installed.
    """
    path = Path(path)
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "metrics") from error
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file; HazDesNet's weights are weights/weights.hdf5 of the "
            "repository JiaheZhang/HazDesNet"
        )
    try:
        with h5py.File(path, "r") as file:
            state = _torch_state(file)
    except (OSError, KeyError) as error:
        raise WeightsError(
            f"{path}: not HazDesNet's Keras weights ({' '.join(str(error).split())}); "
            "give weights.hdf5 of the repository JiaheZhang/HazDesNet"
        ) from error
    network = HazDesNet()
    wanted = {
        name: tensor.shape
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    found = {name: tensor.shape for name, tensor in state.items()}
    if found != wanted:
        raise WeightsError(f"{path}: its layers have other shapes than HazDesNet's; check the file")
    state["normalisation.num_batches_tracked"] = torch.zeros((), dtype=torch.long)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _torch_state(file: Any) -> dict[str, Tensor]:
    """Tensors by the names of HazDesNet's modules; kernels turned from (h,w,in,out)."""
    state = {}
    for layer, module in _KERAS_LAYERS.items():
        group = file[layer][layer]
        for key in group:
            tensor = torch.from_numpy(group[key][()]).float()
            if tensor.ndim == 4:
                tensor = tensor.permute(3, 2, 0, 1).contiguous()
            state[f"{module}.{_KERAS_ARRAYS[key]}"] = tensor
    return state
