"""Exponential moving average of a network's weights: the smoothed model and the mean teacher."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

UPDATES = "__updates__"
"""Under which a state holds the number of updates, beside the weights."""


class WeightAverage:
    """θ̄ ← d·θ̄ + (1 − d)·θ, kept as a network of its own in evaluation mode.

    The effective decay starts low, d = min(decay, (1 + n)/(10 + n)) after n updates, so that the
    average forgets its random start; ``warmup=False`` uses ``decay`` from the first update.

    Args:
        network: the network that is averaged; copied, not kept.
        decay: d, in [0,1).
        warmup: whether the decay rises to ``decay``.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999, *, warmup: bool = True) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.warmup = decay, warmup
        self.updates = 0

    def current_decay(self) -> float:
        """d of the next update."""
        if not self.warmup:
            return self.decay
        return min(self.decay, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards ``network``.

        Parameters and floating-point buffers (running statistics) are averaged, whole numbers
        and truth values copied.
        """
        decay = self.current_decay()
        source = network.state_dict()
        for name, average in self.network.state_dict().items():
            value = source[name]
            if average.is_floating_point():
                average.lerp_(value.to(average), 1 - decay)
            else:
                average.copy_(value)
        self.updates += 1

    def state_dict(self) -> dict[str, Tensor | int]:
        """The averaged weights and the number of updates."""
        return {**self.network.state_dict(), UPDATES: self.updates}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Restore what :meth:`state_dict` gave."""
        weights = dict(state)
        self.updates = int(weights.pop(UPDATES))
        self.network.load_state_dict(weights)
