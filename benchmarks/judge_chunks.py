"""What it costs to score the blocks of photos a few at a time, and all at once as before.

    python benchmarks/judge_chunks.py [--photos 2] [--side 288] [--block 32] [--rounds 3]

The judge is of MUSIQ's shape (each block enlarged to 224 and 384 pixels, 194 patches of 32 pixels
through a convolution, a bottleneck and 14 transformer layers), its weights seeded and random: only
time and memory are of interest. Each way runs in a process of its own, the two alternate, and the
ratios of the medians are printed, with the greatest difference of a score. Times are processor
time, so that other programs on the machine do not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corun.judges.protocols import cut_blocks, in_chunks
from corun.judges.pyiqa_metric import CHUNK

PATCH, WIDTH, SIDES = 32, 384, (224, 384)


class MusiqSized(nn.Module):
    """One number of each picture, at the cost of MUSIQ."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.root = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bottleneck = nn.Sequential(
            *(nn.Conv2d(64, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()),
            nn.Conv2d(64, 256, 1),
        )
        self.embedding = nn.Linear(256 * (PATCH // 4) ** 2, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 6, 3 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        scales = [F.interpolate(pictures, (side, side), mode="bicubic") for side in SIDES]
        cut = [F.unfold(scale, PATCH, stride=PATCH) for scale in (*scales, pictures)]
        patches = torch.cat(cut, 2).transpose(1, 2)
        count, length, _ = patches.shape
        seen = F.max_pool2d(self.root(patches.reshape(-1, 3, PATCH, PATCH)).relu(), 2)
        tokens = self.embedding(self.bottleneck(seen).flatten(1)).view(count, length, WIDTH)
        scores: Tensor = self.head(self.encoder(tokens).mean(1))[:, 0]
        return scores


def measure(options: argparse.Namespace) -> None:
    """Score once, and print seconds, the peak of the memory and the scores."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    judge = MusiqSized(options.layers).eval()
    pictures = torch.rand(options.photos, 3, options.side, options.side)
    blocks, _ = cut_blocks(pictures, options.block)
    judge(blocks[:1])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    most = CHUNK if options.way == "chunks" else len(blocks)
    with torch.no_grad():
        scores = in_chunks(judge, blocks, most)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([seconds, (peak - before) / 1024, scores.tolist()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--side", type=int, default=288)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--layers", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--way", choices=("chunks", "at once"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure(options)
        return
    found: dict[str, list[tuple[float, float, list[float]]]] = {"chunks": [], "at once": []}
    for _ in range(options.rounds):
        for way, results in found.items():
            command = [sys.executable, *sys.argv, "--way", way]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append(tuple(json.loads(told)))
    seconds, memory = (
        {way: statistics.median(one[part] for one in results) for way, results in found.items()}
        for part in (0, 1)
    )
    differences = [
        abs(one - other)
        for one, other in zip(found["chunks"][0][2], found["at once"][0][2], strict=True)
    ]
    count = len(differences)
    print(f"{count} blocks, {CHUNK} at a time against all at once")
    print(f"processor time {seconds['chunks']:.1f} s against {seconds['at once']:.1f} s: ", end="")
    print(f"ratio {seconds['chunks'] / seconds['at once']:.2f}")
    print(f"memory {memory['chunks']:.0f} MB against {memory['at once']:.0f} MB")
    print(f"greatest difference of a score {max(differences):.1e}")


if __name__ == "__main__":
    main()
