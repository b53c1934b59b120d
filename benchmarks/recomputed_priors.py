"""What `run.recompute` saves of memory, and costs of time, in a training step.

    python benchmarks/recomputed_priors.py [--model corun-base] [--side 288] [--device cpu]

Each way runs in a process of its own: two steps, forward and backward. Printed are the peak of
memory beyond the network's own (on a CPU the process's resident set, on a GPU what torch
allocated), the second step's time, their ratios, and the largest difference of a gradient relative
to the largest gradient.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from typing import NamedTuple

import numpy as np
import torch

from corun.networks.checkpoints import in_channels_last
from corun.networks.corun import CORUN
from corun.networks.registry import MODELS


class Step(NamedTuple):
    """One way's second step."""

    memory: int
    seconds: float
    gradients: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="corun-base", choices=["corun-base", "corun-lite"])
    parser.add_argument("--side", type=int, default=288)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        kept, again = (pool.apply(measured, (options, recompute)) for recompute in (False, True))
    for name, step in (("kept", kept), ("computed again", again)):
        print(f"{name}: {step.memory / 2**20:.0f} MiB, {step.seconds:.2f} s")
    error = np.abs(kept.gradients - again.gradients).max() / np.abs(kept.gradients).max()
    print(
        f"{options.model}, {options.batch} x {options.side}²: memory "
        f"{again.memory / kept.memory:.3f}, time {again.seconds / kept.seconds:.2f}, gradients "
        f"within {error:.1e}"
    )


def measured(options: argparse.Namespace, recompute: bool) -> Step:
    """Two steps, of which the second is timed."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = CORUN(MODELS[options.model].config).to(options.device)
    in_channels_last(network)
    if recompute:
        network.recompute_maps()
    small = network.config.multiple
    step(
        network, torch.rand(1, 3, small, small, device=options.device)
    )  # loads what is loaded once
    before = peak(options.device)
    hazy = torch.rand(options.batch, 3, options.side, options.side, device=options.device)
    for _ in range(2):
        start = time.perf_counter()
        step(network, hazy)
        seconds = time.perf_counter() - start
    gradients = torch.cat([p.grad.flatten() for p in network.parameters()]).cpu().numpy()
    return Step(peak(options.device) - before, seconds, gradients)


def step(network: CORUN, hazy: torch.Tensor) -> None:
    """Forward and backward, with every stage in the loss."""
    network.zero_grad()
    unfolding = network(hazy, all_stages=True)
    loss = unfolding.output.scene.abs().mean()
    (loss + sum(stage.transmission.mean() for stage in unfolding.stages)).backward()
    if hazy.is_cuda:
        torch.cuda.synchronize()


def peak(device: str) -> int:
    """The most memory so far, bytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
