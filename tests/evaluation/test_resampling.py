"""Intervals and p-values against exact values."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.evaluation import resampling
from corun.evaluation.resampling import bootstrap_mean, compare, holm


def test_interval_of_the_mean_is_near_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3, 1, 400)
    low, high = bootstrap_mean(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.015)
    assert high == pytest.approx(values.mean() + half, abs=0.015)
    assert bootstrap_mean(values) == (low, high)


def test_no_values_no_interval() -> None:
    assert np.isnan(bootstrap_mean(np.zeros(0))).all()
    assert bootstrap_mean(np.array([2.0])) == (2, 2)


def test_draws_in_parts_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(0, 1, 301)
    whole = bootstrap_mean(values)
    monkeypatch.setattr(resampling, "DRAWN_AT_ONCE", 1000)
    assert bootstrap_mean(values) == whole


def test_thousands_of_photos_do_not_fill_the_memory() -> None:
    values = np.random.default_rng(0).normal(0, 1, 20_000)
    tracemalloc.start()
    bootstrap_mean(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # all draws at once are 640 MB


def test_infinite_scores_are_compared() -> None:
    infinite = np.full(8, np.inf)
    finite = np.arange(8.0)
    better = compare(infinite, finite)
    assert (better.difference, better.interval) == (np.inf, (np.inf, np.inf))
    assert better.p_value == 2 / 2**8
    same = compare(infinite, infinite)
    assert (same.difference, same.interval, same.p_value) == (0, (0, 0), 1)
    mixed = compare(np.array([np.inf, 1.0]), np.array([1.0, np.inf]))
    assert np.isnan(mixed.difference)
    assert mixed.p_value == 1


def test_exact_p_value_of_four_equal_signs() -> None:
    """Of 16 sign patterns two are as extreme as all equal: p = 1/8."""
    comparison = compare(np.array([2.0, 3, 4, 5]), np.array([1.0, 1, 1, 1]))
    assert comparison.p_value == 2 / 16
    assert comparison.difference == 2.5
    assert comparison.photos == 4


def test_photos_without_a_score_do_not_count() -> None:
    comparison = compare(np.array([2.0, np.nan, 4]), np.array([1.0, 1, np.nan]))
    assert comparison.photos == 1
    assert comparison.p_value == 1
    assert np.isnan(compare(np.array([np.nan]), np.array([1.0])).p_value)


def test_equal_methods_do_not_differ_and_different_ones_do() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(0, 1, 60)
    assert compare(first, first).p_value == 1
    assert compare(first, first + rng.normal(1, 0.5, 60)).p_value < 0.001


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_the_order_of_methods_turns_the_sign_only(values: list[float]) -> None:
    first, second = np.array(values), np.zeros(len(values))
    one, other = compare(first, second), compare(second, first)
    assert one.p_value == other.p_value
    assert one.difference == -other.difference
    assert 0 < one.p_value <= 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, float("nan")]) == pytest.approx(
        [0.03, 0.06, 0.06, float("nan")], nan_ok=True
    )
    assert holm([0.6, 0.9]) == [1.0, 1.0]
