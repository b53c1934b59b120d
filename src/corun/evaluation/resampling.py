"""How sure a mean is, and whether two methods differ: by resampling the photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 2000
FLIPS = 10_000
FLIPS_AT_ONCE = 500


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

    (Efron and Tibshirani 1993, chapter 13.) NaN without values; a point for one.
    """
    count = len(values)
    if count == 0:
        return Interval(float("nan"), float("nan"))
    draws = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    return _percentiles(np.array([values[row].mean() for row in draws]))


def bootstrap(
    statistic: Callable[[Int[np.ndarray, "n"]], float], count: int, *, resamples: int, seed: int = 0
) -> Interval:
    """As `bootstrap_mean` for a statistic of the whole set, such as AP.

    Args:
        statistic: indices of photos, with repetition → value.
        count: photos there are.
        resamples: how often; each costs one call.
        seed: the same seed gives the same interval.
    """
    draws = np.random.default_rng(seed).integers(0, count, (resamples, count))
    values = np.array([statistic(row) for row in draws])
    return _percentiles(values[~np.isnan(values)])


def compare(
    first: Float[np.ndarray, "n"], second: Float[np.ndarray, "n"], *, seed: int = 0
) -> Comparison:
    """Paired comparison by sign flips.

    If the methods were equal, each photo's difference would as well have the other sign. The
    p-value is the share of random signs under which the mean difference is at least as large as
    the one seen, (k + 1)/(N + 1), exact over all 2ⁿ signs where those are fewer than N.

    Args:
        first: scores of one method, NaN where there is none.
        second: of the other, for the same photos.
        seed: the same seed gives the same answer.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    differences = first[both] - second[both]
    count = len(differences)
    if count == 0:
        nothing = float("nan")
        return Comparison(nothing, Interval(nothing, nothing), nothing, 0)
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
    return Comparison(
        float(differences.mean()), bootstrap_mean(differences, seed=seed), p_value, count
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the p-values that hold together for all comparisons (Holm 1979)."""
    corrected = [float("nan")] * len(p_values)
    known = [index for index, value in enumerate(p_values) if not np.isnan(value)]
    largest = 0.0
    for rank, index in enumerate(sorted(known, key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, p_values[index] * (len(known) - rank)))
        corrected[index] = largest
    return corrected


def _percentiles(values: Float[np.ndarray, "n"]) -> Interval:
    if len(values) == 0:
        return Interval(float("nan"), float("nan"))
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))
