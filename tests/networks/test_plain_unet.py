"""The plain network: any size, residual, trainable."""

from __future__ import annotations

import pytest
import torch

from corun.networks.plain_unet import PlainUNet


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (13, 22)])
def test_any_size(height: int, width: int) -> None:
    assert PlainUNet(4, 2)(torch.rand(1, 3, height, width)).shape == (1, 3, height, width)


def test_with_a_zero_last_layer_it_returns_its_input() -> None:
    network = PlainUNet(4, 2)
    torch.nn.init.zeros_(network.out.weight)
    assert network.out.bias is not None
    torch.nn.init.zeros_(network.out.bias)
    image = torch.rand(1, 3, 9, 9)
    assert torch.equal(network(image), image)


def test_every_parameter_is_used() -> None:
    network = PlainUNet(4, 2)
    network(torch.rand(1, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
