"""How sure a mean is, and whether two methods differ: by resampling the photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
FLIPS = 10_000
FLIPS_AT_ONCE = 500
DRAWN_AT_ONCE = 2_000_000
"""Photos drawn in one go: all draws of a set of thousands would not fit in memory at once."""
_BEYOND = 1e9
"""What stands for ∞ among the finite differences when signs are flipped, in their own units."""


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Comparison(NamedTuple):
    """One method against another on the same photos.

    Attributes:
        difference: mean of (first − second).
        interval: 95 % bootstrap interval of it.
        p_value: of no difference, two-sided; corrected for the number of comparisons where it
            comes from `compare_all`.
        photos: how many both have a score for.
    """

    difference: float
    interval: Interval
    p_value: float
    photos: int


def bootstrap_mean(values: Float[np.ndarray, "n"], *, seed: int = 0) -> Interval:
    """The 2.5 % and 97.5 % percentiles of the mean of n photos drawn with replacement.

    (Efron and Tibshirani 1993, chapter 13.) NaN without values; a point for one. Values may hold
    infinities of one sign; a mean with one of them is infinite.
    """
    count = len(values)
    if count == 0:
        return Interval(float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    step = max(1, DRAWN_AT_ONCE // count)
    means = [
        values[rng.integers(0, count, (min(step, RESAMPLES - start), count))].mean(axis=1)
        for start in range(0, RESAMPLES, step)
    ]
    return percentiles(np.concatenate(means))


def compare(
    first: Float[np.ndarray, "n"], second: Float[np.ndarray, "n"], *, seed: int = 0
) -> Comparison:
    """Paired comparison by sign flips.

    If the methods were equal, each photo's difference would as well have the other sign. The
    p-value is the share of random signs under which the mean difference is at least as large as
    the one seen, (k + 1)/(N + 1), exact over all 2ⁿ signs where those are fewer than N.

    An infinite difference outweighs every finite one; where there are some of both signs, there is
    no mean difference (NaN), but still a p-value.

    Args:
        first: scores of one method, NaN where there is none.
        second: of the other, for the same photos.
        seed: the same seed gives the same answer.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    ones, others = first[both], second[both]
    equal = ones == others  # two infinities are equal, which their difference does not say
    whole = np.subtract(ones, others, out=np.zeros(len(ones)), where=~equal)
    count = len(whole)
    nothing = float("nan")
    if count == 0:
        return Comparison(nothing, Interval(nothing, nothing), nothing, 0)
    finite = np.isfinite(whole)
    most = float(np.abs(whole[finite]).max(initial=1.0))
    differences = np.where(finite, whole, np.sign(whole) * most * _BEYOND)
    # a hair's breadth, lest rounding calls the observed arrangement smaller than itself
    seen = abs(float(differences.sum())) * (1 - 1e-12)
    if count < 60 and 2**count <= FLIPS:
        codes = np.arange(2**count)[:, None] >> np.arange(count) & 1
        p_value = float((np.abs((1.0 - 2.0 * codes) @ differences) >= seen).mean())
    else:
        rng = np.random.default_rng(seed)
        extreme = 0
        for _ in range(FLIPS // FLIPS_AT_ONCE):  # thousands of photos would not fit at once
            signs = 1.0 - 2.0 * rng.integers(0, 2, (FLIPS_AT_ONCE, count), dtype=np.int8)
            extreme += int((np.abs(signs @ differences) >= seen).sum())
        p_value = (extreme + 1) / (FLIPS + 1)
    if (whole == np.inf).any() and (whole == -np.inf).any():
        return Comparison(nothing, Interval(nothing, nothing), p_value, count)
    return Comparison(float(whole.mean()), bootstrap_mean(whole, seed=seed), p_value, count)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the p-values that hold together for all comparisons (Holm 1979)."""
    corrected = [float("nan")] * len(p_values)
    known = [index for index, value in enumerate(p_values) if not np.isnan(value)]
    largest = 0.0
    for rank, index in enumerate(sorted(known, key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, p_values[index] * (len(known) - rank)))
        corrected[index] = largest
    return corrected


def percentiles(values: Float[np.ndarray, "n"]) -> Interval:
    """The 2.5 % and the 97.5 % percentile; NaN without values."""
    if len(values) == 0:
        return Interval(float("nan"), float("nan"))
    if np.isfinite(values).all():
        low, high = np.percentile(values, [2.5, 97.5])
    else:  # nothing lies between a number and infinity: take the outer neighbours
        low = np.percentile(values, 2.5, method="lower")
        high = np.percentile(values, 97.5, method="higher")
    return Interval(float(low), float(high))
