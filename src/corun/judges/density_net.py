"""The embedded judge of haze density: a small network that reads it part by part.

It is trained on synthetic haze, where the answer is known: the density of a region is
D = 1 − mean T, with T the transmission, unitless. It is differentiable, and quick
because its first layer is hand-made: statistics of 4×4 cells on which every classical haze
measure rests (dark channel, saturation, local contrast).

Letters: b pictures, h height, w width, m and n rows and columns of the map.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import WeightsError
from corun.files import shipped
from corun.judges.facts import JUDGES
from corun.judges.protocols import Scores, block_means
from corun.networks.checkpoints import write_safetensors
from corun.networks.fingerprint import fingerprint

CELL = 4
STRIDE = 16
"""Pixels per side of one value of the density map."""


class Density(NamedTuple):
    """How hazy a batch is.

    Attributes:
        overall: D of the whole picture, [0,1], 0 = clear, the mean of the map.
        map: D of each square of 16×16 pixels, [0,1].
    """

    overall: Float[Tensor, " b"]
    map: Float[Tensor, "b 1 m n"]


class DensityNet(nn.Module):
    """Cell statistics, four convolutions, a sigmoid.

    Args:
        width: channels of the first convolution; the last has twice as many.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.width = width
        middle, wide = width * 4 // 3, width * 2
        self.layers = nn.Sequential(
            nn.Conv2d(7, width, 3, padding=1, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(width, middle, 3, stride=2, padding=1, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(middle, wide, 3, stride=2, padding=1, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(wide, wide, 3, padding=2, dilation=2, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(wide, 1, 1),
        )

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Density:
        """Read the density of RGB in [0,1] of any size; values outside count as the nearest."""
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        values = torch.sigmoid(self.layers(cell_statistics(within_range(padded))))
        return Density(values.flatten(1).mean(1), values)


def within_range(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Clamped to [0,1], with the gradient of the unclamped values.

    A network's raw output leaves [0,1]; a plain clamp would take its gradient away there.
    """
    return image + (image.clamp(0, 1) - image).detach()


def cell_statistics(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 7 m n"]:
    """Mean R, G, B, the least value of any channel, saturation and two contrasts of 4×4 cells.

    Saturation is mean (max_c − min_c)/(max_c + 0.05); contrast is log(σ + 0.01), σ the standard
    deviation of the luminance (absolute, and relative to the mean: σ/(μ + 0.05)).

    Args:
        image: RGB, [0,1], sides multiples of 4.
    """
    mean = F.avg_pool2d(image, CELL)
    lowest, highest = image.amin(1, keepdim=True), image.amax(1, keepdim=True)
    dark = -F.max_pool2d(-lowest, CELL)
    saturation = F.avg_pool2d((highest - lowest) / (highest + 0.05), CELL)
    grey = image.mean(1, keepdim=True)
    level = F.avg_pool2d(grey, CELL)
    variance = (F.avg_pool2d(grey * grey, CELL) - level * level).clamp(min=0)
    deviation = (variance + 1e-6).sqrt()
    absolute = (deviation + 0.01).log() + 3
    relative = (deviation / (level + 0.05) + 0.01).log() + 2.5
    return torch.cat((mean * 2 - 1, dark * 2 - 1, saturation, absolute, relative), 1)


def save_density_net(path: Path, network: DensityNet) -> None:
    """Write the weights as float16 safetensors, atomically; about 90 kB."""
    tensors = {n: t.detach().half().cpu().contiguous() for n, t in network.state_dict().items()}
    write_safetensors(path, tensors)


def load_density_net(path: Path) -> DensityNet:
    """Read what :func:`save_density_net` wrote, float32, frozen, in evaluation mode.

    Raises:
        WeightsError: the file is missing, unreadable or of another layout.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file; the haze-density weights come with corun or are made by "
            "'corun train density'"
        )
    try:
        state = {name: tensor.float() for name, tensor in load_file(path).items()}
        network = DensityNet(state["layers.0.bias"].shape[0])
        network.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: not the weights of a haze-density network; make one with "
            "'corun train density'"
        ) from error
    return network.eval().requires_grad_(False)


class EmbeddedDensity:
    """D by :class:`DensityNet`; differentiable.

    Args:
        network: frozen.
        name: what pools call it.
    """

    differentiable = JUDGES["density-net"].differentiable

    def __init__(self, network: DensityNet, name: str = "density-net") -> None:
        self.network, self.name = network, name

    def overall(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """D of pictures, [0,1]."""
        return self._read(image).overall

    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """D of pictures and of their blocks, [0,1]."""
        height, width = image.shape[-2:]
        density = self._read(image)
        full = F.interpolate(density.map, scale_factor=STRIDE, mode="nearest")
        return Scores(density.overall, block_means(full[..., :height, :width], block))

    def _read(self, image: Tensor) -> Density:
        # The hand-made layer needs more digits than bfloat16 has.
        with torch.autocast(image.device.type, enabled=False):
            density: Density = self.network(image.float())
            return density

    def to(self, device: torch.device) -> EmbeddedDensity:
        """Move to a device, in place."""
        self.network.to(device)
        return self


def embedded_density(path: Path | None = None) -> EmbeddedDensity:
    """The shipped density network, or one of your own.

    Raises:
        WeightsError: the file is missing or of another layout.
    """
    network = load_density_net(shipped("density.safetensors") if path is None else path)
    return EmbeddedDensity(network, f"density-net {fingerprint(network)}")
