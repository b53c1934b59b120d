"""The atmospheric scattering model, P = J·t + A·(1−t), as pure functions.

Legend: P ``hazy``, J ``scene`` (both RGB, sRGB-encoded, [0,1]), t ``transmission`` (unitless, the
fraction of the scene's light that reaches the camera, in (0,1]), A ``airlight`` (RGB, the colour
of infinitely thick haze). Shapes: b images, c channels (3 for RGB), h rows, w columns.

Every function takes NumPy arrays and torch tensors, of any device and floating dtype, broadcasts a
one-channel transmission over the colour channels, and is differentiable in all its tensors.
Nothing here imports torch.

Source: Koschmieder 1924; the form used here is Eq. 1 of He, Sun and Tang, "Single Image Haze
Removal Using Dark Channel Prior" (CVPR 2009), and Eq. 1 of Fang et al. (NeurIPS 2024).
"""

from __future__ import annotations

from typing import Any

Array = Any
"""A floating-point numpy.ndarray or torch.Tensor; only what both share is used."""

TRANSMISSION_FLOOR = 0.05
"""The least transmission that is divided by; CORUN clamps its own estimate at the same value."""


def add_haze(
    scene: Array,
    transmission: Array,
    airlight: Array | float,
) -> Array:
    """P = J·t + A·(1−t).

    Args:
        scene: J, clear picture, [0,1], (…,c,h,w).
        transmission: t, unitless, [0,1]; one channel, or one per colour (spectral haze).
        airlight: A, [0,1]; (B,3,1,1), or anything that broadcasts to the scene, or one number.

    Returns:
        The hazy picture, in [0,1] where its arguments are: it is a convex combination of them.
    """
    return scene * transmission + airlight * (1 - transmission)


def remove_haze(
    hazy: Array,
    transmission: Array,
    airlight: Array | float,
    *,
    t_min: float = TRANSMISSION_FLOOR,
) -> Array:
    """J = (P − A·(1−t'))/t' with t' = max(t, t_min): the exact inverse of :func:`add_haze`.

    The inverse amplifies whatever error P, t and A carry by 1/t'; the floor bounds that factor, so
    that thick haze gives a finite answer instead of noise (He et al. 2009, Eq. 22, use 0.1).

    Args:
        hazy: P, [0,1].
        transmission: t, unitless, [0,1]; one channel, or one per colour.
        airlight: A, [0,1]; (B,3,1,1), or anything that broadcasts to the picture, or one number.
        t_min: the floor, in (0,1].

    Returns:
        The scene. It is not clamped: values outside [0,1] tell that t or A does not fit P.

    Raises:
        ValueError: t_min is not in (0,1].
    """
    if not 0 < t_min <= 1:
        raise ValueError(f"t_min must be in (0, 1], got {t_min}")
    floored = transmission.clip(t_min, None)
    return (hazy - airlight * (1 - floored)) / floored
