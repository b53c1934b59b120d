"""Priors computed again in the backward pass: the same gradients, and less kept between."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig


class Kept:
    """What a pass of a network leaves in memory for its gradients, bytes."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def measure(self, network: CORUN, hazy: Tensor) -> tuple[int, list[Tensor]]:
        torch.manual_seed(1)
        network.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(self.pack, lambda tensor: tensor):
            unfolding = network(hazy, all_stages=True)
        stages = sum(s.scene.square().mean() + s.transmission.mean() for s in unfolding.stages)
        total: Any = stages + unfolding.output.scene.abs().mean()
        total.backward()
        grads = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        own = sum(p.untyped_storage().nbytes() for p in network.parameters())
        return sum(self.storages.values()) - own, grads


@pytest.mark.parametrize("cell", [1, 2])
@pytest.mark.parametrize("mixed", [False, True])
def test_gradients_are_the_same_and_less_is_kept(cell: int, mixed: bool) -> None:
    torch.manual_seed(0)
    network = CORUN(CorunConfig(stages=3, dim=8, levels=2, ffn_expansion=4, cell=cell))
    hazy = torch.rand(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        kept, gradients = Kept().measure(network, hazy)
        network.recompute_maps()
        kept_again, gradients_again = Kept().measure(network, hazy)
    assert len(gradients) == len(gradients_again) > 0
    for one, other in zip(gradients, gradients_again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    assert kept_again < kept / 5


def test_a_network_without_gradients_is_left_alone() -> None:
    network = CORUN(CorunConfig(stages=2, dim=4, levels=1)).eval().requires_grad_(False)
    hazy = torch.rand(1, 3, 16, 16)
    plain = network(hazy).scene
    network.recompute_maps()
    assert torch.equal(network(hazy).scene, plain)
