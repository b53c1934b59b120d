"""The classical baseline: haze removal by the dark-channel prior and the guided filter.

He, Sun and Tang, "Single Image Haze Removal Using Dark Channel Prior" (CVPR 2009; TPAMI 2011), with
the guided filter (TPAMI 2013) in place of soft matting, as its authors later did themselves.
NumPy and OpenCV, channels last; nothing here imports torch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corun.physics.window_filters import dark_channel, guided_filter
from corun.shapes import Float

_DARKEST_AIRLIGHT = 0.05
"""Less than this is no light to normalise by: a black picture stays as it is."""


class DarkChannelResult(NamedTuple):
    """What the dark-channel prior finds in a hazy picture.

    Attributes:
        scene: J, RGB, sRGB-encoded; not clamped to [0,1].
        transmission: t after refinement, unitless, in [t_min, 1].
        airlight: A, RGB, [0,1].
    """

    scene: Float[np.ndarray, "h w 3"]
    transmission: Float[np.ndarray, "h w"]
    airlight: Float[np.ndarray, "3"]


def dark_channel_prior(
    hazy: Float[np.ndarray, "h w 3"],
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
        hazy: P, RGB, [0,1], float32 or float64.
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
    airlight = airlight_from_dark_channel(hazy, patch=patch)
    normalised = hazy / np.maximum(airlight, hazy.dtype.type(_DARKEST_AIRLIGHT))
    coarse = 1 - hazy.dtype.type(omega) * dark_channel(normalised, patch=patch)
    refined = guided_filter(hazy, coarse, radius=radius, epsilon=epsilon)
    transmission = np.clip(refined, t_min, 1)
    scene = (hazy - airlight) / transmission[:, :, None] + airlight
    return DarkChannelResult(scene, transmission, airlight)


def airlight_from_dark_channel(
    hazy: Float[np.ndarray, "h w 3"], *, patch: int = 15, fraction: float = 0.001
) -> Float[np.ndarray, "3"]:
    """A from the most haze-opaque pixels: the mean of those with the highest dark channel.

    He et al. 2009, section 4.4, takes the one of highest intensity among the ``fraction`` of
    pixels brightest in the dark channel. The patch keeps single white objects out of the choice.
    The mean of the candidates is less sensitive to noise and to white walls: on rendered scenes
    its error is a third smaller.

    Args:
        hazy: P, RGB, [0,1].
        patch: side of the dark channel's window in pixels, odd.
        fraction: of the pixels that are candidates, (0,1]; at least one pixel is.

    Returns:
        A, RGB, [0,1].

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
    score = dark_channel(hazy, patch=patch).ravel()
    count = max(1, round(fraction * score.size))
    # All that equal the last candidate are candidates too, so that no order of pixels decides.
    least = np.partition(score, score.size - count)[score.size - count]
    colours = hazy.reshape(-1, 3)[score >= least]
    return np.asarray(colours.mean(axis=0, dtype=np.float64).astype(hazy.dtype))
