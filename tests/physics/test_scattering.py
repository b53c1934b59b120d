"""The scattering model: inverse of each other, closed forms, gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.physics.scattering import (
    TRANSMISSION_FLOOR,
    add_haze,
    remove_haze,
)


def _sample(
    seed: int, batch: int, height: int, width: int, dtype: torch.dtype, t_low: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scene = torch.rand(batch, 3, height, width, generator=generator, dtype=dtype)
    transmission = torch.rand(batch, 1, height, width, generator=generator, dtype=dtype)
    airlight = torch.rand(batch, 3, 1, 1, generator=generator, dtype=dtype)
    return scene, t_low + (1 - t_low) * transmission, airlight


sizes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float64, 1e-14)])
@given(seed=st.integers(0, 2**32), size=sizes)
@settings(max_examples=60, deadline=None)
def test_removing_undoes_adding_where_t_is_not_clamped(
    dtype: torch.dtype, tolerance: float, seed: int, size: tuple[int, int, int]
) -> None:
    scene, t, airlight = _sample(seed, *size, dtype, TRANSMISSION_FLOOR)
    recovered = remove_haze(add_haze(scene, t, airlight), t, airlight)
    assert recovered.dtype == dtype
    # Rounding of P is amplified by 1/t ≤ 20.
    assert (recovered - scene).abs().max() <= tolerance


@given(seed=st.integers(0, 2**32), size=sizes)
@settings(max_examples=40, deadline=None)
def test_haze_is_convex(seed: int, size: tuple[int, int, int]) -> None:
    scene, t, airlight = _sample(seed, *size, torch.float64, 0.0)
    hazy = add_haze(scene, t, airlight)
    assert (hazy <= torch.maximum(scene, airlight.expand_as(scene)) + 1e-15).all()
    assert (hazy >= torch.minimum(scene, airlight.expand_as(scene)) - 1e-15).all()


def test_by_hand() -> None:
    scene = torch.tensor([0.2, 0.4, 1.0]).view(1, 3, 1, 1)
    t = torch.full((1, 1, 1, 1), 0.25)
    airlight = torch.tensor([0.8, 0.9, 1.0]).view(1, 3, 1, 1)
    hazy = add_haze(scene, t, airlight)  # 0.05 + 0.6, 0.1 + 0.675, 0.25 + 0.75
    torch.testing.assert_close(hazy.flatten(), torch.tensor([0.65, 0.775, 1.0]))


def test_small_t_is_floored_and_the_result_not_clamped() -> None:
    hazy = torch.full((1, 3, 1, 1), 0.4)
    t = torch.zeros(1, 1, 1, 1)
    # t' = 0.1: (0.4 − 0.9·0.9)/0.1 = −4.1
    torch.testing.assert_close(remove_haze(hazy, t, 0.9, t_min=0.1), torch.full((1, 3, 1, 1), -4.1))


@pytest.mark.parametrize("t_min", [0.0, -0.1, 1.5])
def test_an_impossible_floor_is_refused(t_min: float) -> None:
    picture = torch.rand(1, 3, 2, 2)
    with pytest.raises(ValueError, match="t_min"):
        remove_haze(picture, picture[:, :1], 1.0, t_min=t_min)


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (3, 1, 1), (1,), (), (2, 3, 4, 5), (1, 1, 4, 5)])
def test_airlight_of_any_broadcastable_shape(shape: tuple[int, ...]) -> None:
    scene, t, _ = _sample(0, 2, 4, 5, torch.float64, 0.1)
    airlight = torch.rand(shape, dtype=torch.float64)
    hazy = add_haze(scene, t, airlight)
    assert hazy.shape == scene.shape
    torch.testing.assert_close(remove_haze(hazy, t, airlight), scene)


@pytest.mark.parametrize("function", [add_haze, remove_haze])
def test_gradients_match_finite_differences(function: object) -> None:
    scene, t, airlight = _sample(3, 1, 2, 3, torch.float64, 0.2)
    inputs = [x.requires_grad_() for x in (scene, t, airlight)]
    assert callable(function)
    assert torch.autograd.gradcheck(function, inputs)


def test_beyond_the_floor_the_gradient_in_t_stops() -> None:
    t = torch.full((1, 1, 1, 1), 0.01, requires_grad=True)
    remove_haze(torch.rand(1, 3, 1, 1), t, 1.0).sum().backward()
    assert t.grad is not None
    assert t.grad.item() == 0
