"""Run a network of your own on any kind of picture.

    python examples/own_network.py hazy.jpg clear.png

`from_network` takes any module that maps RGB in [0,1], (B,3,H,W), to the clear scene of that shape.
It pads to the size the network needs, crops back, and keeps size, depth, alpha, EXIF and profile.
The network here is no learned one: it stretches each colour between its 1st and 99th percentile.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from corun.dehazing.loading import from_network


class PercentileStretch(nn.Module):
    """J = (P − p₁)/(p₉₉ − p₁), percentiles per picture and colour."""

    def forward(self, hazy: Tensor) -> Tensor:
        # Every 16th value is enough for a percentile, and quantile takes no more than 16 million.
        samples = hazy.flatten(2)[..., ::16].contiguous()
        levels = torch.tensor([0.01, 0.99], device=hazy.device)
        low, high = torch.quantile(samples, levels, dim=-1)
        scale = (high - low).clamp(min=1e-3)[..., None, None]
        return (hazy - low[..., None, None]) / scale


def main(source: Path, target: Path) -> None:
    dehazer = from_network(PercentileStretch(), name="percentile-stretch", size_multiple=8)
    print(dehazer(source).save(target, overwrite=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
