"""The closed forms against their energies."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.networks.unfolding import (
    scene_step,
    transmission_step_least_squares,
    transmission_step_paper,
)

weights = st.floats(0.01, 5.0)
seeds = st.integers(0, 2**31)


def draw(seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    P, J = (torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    T = 0.2 + 0.7 * torch.rand(2, 1, 4, 5, generator=generator, dtype=torch.float64)
    return P, J, T


@settings(deadline=None, max_examples=50)
@given(seed=seeds, lam=weights)
def test_least_squares_step_is_stationary_where_not_clamped(seed: int, lam: float) -> None:
    P, J, T = draw(seed)
    weight = torch.tensor([lam], dtype=torch.float64)
    T_hat = transmission_step_least_squares(P, J, T, weight).requires_grad_(True)
    energy = 0.5 * (P - J * T_hat - (1 - T_hat)).square().sum()
    energy = energy + lam / 2 * (T_hat - T).square().sum()
    (gradient,) = torch.autograd.grad(energy, T_hat)
    inside = (T_hat > 0.05) & (T_hat < 0.999)
    assert gradient[inside].abs().max() < 1e-12
    # At the upper bound the energy still falls outwards, at the lower bound likewise.
    assert (gradient[T_hat >= 0.999] <= 1e-12).all()
    assert (gradient[T_hat <= 0.05] >= -1e-12).all()


@settings(deadline=None, max_examples=50)
@given(seed=seeds, gamma=weights)
def test_scene_step_is_stationary_where_not_clamped(seed: int, gamma: float) -> None:
    P, J, T = draw(seed)
    J_hat = scene_step(P, J, T, torch.tensor([gamma], dtype=torch.float64)).requires_grad_(True)
    energy = 0.5 * (P - J_hat * T - (1 - T)).square().sum()
    energy = energy + gamma / 2 * (J_hat - J).square().sum()
    (gradient,) = torch.autograd.grad(energy, J_hat)
    inside = (J_hat > 0) & (J_hat < 1)
    assert inside.any()
    assert gradient[inside].abs().max() < 1e-12
    assert (gradient[J_hat >= 1] <= 1e-12).all()
    assert (gradient[J_hat <= 0] >= -1e-12).all()


def test_steps_recover_the_truth_when_given_it() -> None:
    _, J, T = draw(1)
    hazy = J * T + 1 - T
    zero = torch.tensor([1e-4], dtype=torch.float64)
    torch.testing.assert_close(
        transmission_step_least_squares(hazy, J, T, zero), T, atol=1e-12, rtol=0
    )
    torch.testing.assert_close(scene_step(hazy, J, T, zero), J, atol=1e-12, rtol=0)


def test_paper_step_by_hand() -> None:
    # Ĵ = (0.5, 0.5, 0), P = (0.75, 0.75, 0.5), T = 0.5, λ = 1:
    # numerator   = 0.25 + 1 + 0.25 + 1 + 0.5 + 0.5   = 3.5
    # denominator = 0.5 + 2 + 0.5 + 2 + 1 + 1         = 7
    P = torch.tensor([0.75, 0.75, 0.5]).view(1, 3, 1, 1)
    J = torch.tensor([0.5, 0.5, 0.0]).view(1, 3, 1, 1)
    T = torch.full((1, 1, 1, 1), 0.5)
    assert transmission_step_paper(P, J, T, torch.ones(1)).item() == pytest.approx(0.5)
    # With λ = 0 it is the ratio of the summed darkness: 1 / 2.
    assert transmission_step_paper(P, J, T, torch.zeros(1)).item() == pytest.approx(0.5)
    # A darker input (less haze) gives a higher transmission: (0.5+0.5+1 + 3.5-1)/7... by hand:
    clear = torch.zeros(1, 3, 1, 1)
    # numerator = 3·1 + λ·T·Σ1/(1−Ĵ) = 3 + 0.5·5 = 5.5; 5.5/7
    assert transmission_step_paper(clear, J, T, torch.ones(1)).item() == pytest.approx(5.5 / 7)


@pytest.mark.parametrize("step", [transmission_step_paper, transmission_step_least_squares])
def test_white_scene_and_white_input_stay_finite(step) -> None:  # type: ignore[no-untyped-def]
    white = torch.ones(1, 3, 2, 2, requires_grad=True)
    T = torch.full((1, 1, 2, 2), 0.4)
    lam = torch.zeros(1, requires_grad=True)
    result = step(white, white, T, lam)
    result.sum().backward()
    assert torch.isfinite(result).all()
    assert ((result >= 0.05) & (result <= 0.999)).all()
    assert torch.isfinite(lam.grad).all()
