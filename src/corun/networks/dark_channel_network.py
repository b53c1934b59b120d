"""The dark-channel prior as a network: the classical baseline behind the same door as the rest."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from corun.physics.dark_channel import DarkChannelResult, dark_channel_prior


class DarkChannelNetwork(nn.Module):
    """`dark_channel_prior` as a module without parameters (He, Sun and Tang, CVPR 2009).

    Args:
        patch: side of the dark channel's window, pixels, odd.
        omega: share of the haze that is removed, in [0,1].
        t_min: least transmission divided by, unitless, in (0,1].
        radius: of the guided filter, pixels.
        epsilon: regularisation of the guided filter.
    """

    def __init__(
        self,
        *,
        patch: int = 15,
        omega: float = 0.95,
        t_min: float = 0.1,
        radius: int = 40,
        epsilon: float = 1e-3,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.omega = omega
        self.t_min = t_min
        self.radius = radius
        self.epsilon = epsilon

    def forward(self, hazy: Float[Tensor, "b 3 h w"]) -> DarkChannelResult:
        """Scene (not clamped), transmission and airlight of RGB pictures in [0,1]."""
        return dark_channel_prior(
            hazy,
            patch=self.patch,
            omega=self.omega,
            t_min=self.t_min,
            radius=self.radius,
            epsilon=self.epsilon,
        )
