"""Dehazing as a transform of a data pipeline: torchvision's Compose, kornia's, nn.Sequential.

    pipeline = torchvision.transforms.v2.Compose([Dehaze(), RandomCrop(256), ...])

python examples/torch_transform.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import corun


class Dehaze(nn.Module):
    """Tensors in and out, RGB, (3,H,W) or (B,3,H,W): uint8, or floating point in [0,1].

    Args:
        model: see `corun.load`. In worker processes of a DataLoader it is loaded once for each.
        strength: how much of the haze goes, 0 to 1.
        device: where the network runs; results are where the pictures were.
    """

    def __init__(
        self, model: str = "corun-lite", *, strength: float = 1.0, device: str = "cpu"
    ) -> None:
        super().__init__()
        self.model, self.strength, self.device = model, strength, device
        self._dehazer: corun.dehazing.dehazer.Dehazer | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_dehazer": None}  # a session of ONNX Runtime cannot be sent

    def forward(self, image: Tensor) -> Tensor:
        if self._dehazer is None:
            self._dehazer = corun.load(self.model, device=self.device, threads=1)
        return self._dehazer(image, strength=self.strength).image


def main(model: str = "corun-lite") -> None:
    pipeline = nn.Sequential(Dehaze(model), nn.AvgPool2d(2))
    print(tuple(pipeline(torch.rand(2, 3, 96, 128)).shape))


if __name__ == "__main__":
    main()
