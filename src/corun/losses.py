"""The losses of pre-training and adaptation, each a pure function or a small module.

Sources: Fang et al., NeurIPS 2024, §3.2 (coherence losses) and Eq. 13–17; Wu et al., CVPR 2021,
for the contrastive perceptual ratio; Johnson et al., ECCV 2016, for the perceptual loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from corun.errors import WeightsError
from corun.networks.brought import read_state

VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
PUBLISHED_LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)

# The convolutions of VGG-19 up to relu5_1 by their index in torchvision's `features`, and in the
# plain layout that holds relu1_1 to relu3_1 with reflect padding and a 1×1 input convolution.
_TORCHVISION_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
_PLAIN_CONVOLUTIONS = (2, 5, 9, 12, 16)
_POOL_BEFORE = {2, 4, 8, 12}  # by number of the convolution
_CONVOLUTION_NAMES = tuple(
    f"relu{block}_{i}"
    for block, count in enumerate((2, 2, 4, 4, 1), 1)
    for i in range(1, count + 1)
)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def pixel_loss(
    scene: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, ""]:
    """Mean of |J − G| over all elements (Eq. 13's first term).

    Args:
        scene: J, RGB.
        target: G, RGB, [0,1].
    """
    return (scene - target).abs().mean()


def colour_loss(
    scene: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, ""]:
    """Mean of |(J − J̄) − (G − Ḡ)|, the bars averaging over the channels: colour, not brightness.

    Args:
        scene: J, RGB.
        target: G, RGB, [0,1].
    """
    return pixel_loss(scene - scene.mean(1, keepdim=True), target - target.mean(1, keepdim=True))


def weighted_pixel_loss(
    scene: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 h w"],
    weight: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, ""]:
    """Mean of w·|J − J*| over all elements (§3.3, trusted weights).

    Args:
        scene: J, RGB.
        target: the pseudo label J*, RGB, [0,1].
        weight: w, trusted weight, unitless, [0,1].
    """
    return (weight * (scene - target).abs()).mean()


def scattering_consistency_loss(
    scene: Float[Tensor, "b 3 h w"],
    transmission: Float[Tensor, "b 1 h w"],
    hazy: Float[Tensor, "b 3 h w"],
    weight: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of |J·T + (1 − T) − P|, local coherence: the output must explain the input (Eq. 14).

    Args:
        scene: J, RGB.
        transmission: T, unitless, (0,1].
        hazy: P, RGB, [0,1].
        weight: trusted weight, unitless, [0,1]; none counts as 1.
    """
    residual = (scene * transmission + (1 - transmission) - hazy).abs()
    return (residual if weight is None else weight * residual).mean()


def transmission_loss(
    transmission: Float[Tensor, "b 1 h w"],
    truth: Float[Tensor, "b 1 h w"],
    known: Bool[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of |T − t| over all elements; pictures whose t is not known count as 0.

    A picture so weighs the same whatever else is in its batch.

    Args:
        transmission: T, unitless.
        truth: t, unitless, (0,1].
        known: of which pictures it is the truth; None for all.
    """
    error = (transmission - truth).abs()
    return error.mean() if known is None else (error * known.view(-1, 1, 1, 1)).mean()


def gradient_loss(
    scene: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, ""]:
    """Mean of |∇J − ∇G| over both directions: outlines and local contrast.

    Args:
        scene: J, RGB.
        target: G, RGB, [0,1].
    """
    error = scene - target
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return 0.5 * (across + down)


SSIM_WINDOW = 7
SSIM_STRIDE = 3


def structure_loss(
    scene: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, ""]:
    """1 − SSIM with uniform windows of 7×7 pixels, every third (Wang et al., IEEE TIP 2004).

    Args:
        scene: J, RGB.
        target: G, RGB, [0,1].
    """
    batch, channels = scene.shape[:2]
    x, y = scene - 0.5, target - 0.5  # so that the squares lose no digits
    maps = torch.cat((x, y, x * x + y * y, x * y), 1)
    pooled = F.avg_pool2d(maps, SSIM_WINDOW, SSIM_STRIDE)
    mean_x, mean_y, squares, products = pooled.view(batch, 4, channels, *pooled.shape[-2:]).unbind(
        1
    )
    c1, c2 = 0.01**2, 0.03**2
    variances = squares - mean_x.square() - mean_y.square()
    covariance = products - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return 1 - (luminance * structure).mean()


class VggFeatures(nn.Module):
    """VGG-19 features relu1_1 … relu5_1, as far as the given file goes, frozen.

    Two layouts are read: torchvision's ``vgg19`` state dict (``features.0.weight`` …, zero
    padding, ImageNet normalisation; Simonyan & Zisserman 2015), and a plain one whose ``0`` is a
    1×1 convolution that prepares RGB in [0,1] and whose 3×3 convolutions ``2, 5, 9, 12, 16`` use
    reflect padding, up to relu3_1.

    Args:
        path: the local weights file.
        layers: what is returned, by the names of :data:`VGG_LAYERS` or ``relu1_2`` and the like;
            nothing for those of :data:`VGG_LAYERS` that the file has.

    Raises:
        WeightsError: the file is missing, unreadable or of neither layout, or lacks a layer.
    """

    def __init__(self, path: Path | str, layers: Sequence[str] = ()) -> None:
        super().__init__()
        state = read_state(Path(path))
        if "features.0.weight" in state:
            state = {n.removeprefix("features."): t for n, t in state.items()}
        plain = state.get("0.weight", torch.empty(0)).shape[-2:] == (1, 1)
        names = _PLAIN_CONVOLUTIONS if plain else _TORCHVISION_CONVOLUTIONS
        found = [n for n in names if f"{n}.weight" in state and f"{n}.bias" in state]
        if not found or found != list(names[: len(found)]):
            raise WeightsError(
                f"{path}: not a VGG-19 state dict; expected torchvision's vgg19 "
                "(features.0.weight …) or its plain form up to relu3_1 (0.weight, 2.weight …)"
            )
        self.padding_mode = "reflect" if plain else "constant"
        self.convolutions = nn.ModuleList(
            _filled_convolution(state[f"{n}.weight"], state[f"{n}.bias"]) for n in found
        )
        if plain:
            self.prepare = _filled_convolution(state["0.weight"], state["0.bias"])
        else:
            std = torch.tensor(_IMAGENET_STD)
            mean = torch.tensor(_IMAGENET_MEAN)
            self.prepare = _filled_convolution(torch.diag(1 / std)[:, :, None, None], -mean / std)
        available = _CONVOLUTION_NAMES[: len(found)]
        self.layers = tuple(layers) or tuple(name for name in VGG_LAYERS if name in available)
        lacking = [name for name in self.layers if name not in available]
        if lacking:
            raise WeightsError(
                f"{path}: has no {', '.join(lacking)}; its layers are {', '.join(available)}"
            )
        self.taps = [available.index(name) for name in self.layers]
        del self.convolutions[max(self.taps) + 1 :]  # what nothing asks for is not computed
        self.requires_grad_(False)
        self.eval()

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Features of RGB in [0,1], a map for each of ``self.layers``, in their order."""
        # Channels last is two to three times as fast in bfloat16 on CPUs.
        x = self.prepare(image).contiguous(memory_format=torch.channels_last)
        taps = {}
        for i, convolution in enumerate(self.convolutions):
            if i in _POOL_BEFORE:
                x = F.max_pool2d(x, 2, ceil_mode=self.padding_mode == "reflect")
            x = F.relu(convolution(F.pad(x, (1, 1, 1, 1), mode=self.padding_mode)))
            if i in self.taps:
                taps[i] = x
        return [taps[i] for i in self.taps]


def perceptual_loss(
    scene: Sequence[Tensor], target: Sequence[Tensor], layer_weights: Sequence[float]
) -> Float[Tensor, ""]:
    """Σ_l w_l·mean|φ_l(J) − φ_l(G)|.

    Args:
        scene: φ_l(J), from :class:`VggFeatures`.
        target: φ_l(G).
        layer_weights: w_l, one per layer.
    """
    terms = zip(scene, target, layer_weights, strict=True)
    return torch.stack([w * (a - b).abs().mean() for a, b, w in terms]).sum()


def contrastive_perceptual_loss(
    scene: Sequence[Tensor],
    positive: Sequence[Tensor],
    negative: Sequence[Tensor],
    layer_weights: Sequence[float],
    epsilon: float = 1e-7,
) -> Float[Tensor, ""]:
    """Near the clear, far from the hazy.

        Σ_l w_l·mean|φ_l(J) − φ_l(G)| / (mean|φ_l(J) − φ_l(P)| + ε)

    Args:
        scene: φ_l(J), from :class:`VggFeatures`.
        positive: φ_l of the clean photo or pseudo label.
        negative: φ_l of the hazy photo.
        layer_weights: w_l, one per layer.
        epsilon: ε, keeps the ratio finite where J = P.
    """
    terms = zip(scene, positive, negative, layer_weights, strict=True)
    return torch.stack(
        [w * (a - p).abs().mean() / ((a - n).abs().mean() + epsilon) for a, p, n, w in terms]
    ).sum()


def density_loss(density: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean haze density of the outputs, global coherence (Eq. 15): D in [0,1], lower is clearer.

    Args:
        density: D(J) of each output, from a differentiable evaluator.
    """
    return density.mean()


def layer_weights_for(features: VggFeatures) -> tuple[float, ...]:
    """The published weights of the layers that the file has, rescaled to the published sum."""
    weights = PUBLISHED_LAYER_WEIGHTS[: len(features.layers)]
    scale = sum(PUBLISHED_LAYER_WEIGHTS) / sum(weights)
    return tuple(w * scale for w in weights)


def _filled_convolution(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    out_channels, in_channels, height, width = weight.shape
    convolution = nn.Conv2d(in_channels, out_channels, (height, width))
    convolution.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return convolution
