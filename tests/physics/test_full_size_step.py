"""The last J-step, and the airlight and transmission that explain a photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corun.physics.full_size_step import (
    AIRLIGHT_PULL,
    TRANSMISSION_PULL,
    fit_airlight,
    fit_transmission,
    full_size_coefficients,
)


def draw(seed: int = 0, size: tuple[int, int] = (6, 8)) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    P, J = rng.random((2, 3, *size))
    return P, J, rng.uniform(0.05, 0.95, (1, *size))


def test_the_result_is_the_minimiser_of_its_energy() -> None:
    """E(J*) = ½(P − P′ − T(J* − J))² + γ/2 (J* − J)², by autograd."""
    cells, J, T = (torch.from_numpy(value) for value in draw())
    P, gamma = torch.rand(cells.shape, dtype=torch.float64), 0.02
    gain, offset = full_size_coefficients(cells, J, T, gamma)
    result = (offset + gain * P).requires_grad_()
    energy = 0.5 * (P - cells - T * (result - J)).square() + gamma / 2 * (result - J).square()
    energy.sum().backward()
    assert result.grad is not None
    assert result.grad.abs().max() < 1e-12


def test_the_gain_is_bounded_where_no_light_arrives() -> None:
    T = np.array([0.0, 0.03, 0.5, 1.0]).reshape(1, 1, 4)
    P = np.zeros((3, 1, 4))
    gain, _ = full_size_coefficients(P, P, T, 0.0144)
    assert gain[0, 0, 0] == 0
    assert gain.max() <= 1 / (2 * 0.12) + 1e-9
    assert gain[0, 0, 3] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_airlight_and_transmission_minimise_their_energies(library: str) -> None:
    P, J, T = draw(1)
    if library == "torch":
        P, J, T = (torch.from_numpy(value)[None] for value in (P, J, T))
    A = fit_airlight(P, J, T)
    fitted = fit_transmission(P, J, T, A)
    P, J, T, A, fitted = (
        torch.as_tensor(v).reshape(-1, *v.shape[-2:]) for v in (P, J, T, A, fitted)
    )
    free = A.clone().requires_grad_()
    weight = ((1 - T + 0.01) / (1 - T + 0.01).max()) ** 16
    lowest = (weight * P).sum((1, 2), True) / weight.sum()
    energy = (J * T + free * (1 - T) - P).square().sum()
    energy = energy + AIRLIGHT_PULL * T.numel() * (free - lowest).square().sum()
    energy.backward()
    inside = (A > 0) & (A < 1)
    assert free.grad is not None
    assert inside.any()
    assert free.grad[inside].abs().max() < 1e-9
    free_t = fitted.clone().requires_grad_()
    energy = (J * free_t + A * (1 - free_t) - P).square().sum()
    energy = energy + TRANSMISSION_PULL * (free_t - T).square().sum()
    energy.backward()
    inside = (fitted > 0.03) & (fitted < 1)
    assert free_t.grad is not None
    assert inside.any()
    assert free_t.grad[inside].abs().max() < 1e-9
    assert ((fitted >= 0.03) & (fitted <= 1)).all()


def test_a_scene_with_one_airlight_is_explained_exactly() -> None:
    _, J, T = draw(2)
    A = np.array([0.9, 0.8, 0.7]).reshape(3, 1, 1)
    P = J * T + A * (1 - T)
    found = fit_airlight(P, J, T)
    np.testing.assert_allclose(found, A, atol=5e-3)
    np.testing.assert_allclose(fit_transmission(P, J, T, A), T, atol=1e-9)


def test_in_clear_air_the_airlight_is_a_colour_of_the_photo() -> None:
    P, _, _ = draw(3)
    T = np.ones((1, 6, 8))
    A = fit_airlight(P, P, T)
    np.testing.assert_allclose(A[:, 0, 0], P.mean((1, 2)), atol=1e-9)
    np.testing.assert_allclose(fit_transmission(P, P, T, A), 1, atol=1e-9)
