"""AdamW and its rate over a run."""

from __future__ import annotations

import math

import torch
from torch import nn

from corun.training.configuration import OptimizerConfig


def learning_rate_at(step: int, steps: int, config: OptimizerConfig) -> float:
    """Linear warm-up to the peak, then the schedule down to the final rate at the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    span = max(1, steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / span)
    low, high = config.final_learning_rate, config.learning_rate
    if config.schedule == "linear":
        return high + (low - high) * progress
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels, but neither biases, norms nor single numbers."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)
