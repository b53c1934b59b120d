"""The rate over a run, and what decays."""

import itertools

import pytest
import torch

from corun.training.configuration import OptimizerConfig
from corun.training.optimizer import learning_rate_at, make_optimizer


def test_learning_rate_rises_and_falls_to_its_end() -> None:
    config = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, warmup_steps=4)
    rates = [learning_rate_at(step, 20, config) for step in range(21)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4] == pytest.approx(1.0)
    assert rates[12] == pytest.approx(0.55)
    assert rates[20] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))


def test_the_rate_can_be_constant_or_fall_in_a_line() -> None:
    line = OptimizerConfig(
        learning_rate=1.0, final_learning_rate=0.0, warmup_steps=10, schedule="linear"
    )
    rates = [learning_rate_at(step, 110, line) for step in (0, 9, 10, 60, 110)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0])
    constant = OptimizerConfig(learning_rate=1.0, warmup_steps=10, schedule="constant")
    assert learning_rate_at(10, 110, constant) == learning_rate_at(109, 110, constant) == 1.0


def test_only_matrices_and_kernels_decay() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.LayerNorm(4))
    matrices, others = make_optimizer(network, OptimizerConfig(weight_decay=0.01)).param_groups
    assert [p.ndim for p in matrices["params"]] == [4]
    assert len(others["params"]) == 3
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
