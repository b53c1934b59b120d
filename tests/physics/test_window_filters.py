"""The window filters against loops written from their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.physics.window_filters import (
    box_mean,
    dark_channel,
    guided_filter,
)


def _window(image: np.ndarray, i: int, j: int, radius: int) -> np.ndarray:
    """(channels, n): the pixels of a window, cut off at the border."""
    cut = image[:, max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1]
    return cut.reshape(image.shape[0], -1)


shapes = st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))


@given(seed=st.integers(0, 1000), shape=shapes, radius=st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_dark_channel_and_means_match_loops(
    seed: int, shape: tuple[int, int, int], radius: int
) -> None:
    image = np.random.default_rng(seed).random(shape)
    channels_last = image.transpose(1, 2, 0)
    dark = dark_channel(channels_last, patch=2 * radius + 1)
    mean = box_mean(channels_last, radius=radius).transpose(2, 0, 1)
    for i in range(shape[1]):
        for j in range(shape[2]):
            window = _window(image, i, j, radius)
            assert dark[i, j] == window.min()
            np.testing.assert_allclose(mean[:, i, j], window.mean(axis=1), atol=1e-13)


def _guided_filter_by_definition(
    guide: np.ndarray, source: np.ndarray, radius: int, epsilon: float
) -> np.ndarray:
    """A ridge regression solved in every window, then averaged over the windows of each pixel."""
    height, width = source.shape
    slopes = np.zeros((guide.shape[0], height, width))
    offsets = np.zeros((1, height, width))
    for i in range(height):
        for j in range(width):
            inside = _window(guide, i, j, radius)
            target = _window(source[None], i, j, radius)[0]
            n = target.size
            design = np.concatenate([inside, np.ones((1, n))]).T
            penalty = np.diag([epsilon * n] * guide.shape[0] + [0.0])
            solution = np.linalg.solve(design.T @ design + penalty, design.T @ target)
            slopes[:, i, j], offsets[:, i, j] = solution[:-1], solution[-1]
    filtered = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            a = _window(slopes, i, j, radius).mean(axis=1)
            b = _window(offsets, i, j, radius).mean()
            filtered[i, j] = a @ guide[:, i, j] + b
    return filtered


@pytest.mark.parametrize("guides", [1, 3])
@pytest.mark.parametrize("radius", [0, 1, 3, 20])
@pytest.mark.parametrize("epsilon", [1e-4, 0.1])
def test_guided_filter_matches_its_definition(guides: int, radius: int, epsilon: float) -> None:
    rng = np.random.default_rng(guides * 100 + radius)
    guide, source = rng.random((guides, 11, 9)), rng.random((2, 11, 9))
    for c in range(2):
        fast = guided_filter(guide.transpose(1, 2, 0), source[c], radius=radius, epsilon=epsilon)
        slow = _guided_filter_by_definition(guide, source[c], radius, epsilon)
        np.testing.assert_allclose(fast, slow, atol=1e-9)


def test_guided_filter_in_float32_is_close_to_float64_on_a_large_image() -> None:
    rng = np.random.default_rng(0)
    guide = rng.random((200, 300, 3)) * 0.1 + 0.9
    source = rng.random((200, 300))
    exact = guided_filter(guide, source, radius=40, epsilon=1e-3)
    single = guided_filter(
        guide.astype(np.float32), source.astype(np.float32), radius=40, epsilon=1e-3
    )
    assert single.dtype == np.float32
    assert np.abs(single - exact).max() < 1e-4


@pytest.mark.parametrize("epsilon", [1e-2, 1e-4])
def test_a_grey_picture_in_colour_guides_like_its_one_channel(epsilon: float) -> None:
    """Three equal channels share the slope, so the penalty is a third; Σ is singular there."""
    rng = np.random.default_rng(2)
    grey = rng.random((60, 70, 1), np.float32)
    source = rng.random((60, 70), np.float32) + grey[:, :, 0]
    in_colour = guided_filter(np.repeat(grey, 3, 2), source, radius=8, epsilon=epsilon)
    alone = guided_filter(grey, source, radius=8, epsilon=epsilon / 3)
    np.testing.assert_allclose(in_colour, alone, atol=2e-4)


def test_guided_filter_keeps_the_guides_edges_and_smooths_the_rest() -> None:
    guide = np.zeros((20, 40, 3))
    guide[:, 20:] = 1
    noise = 0.1 * np.random.default_rng(0).standard_normal((20, 40))
    smooth = guided_filter(guide, guide[:, :, 0] + noise, radius=5, epsilon=1e-3)
    assert smooth[:, 20].mean() - smooth[:, 19].mean() > 0.9
    assert smooth[:, :15].std() < 0.3 * noise.std()
    itself = guided_filter(guide, guide[:, :, 0], radius=5, epsilon=1e-9)
    np.testing.assert_allclose(itself, guide[:, :, 0], atol=1e-6)


def test_wrong_arguments_are_refused() -> None:
    image = np.random.default_rng(0).random((4, 4, 3))
    plane = image[:, :, 0]
    with pytest.raises(ValueError, match="odd"):
        dark_channel(image, patch=4)
    with pytest.raises(ValueError, match="radius"):
        box_mean(image, radius=-1)
    with pytest.raises(ValueError, match="epsilon"):
        guided_filter(image, plane, radius=1, epsilon=0.0)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        guided_filter(image[:, :, :2], plane, radius=1, epsilon=0.1)
