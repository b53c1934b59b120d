"""The last J-step, taken at the photo's own size (docs/explanation/full-size-step.md).

The stages know the scene J, the photo P′ and the transmission T averaged over cells. What the
averages lost is restored by one more closed-form J-step at every pixel: the minimiser over J* of

    E(J*) = ½·(P − P′ − T·(J* − J))² + γ/2·(J* − J)²,   P′, J, T enlarged bilinearly, γ > 0,

which is J + a·(P − P′) with the gain a = T/(T² + γ). It tends to 1/T where light of the scene
arrives and to 0 where none does, so the noise of dense haze is not amplified without bound. So
that a smooth field is enlarged, and not an edge, it is written

    J* = up(J − a·P′) + up(a)·P.

The second half of this file explains the photo with what came out: the airlight A and the
transmission for which J·T + A·(1 − T) is closest to P.

Arrays are NumPy's or torch's, (…,c,h,w); only operators that both share are used, so that an
exported graph, a GPU and NumPy compute the same. Nothing here imports torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any
"""A floating-point numpy.ndarray or torch.Tensor, (…,c,h,w)."""

TRANSMISSION_LEAST = 0.03
"""The least transmission of the stages at cells and of what is returned, unitless."""
AIRLIGHT_PULL = 1e-3
"""ε of :func:`fit_airlight`, relative to the number of cells."""
TRANSMISSION_PULL = 0.05
"""ε of :func:`fit_transmission`."""


class Coefficients(NamedTuple):
    """J* = offset + gain·P, on the grid of the cells.

    Attributes:
        gain: a, (…,1,h,w), unitless, > 0.
        offset: b, (…,3,h,w), RGB.
    """

    gain: Array
    offset: Array


def full_size_coefficients(
    hazy: Array, scene: Array, transmission: Array, gamma: Array | float
) -> Coefficients:
    """a = T/(T² + γ) and b = J − a·P′.

    Args:
        hazy: P′, RGB averaged over cells, (…,3,h,w), [0,1].
        scene: J, RGB, (…,3,h,w).
        transmission: T, unitless, (…,1,h,w), in (0,1].
        gamma: γ > 0, unitless.
    """
    gain = transmission / (transmission * transmission + gamma)
    return Coefficients(gain, scene - gain * hazy)


def fit_airlight(hazy: Array, scene: Array, transmission: Array) -> Array:
    """The one colour of airlight that explains a picture best, given J and T.

        A = (Σ(P′ − J·T)(1 − T) + ε·A₀)/(Σ(1 − T)² + ε), per channel, clamped to [0,1],

    the least-squares minimiser of Σ(J·T + A(1 − T) − P′)² + ε(A − A₀)². A₀ is the photo's mean
    colour where T is lowest, all that is left to say in clear air; the mean is weighted by a power
    of 1 − T + 0.01 relative to its greatest value, and needs no sorting.

    Args:
        hazy: P′, RGB, (…,3,h,w), [0,1].
        scene: J, RGB, (…,3,h,w).
        transmission: T, unitless, (…,1,h,w), in (0,1].

    Returns:
        A, RGB, (…,3,1,1), [0,1].
    """
    sums = {"axis": (-2, -1), "keepdims": True}
    haze = 1 - transmission
    weight = ((haze + 0.01) / _greatest(haze + 0.01)) ** 16
    lowest = (weight * hazy).sum(**sums) / weight.sum(**sums)
    epsilon = AIRLIGHT_PULL * haze.shape[-1] * haze.shape[-2]
    fitted = (((hazy - scene * transmission) * haze).sum(**sums) + epsilon * lowest) / (
        (haze * haze).sum(**sums) + epsilon
    )
    return fitted.clip(0.0, 1.0)


def fit_transmission(hazy: Array, scene: Array, transmission: Array, airlight: Array) -> Array:
    """The transmission that explains each cell best, given J and A.

        T = (Σ_c(P′ − A)(J − A) + ε·T_s)/(Σ_c(J − A)² + ε), clamped to [0.03, 1],

    the least-squares minimiser of Σ_c(J·T + A(1 − T) − P′)² + ε(T − T_s)². T_s, the stages' own,
    keeps it smooth and defined where J ≈ A.

    Args:
        hazy: P′, RGB, (…,3,h,w), [0,1].
        scene: J, RGB, (…,3,h,w).
        transmission: T_s, unitless, (…,1,h,w).
        airlight: A, RGB, (…,3,1,1).

    Returns:
        T, unitless, (…,1,h,w), in [0.03, 1].
    """
    sums = {"axis": -3, "keepdims": True}
    light = scene - airlight
    numerator = ((hazy - airlight) * light).sum(**sums) + TRANSMISSION_PULL * transmission
    fitted = numerator / ((light * light).sum(**sums) + TRANSMISSION_PULL)
    return fitted.clip(TRANSMISSION_LEAST, 1.0)


def _greatest(values: Array) -> Array:
    """The greatest value of each picture, (…,c,1,1)."""
    if hasattr(values, "amax"):
        return values.amax((-2, -1), keepdim=True)
    return values.max((-2, -1), keepdims=True)
