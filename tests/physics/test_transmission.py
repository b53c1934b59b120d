"""Depth conventions, attenuation and patchy density."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.physics.transmission import density_field, depth_to_transmission, normalise_depth


def _map(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_distance_keeps_its_order_and_inverse_is_turned() -> None:
    depth = _map(2, 4, 10)
    assert normalise_depth(depth, convention="distance").flatten().tolist() == [0, 0.25, 1]
    assert normalise_depth(depth, convention="inverse").flatten().tolist() == [1, 0.75, 0]


@given(
    near=st.floats(0.5, 20),
    ratio=st.floats(1.5, 50),
    middle=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_inverse_offset_recovers_true_distances(near: float, ratio: float, middle: float) -> None:
    far = near * ratio
    distance = _map(near, near + middle * (far - near), far)
    turned = normalise_depth(1 / distance, convention="inverse", inverse_offset=near / (far - near))
    torch.testing.assert_close(turned, normalise_depth(distance, convention="distance"))


def test_each_image_of_a_batch_is_normalised_by_itself() -> None:
    depth = torch.stack([_map(0, 1, 2)[0], _map(100, 300, 200)[0]])
    turned = normalise_depth(depth, convention="distance")
    assert turned.flatten(1).tolist() == [[0, 0.5, 1], [0, 1, 0.5]]


def test_infinite_distance_is_the_farthest_and_a_constant_map_is_near() -> None:
    turned = normalise_depth(_map(1, 3, math.inf), convention="distance")
    assert turned.flatten().tolist() == [0, 1, 1]
    for convention in ("distance", "inverse"):
        flat = normalise_depth(_map(7, 7, 7), convention=convention)
        assert flat.flatten().tolist() == [0, 0, 0]


def test_clipping_ignores_outliers() -> None:
    values = torch.linspace(0, 1, 101, dtype=torch.float64)
    values[-1] = 1000.0
    turned = normalise_depth(values.view(1, 1, 1, -1), convention="distance", clip=0.02)
    expected = ((values - 0.02) / 0.96).clamp(0, 1)
    torch.testing.assert_close(turned.flatten(), expected)


@pytest.mark.parametrize(
    "wrong", [{"clip": 0.5}, {"clip": -0.1}, {"inverse_offset": 0.0}, {"inverse_offset": -1.0}]
)
def test_impossible_arguments_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        normalise_depth(_map(0, 1), convention="inverse", **wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_transmission_is_beer_lambert_with_the_factor_two(dtype: torch.dtype) -> None:
    depth = torch.tensor([0.0, 0.5, 1.0], dtype=dtype).view(1, 1, 1, 3)
    t = depth_to_transmission(depth, 1.5)
    assert t.dtype == dtype
    expected = torch.tensor([1.0, math.exp(-1.5), math.exp(-3.0)], dtype=dtype)
    torch.testing.assert_close(t.flatten(), expected)
    # The range that RIDCP's β ~ U(0.2, 2.8) spans at the far end.
    assert depth_to_transmission(torch.ones(1, 1, 1, 1), 0.2).item() == pytest.approx(0.6703, 1e-3)
    assert depth_to_transmission(torch.ones(1, 1, 1, 1), 2.8).item() == pytest.approx(0.0037, 1e-2)


def test_beta_per_image_and_per_pixel() -> None:
    depth = torch.rand(2, 1, 3, 4, dtype=torch.float64)
    beta = torch.tensor([0.3, 2.0], dtype=torch.float64).view(2, 1, 1, 1)
    t = depth_to_transmission(depth, beta)
    torch.testing.assert_close(t[1], depth_to_transmission(depth[1:], 2.0)[0])
    torch.testing.assert_close(depth_to_transmission(depth, beta.expand(2, 1, 3, 4)), t)


@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    strength=st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_density_is_positive_with_mean_one(
    seed: int, height: int, width: int, strength: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    field = density_field(2, height, width, generator=generator, strength=strength)
    assert field.shape == (2, 1, height, width)
    assert (field > 0).all()
    torch.testing.assert_close(field.mean((2, 3)), torch.ones(2, 1))


def test_density_is_seeded_and_differs_between_images() -> None:
    def draw(seed: int) -> torch.Tensor:
        return density_field(2, 40, 50, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(draw(4), draw(4))
    assert (draw(4) - draw(5)).abs().max() > 0.1
    assert (draw(4)[0] - draw(4)[1]).abs().max() > 0.1


def test_density_is_smooth_and_as_strong_as_asked() -> None:
    generator = torch.Generator().manual_seed(0)
    field = density_field(8, 120, 160, generator=generator, strength=0.4, octaves=1)
    log = field.log()
    torch.testing.assert_close(log.std((2, 3)), torch.full((8, 1), 0.4), rtol=0.01, atol=0)
    steps = torch.cat([log.diff(dim=2).abs().flatten(), log.diff(dim=3).abs().flatten()])
    assert steps.max() < 0.1  # of a deviation of 0.4: no pixel jumps
    flat = density_field(1, 9, 9, generator=generator, strength=0.0)
    assert torch.equal(flat, torch.ones_like(flat))


def test_density_looks_alike_at_every_resolution() -> None:
    def draw(scale: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(7)
        return density_field(1, 60 * scale, 80 * scale, generator=generator)

    small = torch.nn.functional.avg_pool2d(draw(3), 3)
    assert np.corrcoef(small.flatten().numpy(), draw(1).flatten().numpy())[0, 1] > 0.99


def test_strength_per_image() -> None:
    strength = torch.tensor([0.0, 0.8]).view(2, 1, 1, 1)
    field = density_field(2, 20, 20, generator=torch.Generator().manual_seed(1), strength=strength)
    assert field[0].std() == 0
    assert field[1].std() > 0.3


@pytest.mark.parametrize("wrong", [{"cells": 0}, {"octaves": 0}, {"stretch": 0.0}])
def test_impossible_fields_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        density_field(1, 4, 4, generator=torch.Generator(), **wrong)  # type: ignore[arg-type]
