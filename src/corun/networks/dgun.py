"""Deep generalised unfolding (Mou, Wang and Zhang, CVPR 2022), as it serves for dehazing.

The degradation P = Φ(J) is unknown, so gradient descent on ½‖P − Φ(J)‖² uses a learned Φ and a
learned transpose, and a network in place of the proximal step:

    J̃ₖ = Jₖ₋₁ − ρₖ·Φₖᵀ(Φₖ(Jₖ₋₁) − P),     Jₖ = J̃ₖ + Proxₖ(J̃ₖ, sₖ₋₁),

with ρₖ learned and s the features that a stage hands to the next, so that information is not
squeezed through three channels between stages.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from corun.networks.plain_unet import double_convolution
from corun.networks.reduction import pad_to_multiple


class GradientStep(nn.Module):
    """J − ρ·Φᵀ(Φ(J) − P) with residual two-layer networks for Φ and Φᵀ.

    Args:
        dim: channels between the two layers.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.tensor([0.5]))
        self.phi = _operator(dim)
        self.phi_transposed = _operator(dim)

    def forward(
        self, hazy: Float[Tensor, "b 3 h w"], scene: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 3 h w"]:
        """P, Jₖ₋₁ → J̃ₖ."""
        residual = scene + self.phi(scene) - hazy
        stepped: Tensor = scene - self.rho * (residual + self.phi_transposed(residual))
        return stepped


class ProximalStep(nn.Module):
    """J̃ + Prox(J̃, s): an encoder, the last stage's features, and a decoder.

    Args:
        dim: channels at full size; twice as many at half.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, dim, 3, padding=1)
        self.fuse = nn.Conv2d(2 * dim, dim, 1)
        self.encode = double_convolution(dim, dim)
        self.deep = double_convolution(dim, 2 * dim)
        self.decode = double_convolution(3 * dim, dim)
        self.out = nn.Conv2d(dim, 3, 3, padding=1)

    def forward(
        self, scene: Float[Tensor, "b 3 h w"], features: Float[Tensor, "b d h w"]
    ) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b d h w"]]:
        """J̃ₖ, sₖ₋₁ → Jₖ, sₖ."""
        x = self.encode(self.fuse(torch.cat((self.enter(scene), features), 1)))
        low = self.deep(nn.functional.avg_pool2d(x, 2))
        low = nn.functional.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)
        x = self.decode(torch.cat((low, x), 1))
        return scene + self.out(x), x


class Dgun(nn.Module):
    """K stages of a gradient step and a proximal step.

    Args:
        stages: K.
        dim: channels at full size.
    """

    def __init__(self, stages: int = 4, dim: int = 32) -> None:
        super().__init__()
        self.dim = dim
        self.gradient = nn.ModuleList(GradientStep(dim) for _ in range(stages))
        self.proximal = nn.ModuleList(ProximalStep(dim) for _ in range(stages))

    def forward(self, hazy: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Scene J_K (not clamped) of RGB in [0,1], any size."""
        height, width = hazy.shape[-2:]
        P = J = pad_to_multiple(hazy, 2)
        s = P.new_zeros(P.shape[0], self.dim, *P.shape[-2:])
        for gradient, proximal in zip(self.gradient, self.proximal, strict=True):
            J, s = proximal(gradient(P, J), s)
        return J[..., :height, :width]


def _operator(dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, dim, 3, padding=1), nn.GELU(), nn.Conv2d(dim, 3, 3, padding=1)
    )
