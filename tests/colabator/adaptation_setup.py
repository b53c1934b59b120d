"""A tiny network, evaluators with closed forms, and batches, for the tests of Colabator."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from corun.colabator.adapt import Adaptation, AdaptationConfig, RealBatch, SyntheticPair
from corun.colabator.label_pool import LabelPool, PoolIdentity
from corun.colabator.teacher import Teacher, TeacherConfig
from corun.judges.protocols import Scores, block_means

SIDE, BLOCK = 32, 8


class TinyNetwork(nn.Module):
    """One convolution, residual; with a transmission if asked."""

    def __init__(self, transmission: bool = False) -> None:
        super().__init__()
        self.scene = nn.Conv2d(3, 3, 3, padding=1)
        self.t = nn.Conv2d(3, 1, 1) if transmission else None

    def forward(self, hazy: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        scene = hazy + self.scene(hazy)
        return scene if self.t is None else (scene, torch.sigmoid(self.t(hazy)))


class MeanDensity:
    """D = the mean of the least channel: brighter shadows are hazier."""

    name = "mean dark channel"
    differentiable = True

    def overall(self, image: Tensor) -> Tensor:
        return image.amin(1).flatten(1).mean(1)

    def score(self, image: Tensor, block: int) -> Scores:
        dark = image.amin(1, keepdim=True)
        return Scores(dark.flatten(1).mean(1), block_means(dark, block).clamp(0, 1))

    def to(self, device: torch.device) -> MeanDensity:
        return self


class SpreadQuality:
    """Q = twice the mean distance from the mean grey."""

    name = "spread"

    def score(self, image: Tensor, block: int) -> Scores:
        grey = image.mean(1, keepdim=True)
        spread = 2 * (grey - grey.mean((2, 3), keepdim=True)).abs()
        return Scores(spread.flatten(1).mean(1), block_means(spread, block).clamp(0, 1))

    def to(self, device: torch.device) -> SpreadQuality:
        return self


def tiny_network(seed: int = 0, *, transmission: bool = False) -> TinyNetwork:
    """A network of fixed weights."""
    torch.manual_seed(seed)
    return TinyNetwork(transmission)


def make_adaptation(
    folder: Path, student: nn.Module, keys: list[str], **settings: object
) -> Adaptation:
    """Colabator around a student, without files of weights."""
    settings = {"block": BLOCK, **settings}
    config = AdaptationConfig.model_validate(settings)
    density, quality = MeanDensity(), SpreadQuality()
    identity = PoolIdentity("tiny", density.name, quality.name, SIDE, config.block, config.weights)
    teacher = Teacher(student, TeacherConfig(decay=0.9))
    return Adaptation(config, teacher, LabelPool(folder, identity, keys), density, quality)


def make_batches(step: int, keys: list[str]) -> tuple[SyntheticPair, RealBatch]:
    """Random pictures that depend on nothing but the step."""
    generator = torch.Generator().manual_seed(step)
    clean = torch.rand(2, 3, SIDE, SIDE, generator=generator)
    pair = SyntheticPair(clean * 0.5 + 0.4, clean)
    pictures = torch.stack(
        [
            torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(hash_of(k)))
            for k in keys
        ]
    )
    flip = torch.tensor([(step + i) % 2 == 0 for i in range(len(keys))])
    return pair, RealBatch(pictures * 0.6 + 0.3, keys, flip, seed=step)


def hash_of(key: str) -> int:
    """A number made of a key, the same in every run."""
    return sum(ord(c) * 31**i for i, c in enumerate(key)) % 2**31
