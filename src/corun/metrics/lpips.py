"""LPIPS, a distance of deep features that agrees with people better than PSNR.

Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric" (CVPR 2018), version 0.1 with AlexNet. The weights are two files of the user's:
the backbone as torchvision publishes it (``alexnet-owt-7be5be79.pth``) and the linear heads as the
authors do (``lpips/weights/v0.1/alex.pth``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import WeightsError
from corun.metrics.full_reference import require_same_size
from corun.networks.brought import read_state


class _Layer(NamedTuple):
    key: int
    """Its number in torchvision's ``features``."""
    channels: int
    size: int
    stride: int
    padding: int
    pooled: bool
    """Whether a 3×3 max-pool of stride 2 comes before it."""


_ALEXNET = (
    _Layer(0, 64, 11, 4, 2, False),
    _Layer(3, 192, 5, 1, 2, True),
    _Layer(6, 384, 3, 1, 1, True),
    _Layer(8, 256, 3, 1, 1, False),
    _Layer(10, 256, 3, 1, 1, False),
)
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
MIN_SIDE = 31
"""Below this many pixels the last pooling has nothing left."""


class Lpips(nn.Module):
    """d(x, y) = Σ_l mean_hw Σ_c w_lc·(φ̂_l(x) − φ̂_l(y))², φ̂ of unit length over the channels.

    Lower is better; 0 for equal pictures, usually below 1. Differentiable.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        inputs = [3, *(layer.channels for layer in _ALEXNET[:-1])]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, layer.channels, layer.size, layer.stride, layer.padding)
            for before, layer in zip(inputs, _ALEXNET, strict=True)
        )
        self.heads = nn.ParameterList(
            nn.Parameter(torch.zeros(layer.channels)) for layer in _ALEXNET
        )
        self.register_buffer("shift", torch.tensor(_SHIFT).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(3, 1, 1))

    def forward(
        self, pictures: Float[Tensor, "b 3 h w"], targets: Float[Tensor, "b 3 _ _"]
    ) -> Float[Tensor, "b"]:
        """The distances of pairs.

        Args:
            pictures: RGB, sRGB-encoded, [0,1], at least 31×31 pixels.
            targets: the same of the true pictures.

        Raises:
            ValueError: the pictures differ in size or are too small.
        """
        require_same_size(pictures, targets, at_least=MIN_SIDE)
        distance = pictures.new_zeros(len(pictures))
        features = torch.cat((pictures, targets))
        features = (2 * features - 1 - self.shift) / self.scale
        for layer, convolution, head in zip(_ALEXNET, self.convolutions, self.heads, strict=True):
            if layer.pooled:
                features = F.max_pool2d(features, 3, 2)
            features = F.relu(convolution(features))
            # the authors' epsilon, outside the root
            unit = features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
            of_result, of_target = unit.chunk(2)
            weighted = torch.einsum("bchw,c->bhw", (of_result - of_target).square(), head)
            distance = distance + weighted.mean((1, 2))
        return distance


def load_lpips(backbone: Path | str, heads: Path | str) -> Lpips:
    """Read LPIPS from its two files, in evaluation mode and without gradients of its own.

    Args:
        backbone: torchvision's AlexNet, a state dict.
        heads: the linear heads, a state dict of ``lin0.model.1.weight`` … ``lin4.model.1.weight``.

    Raises:
        WeightsError: a file is missing, unreadable or of another network.
    """
    network = Lpips()
    alexnet, linear = read_state(Path(backbone)), read_state(Path(heads))
    state = dict(network.state_dict())
    for index, layer in enumerate(_ALEXNET):
        for kind in ("weight", "bias"):
            state[f"convolutions.{index}.{kind}"] = _take(
                Path(backbone), alexnet, f"features.{layer.key}.{kind}"
            )
        head = _take(Path(heads), linear, f"lin{index}.model.1.weight")
        state[f"heads.{index}"] = head.flatten()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{backbone} and {heads}: shapes of another network; LPIPS here is AlexNet, version 0.1"
        ) from error
    return network.eval().requires_grad_(False)


def _take(path: Path, state: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state:
        raise WeightsError(
            f"{path}: lacks {key}; LPIPS needs torchvision's AlexNet and the heads of lpips 0.1"
        )
    return state[key].float()
