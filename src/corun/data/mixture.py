"""What a network is trained on: synthetic haze of photos with depth, and pairs, mixed by weights.

Sample number i comes from the same source in every run. Of every thousand in a row each source has
its share, in an order of its own, and sees its own photos in its own epochs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from pydantic import Field, StringConstraints, model_validator
from torch import Tensor

from corun.data.clean_depth import (
    CleanDepthConfig,
    CleanDepthFolder,
    CleanDepthSample,
    DepthCropConfig,
)
from corun.data.pairs import PairFolder, PairSample, PairsConfig
from corun.data.synthesis import HazyBatch, SynthesisConfig, synthesize_haze
from corun.errors import DataError
from corun.physics.transmission import DepthConvention

BLOCK = 1000
"""Samples in a row of which each source has its share, to the nearest whole one."""

SourceName = Annotated[str, StringConstraints(pattern=r"^[\w-]+$")]


class TrainingDataConfig(DepthCropConfig):
    """Clean photos with depth, from which haze is made, and pairs of hazy and clear photos.

    Either may be left out. A pair knows no transmission: the terms of a loss that need the true
    one leave its crops out, which is said.

    Attributes:
        clean: folder of clean photos.
        depth: folder of depth maps with the same stems (npy, png, jpg, mat, h5), of any size.
        convention: what the depth files hold: ``distance`` (larger = farther) or ``inverse``.
        weight: how many crops come of the clean photos, relative to the weights of the pairs; 0 for
            none, whatever the folders are.
        pairs: folders of pairs, each under a name of your choice.
    """

    clean: Path | None = None
    depth: Path | None = None
    convention: DepthConvention | None = None
    weight: float = Field(1.0, ge=0)
    pairs: dict[SourceName, PairsConfig] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_source(self) -> TrainingDataConfig:
        given = [value is not None for value in (self.clean, self.depth, self.convention)]
        if any(given[:2]) and not all(given) and self.weight:
            raise ValueError(
                "clean, depth and convention (distance or inverse) go together; give all three, or "
                "weight: 0"
            )
        if not self.pairs and (self.clean is None or not self.weight):
            raise ValueError("give clean, depth and convention, or pairs, or both")
        return self

    @property
    def clean_depth(self) -> CleanDepthConfig | None:
        """The photos with depth, or None without any."""
        if self.clean is None or not self.weight:
            return None
        return CleanDepthConfig.model_validate(self.model_dump(exclude={"weight", "pairs"}))

    def relevant(self) -> dict[str, Any]:
        """As plain values, without what decides nothing: a source alone has all of the crops."""
        return self.model_dump(mode="json", exclude=None if self.pairs else {"pairs", "weight"})


class HazyCrops(NamedTuple):
    """What a network is shown in a part of a step.

    Attributes:
        haze: hazy crops and what they should become; T and A are 1 where nobody knows them.
        known: of which crops T and A are known; None for all.
        names: the files they were made of.
    """

    haze: HazyBatch
    known: Bool[Tensor, " b"] | None
    names: list[str]

    def to(self, device: torch.device) -> HazyCrops:
        """The same on a device."""
        haze = HazyBatch(*(value.to(device, non_blocking=True) for value in self.haze))
        return HazyCrops(haze, None if self.known is None else self.known.to(device), self.names)


class TrainingData:
    """The sources on disk, and which sample comes from which.

    Args:
        config: where they are.
        synthesis: what haze is made of photos with depth.
        seed: what all randomness comes from.

    Raises:
        DataError: see :class:`CleanDepthFolder` and :class:`PairFolder`.
    """

    def __init__(self, config: TrainingDataConfig, synthesis: SynthesisConfig, seed: int) -> None:
        self.config, self.synthesis, self.seed = config, synthesis, seed
        with_depth = config.clean_depth
        self.clean = None if with_depth is None else CleanDepthFolder(with_depth, seed)
        self.pairs: dict[str, PairFolder] = {}
        for number, (name, pairs) in enumerate(config.pairs.items()):
            crops = config.model_copy(update={"scale": pairs.scale or config.scale})
            self.pairs[name] = PairFolder(pairs, crops, seed, 7, number)

    def notes(self, term: str) -> list[str]:
        """What a person should know of the pairs: how many there are, by which rule, and so on.

        Args:
            term: the loss that asks for the true transmission; "" for none.
        """
        told = [f"pairs {name}: {folder.summary()}" for name, folder in self.pairs.items()]
        if term and self.pairs:
            told.append(f"{term} leaves out pairs; their truth is unknown")
        return told

    def split(
        self, share: float, *, clean: bool, pairs: bool
    ) -> tuple[TrainingData, TrainingData | None]:
        """What is trained on, and what of the chosen kinds is held out; None for nothing.

        A clear photo that one source holds out is not trained on in any other either.

        Raises:
            DataError: nothing is left of a source.
        """
        kept, held = copy(self), copy(self)
        held.clean, held.pairs = None, {}
        if clean and self.clean is not None:
            kept.clean, held.clean = self.clean.split(share)
        if pairs:
            halves = {name: folder.split(share) for name, folder in self.pairs.items()}
            kept.pairs = {name: most for name, (most, _) in halves.items()}
            held.pairs = {name: rest for name, (_, rest) in halves.items()}
        shown = {photo.resolve() for photo in held.clean.photos} if held.clean else set()
        shown = shown.union(*(folder.clear_photos() for folder in held.pairs.values()))
        if kept.clean is not None:
            kept.clean = kept.clean.without(shown)
        kept.pairs = {name: folder.without(shown) for name, folder in kept.pairs.items()}
        left = {"data.clean": kept.clean, **{f"data.pairs.{k}": v for k, v in kept.pairs.items()}}
        for key, folder in left.items():
            if folder is not None and not len(folder):
                raise DataError(
                    f"{key}: all of its clear photos are held out for validation by other sources; "
                    "give more, a smaller validation.held_out, or other photos to validate on"
                )
        return kept, held if held.clean or held.pairs else None

    def batch(self, start: int, size: int) -> HazyCrops:
        """Crops number ``start`` … ``start + size − 1`` of the endless sequence, with their haze.

        Raises:
            CorunError: a photo or its depth cannot be read, or the photos of a pair differ in size.
        """
        samples = [self._sample(number) for number in range(start, start + size)]
        names = [sample.name for sample in samples]
        with_depth = [sample for sample in samples if isinstance(sample, CleanDepthSample)]
        made: Iterator[tuple[Tensor, ...]] = iter(())
        if with_depth:
            haze = synthesize_haze(
                torch.stack([sample.clean for sample in with_depth]),
                torch.stack([sample.depth for sample in with_depth]),
                self.synthesis,
                torch.Generator().manual_seed(self.seed * 1_000_003 + start),
            )
            if len(with_depth) == size:
                return HazyCrops(haze, None, names)
            airlight = haze.airlight.expand_as(haze.hazy)
            made = zip(*haze._replace(airlight=airlight), strict=True)
        rows = [
            next(made) if isinstance(sample, CleanDepthSample) else _of_pair(sample)
            for sample in samples
        ]
        known = torch.tensor([isinstance(sample, CleanDepthSample) for sample in samples])
        return HazyCrops(HazyBatch(*map(torch.stack, zip(*rows, strict=True))), known, names)

    def _sample(self, number: int) -> CleanDepthSample | PairSample:
        sources: list[tuple[CleanDepthFolder | PairFolder, float]] = [
            (folder, self.config.pairs[name].weight) for name, folder in self.pairs.items()
        ]
        if self.clean is not None:
            sources.insert(0, (self.clean, self.config.weight))
        chosen, own = locate(number, [weight for _, weight in sources], self.seed)
        return sources[chosen][0].sample(own)


def _of_pair(sample: PairSample) -> tuple[Tensor, ...]:
    """A row of a :class:`HazyBatch`, T and A unknown."""
    unknown = torch.ones_like(sample.hazy)
    return sample.hazy, sample.clear, unknown[:1], unknown


def locate(number: int, weights: Sequence[float], seed: int) -> tuple[int, int]:
    """Which source a sample comes from, and its number there.

    Args:
        number: of the sample.
        weights: of the sources, > 0; a source has at least one of :data:`BLOCK` samples.
        seed: what the order in a block comes from.

    Returns:
        The source's place in ``weights``, and how many samples came from it before.
    """
    if len(weights) == 1:
        return 0, number
    counts = shares(weights)
    block, place = divmod(number, BLOCK)
    order = np.random.default_rng((seed, 8, block)).permutation(
        np.repeat(range(len(counts)), counts)
    )
    chosen = int(order[place])
    return chosen, block * counts[chosen] + int((order[:place] == chosen).sum())


def shares(weights: Sequence[float]) -> list[int]:
    """How many of :data:`BLOCK` samples each source has: largest remainders, at least one."""
    exact = [BLOCK * weight / sum(weights) for weight in weights]
    counts = [max(1, int(share)) for share in exact]
    while sum(counts) != BLOCK:
        step = 1 if sum(counts) < BLOCK else -1
        errors = [step * (share - count) for share, count in zip(exact, counts, strict=True)]
        # Where minima of one sum to too much, it is the largest source that gives way.
        able = [k for k in range(len(counts)) if step > 0 or counts[k] > 1]
        counts[max(able, key=lambda k: (errors[k], counts[k]))] += step
    return counts
