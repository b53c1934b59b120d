"""What an adaptation step costs beyond what it cannot do without.

    python benchmarks/adaptation_step.py [--side 288] [--batch 4] [--rounds 5] [--network NAME]

Both are timed in one run, alternating, and the ratio of the medians is printed:
the whole step (augmentation, teacher, scores, pool, losses, backward, optimiser, teacher update)
against the student's forward, backward and update on both batches plus the teacher's forward.
Times are processor time, so that other programs on the machine do not count. The ratio should be at
most 1.15.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from corun.colabator.adapt import Adaptation, AdaptationConfig, RealBatch, SyntheticPair
from corun.colabator.label_pool import LabelPool, PoolIdentity
from corun.colabator.teacher import Teacher
from corun.judges.density_net import embedded_density
from corun.judges.natural_scene import embedded_quality
from corun.networks.brought import open_network
from corun.networks.checkpoints import in_channels_last
from corun.networks.corun import CORUN
from corun.networks.outputs import read_output
from corun.networks.registry import LITE_CONFIG


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=288)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--network", default="", help="default: corun-lite's size, untrained")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    built = open_network(options.network) if options.network else CORUN(LITE_CONFIG)
    student = in_channels_last(built.train())
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6)
    keys = [f"{n:032x}-0" for n in range(options.batch)]
    config = AdaptationConfig()
    with tempfile.TemporaryDirectory() as folder:
        identity = PoolIdentity("benchmark", "d", "q", options.side, config.block)
        adaptation = Adaptation(
            config,
            Teacher(student),
            LabelPool(Path(folder), identity, keys),
            embedded_density(),
            embedded_quality(),
        )
        in_channels_last(adaptation.teacher.network)
        shape = (options.batch, 3, options.side, options.side)
        pair = SyntheticPair(torch.rand(shape), torch.rand(shape))
        real = RealBatch(torch.rand(shape), keys, torch.zeros(options.batch, dtype=torch.bool), 0)
        whole, needed = [], []
        for number in range(options.rounds + 1):
            whole.append(timed(lambda: full_step(adaptation, student, optimizer, pair, real)))
            needed.append(timed(lambda: bare_step(adaptation, student, optimizer, pair, real)))
            if number:
                print(f"round {number}: step {whole[-1]:.3f} s, needed {needed[-1]:.3f} s")
    step, bare = statistics.median(whole[1:]), statistics.median(needed[1:])
    print(f"adaptation step {step:.3f} s, student and teacher alone {bare:.3f} s")
    print(f"ratio {step / bare:.3f}")


def full_step(
    adaptation: Adaptation,
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    pair: SyntheticPair,
    real: RealBatch,
) -> None:
    adaptation.loss(student, pair, real, 0).total.backward()
    optimizer.step()
    optimizer.zero_grad()
    adaptation.teacher.follow(student)


def bare_step(
    adaptation: Adaptation,
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    pair: SyntheticPair,
    real: RealBatch,
) -> None:
    adaptation.teacher(real.hazy)
    both = torch.cat((pair.hazy, real.hazy))
    (read_output(student(both), both).scene - both).abs().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def timed(step: object) -> float:
    start = time.process_time()
    step()  # type: ignore[operator]
    return time.process_time() - start


if __name__ == "__main__":
    main()
