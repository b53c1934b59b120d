"""Trusted weights: clear above hazy, smooth, within [0,1], any size."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from adaptation_setup import MeanDensity, SpreadQuality

from corun.colabator.coherence import (
    Coherence,
    assess,
    at_least_as_good,
    block_weights,
    smooth_weights,
)
from corun.judges.protocols import block_count, block_means, cut_blocks


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    block=st.integers(8, 33),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_weights_cover_any_size_smoothly_within_their_range(
    height: int, width: int, block: int, seed: int
) -> None:
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    found = assess(image, MeanDensity(), SpreadQuality(), block)
    weights = smooth_weights(found.weights, height, width, block)
    assert weights.shape == (1, 1, height, width)
    assert float(weights.min()) >= 0
    assert float(weights.max()) <= 1
    # Bilinear: no step between neighbours is larger than the largest between blocks, per pixel.
    spread = float(found.weights.max() - found.weights.min())
    for axis in (-1, -2):
        if weights.shape[axis] > 1:
            assert float(weights.diff(dim=axis).abs().max()) <= spread / block + 1e-6


def test_a_half_hazed_picture_weighs_more_on_its_clear_half() -> None:
    """The published code has it the other way round."""
    scene = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    half = scene.clone()
    half[..., 64:] = 0.3 * scene[..., 64:] + 0.7
    found = assess(half, MeanDensity(), SpreadQuality(), 16)
    weights = smooth_weights(found.weights, 64, 128, 16)
    assert float(weights[..., :48].min()) > float(weights[..., 80:].max())
    inverted = block_weights(*scores(half), "inverted")
    assert float(inverted[..., :3].max()) < float(inverted[..., 5:].min())
    assert bool((block_weights(*scores(half), "uniform") == 1).all())


def scores(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return SpreadQuality().score(image, 16).blocks, MeanDensity().score(image, 16).blocks


def test_weights_by_hand() -> None:
    quality, density = torch.tensor([[[[0.8, 0.2]]]]), torch.tensor([[[[0.1, 0.9]]]])
    torch.testing.assert_close(block_weights(quality, density), torch.tensor([[[[0.85, 0.15]]]]))
    unknown = block_weights(torch.tensor([[[[float("nan")]]]]), torch.tensor([[[[0.1]]]]))
    assert float(unknown) == 0


@pytest.mark.parametrize(
    ("candidate", "label", "accepted"),
    [
        ((0.5, 0.5), (0.5, 0.5), True),
        ((0.6, 0.5), (0.5, 0.5), True),
        ((0.6, 0.6), (0.5, 0.5), False),
        ((0.4, 0.1), (0.5, 0.5), False),
        ((0.1, 0.9), (float("nan"), float("nan")), True),
        ((float("nan"), 0.1), (float("nan"), float("nan")), False),
    ],
)
def test_acceptance(
    candidate: tuple[float, float], label: tuple[float, float], accepted: bool
) -> None:
    found = Coherence(*(torch.tensor([v]) for v in candidate), torch.zeros(1, 1, 1, 1))
    assert bool(at_least_as_good(found, *(torch.tensor([v]) for v in label))) is accepted


def test_blocks_are_cut_and_averaged_in_the_same_order() -> None:
    image = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(3))
    blocks, (rows, columns) = cut_blocks(image, 10)
    assert (rows, columns) == (block_count(20, 10), block_count(30, 10))
    means = block_means(image[:, :1], 10)
    torch.testing.assert_close(blocks[:, 0].mean((1, 2)).view(2, 1, rows, columns), means)


def test_a_partial_block_averages_what_is_there() -> None:
    values = torch.arange(3.0).view(1, 1, 1, 3)
    torch.testing.assert_close(block_means(values, 2), torch.tensor([[[[0.5, 2.0]]]]))
