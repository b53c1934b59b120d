"""The unfolding design: its gradient step against the closed form, sizes, gradients."""

from __future__ import annotations

import pytest
import torch

from corun.networks.dgun import Dgun, GradientStep


def test_the_gradient_step_with_identity_operators() -> None:
    """With Φ = Φᵀ = identity it is J − ρ(J − P)."""
    step = GradientStep(4)
    for module in (step.phi[-1], step.phi_transposed[-1]):
        torch.nn.init.zeros_(module.weight)  # type: ignore[arg-type]
        torch.nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    P, J = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(step(P, J), J - 0.5 * (J - P))
    assert torch.equal(step(P, P), P)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (13, 22)])
def test_any_size(height: int, width: int) -> None:
    assert Dgun(2, 4)(torch.rand(1, 3, height, width)).shape == (1, 3, height, width)


def test_every_stage_is_trained() -> None:
    network = Dgun(3, 4)
    network(torch.rand(1, 3, 12, 12)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
