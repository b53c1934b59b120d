"""The classical baseline: haze removal by the dark-channel prior and the guided filter.

He, Sun and Tang, "Single Image Haze Removal Using Dark Channel Prior" (CVPR 2009; TPAMI 2011), with
the guided filter (TPAMI 2013) in place of soft matting, as its authors later did themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from corun.physics.airlight import airlight_from_dark_channel
from corun.physics.scattering import remove_haze
from corun.physics.window_filters import dark_channel, guided_filter

__all__ = ["DarkChannelResult", "dark_channel", "dark_channel_prior", "guided_filter"]

_DARKEST_AIRLIGHT = 0.05
"""Less than this is no light to normalise by: a black picture stays as it is."""


class DarkChannelResult(NamedTuple):
    """What the dark-channel prior finds in a hazy picture."""

    scene: Tensor
    """J, (B,3,H,W), RGB, sRGB-encoded; not clamped to [0,1]."""
    transmission: Tensor
    """t after refinement, (B,1,H,W), unitless, in [t_min, 1]."""
    airlight: Tensor
    """A, (B,3,1,1), RGB, [0,1]."""


def dark_channel_prior(
    hazy: Float[Tensor, "b 3 h w"],
    *,
    patch: int = 15,
    omega: float = 0.95,
    t_min: float = 0.1,
    radius: int = 40,
    epsilon: float = 1e-3,
) -> DarkChannelResult:
    """Dehaze by the prior that some colour is near 0 in every patch of a haze-free picture.

    A from the haze-opaque pixels; t̃ = 1 − ω·dark(P/A) (He et al. 2011, Eq. 12); t = the guided
    filter of t̃ with P as guide, in [t_min, 1]; J = (P − A)/t + A (Eq. 16).

    Args:
        hazy: P, RGB, [0,1].
        patch: side of the dark channel's window in pixels, odd; 15 suits pictures of about 600×400.
        omega: ω, the share of the haze that is removed, [0,1]; the paper keeps 5 % for depth.
        t_min: the least transmission divided by, (0,1].
        radius: of the guided filter in pixels.
        epsilon: of the guided filter.

    Returns:
        Scene, transmission and airlight, in the dtype of the picture.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0 <= omega <= 1:
        raise ValueError(f"omega must be in [0, 1], got {omega}")
    working = hazy if hazy.dtype == torch.float64 else hazy.float()
    airlight = airlight_from_dark_channel(working, patch=patch)
    normalised = working / airlight.clamp(min=_DARKEST_AIRLIGHT)
    coarse = 1 - omega * dark_channel(normalised, patch=patch)
    refined = guided_filter(working, coarse, radius=radius, epsilon=epsilon)
    transmission = refined.clamp(t_min, 1)
    scene = remove_haze(working, transmission, airlight, t_min=t_min)
    return DarkChannelResult(
        scene.to(hazy.dtype), transmission.to(hazy.dtype), airlight.to(hazy.dtype)
    )
