"""Pre-training on synthetic haze."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from corun.configuration import Strict, load_configuration
from corun.data.mixture import HazyCrops, TrainingData, TrainingDataConfig
from corun.data.synthesis import SynthesisConfig
from corun.errors import ConfigurationError, tell
from corun.judges.density_net import embedded_density
from corun.losses import (
    colour_loss,
    density_loss,
    gradient_loss,
    pixel_loss,
    scattering_consistency_loss,
    structure_loss,
    transmission_loss,
)
from corun.networks.checkpoints import load_network, save_network
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.networks.published_layout import build_filled
from corun.perceptual import PerceptualConfig, PerceptualTerms
from corun.training.configuration import OptimizerConfig, RunConfig
from corun.training.engine import train
from corun.training.task import LossTerms, Task, Validation
from corun.training.validation import (
    ValidationConfig,
    ValidationSet,
    known_scores,
    known_sheets,
    psnr_criterion,
    require_validation_data,
    validation_sets,
)


class PretrainLossConfig(PerceptualConfig):
    """Weights of the loss terms; 0 turns a term off. J is the result, at full size.

    Attributes:
        pixel: ‖J − G‖₁.
        last_stage: ‖J_K − G′‖₁ of the last stage's scene, G′ the target averaged over cells.
        earlier_stages: Σ ‖J_k − G′‖₁ of the stages before.
        scattering: scattering consistency, ‖J·T + (1 − T) − P‖₁, T the last stage's.
        transmission: Σ_k ‖T_k − t′‖₁, t′ the synthetic truth averaged over cells. Not in the
            paper: without it nothing ties T to the transmission, and a T-prior can drift to
            values that the next T-step clamps everywhere, where no gradient brings it back.
        colour: of J's differences from its own grey, ‖(J − J̄) − (G − Ḡ)‖₁. Not in the paper: in
            ‖J − G‖₁ a cast or a wrong hue weighs little beside an error of brightness, and eyes
            see the cast first.
        structure: 1 − SSIM of J, in windows of 7×7 pixels.
        gradient: ‖∇J − ∇G‖₁.
        contrastive: the contrastive perceptual term; needs ``vgg``.
        contrastive_from: step at which the contrastive term sets in.
        density: D(J), the paper's global coherence, under ``density_weights``.
        density_target: D of a clear enough picture, in [0,1): only what is above it counts. 0 is
            the paper's.
        density_weights: a density network of your own; without, the embedded one.
    """

    pixel: float = Field(1.0, ge=0)
    last_stage: float = Field(0.0, ge=0)
    earlier_stages: float = Field(0.0, ge=0)
    scattering: float = Field(0.01, ge=0)
    transmission: float = Field(0.0, ge=0)
    colour: float = Field(0.0, ge=0)
    structure: float = Field(0.0, ge=0)
    gradient: float = Field(0.0, ge=0)
    contrastive: float = Field(0.2, ge=0)
    contrastive_from: int = Field(0, ge=0)
    density: float = Field(1.0, ge=0)
    density_target: float = Field(0.0, ge=0, lt=1)
    density_weights: Path | None = None


class PretrainValidationConfig(ValidationConfig):
    """What is validated on; ``null`` for nothing. Recipes' photos are not looked for when a command
    gives ``data.clean`` and no ``validation.clean``.

    Attributes:
        clean: folder of clean photos; without it, photos of ``data.clean`` that are not trained on.
        pairs: folders of pairs, each under a name of your choice; each has scores of its own.
            Without any, pairs of ``data.pairs`` that are not trained on.
        held_out: share of ``data.clean``, and of the clear photos of each of ``data.pairs``, that
            is such, (0,1); at least one photo, at most 64.
    """

    held_out: float = Field(0.05, gt=0, lt=1)


class PretrainConfig(Strict):
    """Everything a pre-training needs; see ``configs/``.

    Attributes:
        initial_weights: start from a weights file, with a new optimiser.
    """

    run: RunConfig
    data: TrainingDataConfig
    network: CorunConfig = CorunConfig()
    initial_weights: Path | None = None
    synthesis: SynthesisConfig = SynthesisConfig()
    loss: PretrainLossConfig = PretrainLossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    validation: PretrainValidationConfig | None = PretrainValidationConfig()


class Pretraining(Task):
    """The task of pre-training.

    Args:
        config: everything.
    """

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        if config.validation is not None:
            require_validation_data(config.validation)
        network, crop = config.network, config.data.crop
        if crop % network.multiple or 0 < network.working_pixels < crop**2:
            raise ConfigurationError(
                f"data.crop: {crop} is no multiple of {network.multiple}, or more than "
                "network.working_pixels; the losses compare whole crops at the stages' own size"
            )
        torch.manual_seed(config.run.seed)
        self.network = initial_network(config)
        self.data = TrainingData(config.data, config.synthesis, config.run.seed)
        self.notices = self.data.notes("loss.transmission" if config.loss.transmission else "")
        self.held_out: TrainingData | None = None
        if config.validation is not None:
            self.data, self.held_out = self.data.split(
                config.validation.held_out,
                clean=config.validation.clean is None,
                pairs=not config.validation.pairs,
            )
        self.terms: PerceptualTerms | None = None
        if config.loss.contrastive and config.loss.vgg is not None:
            low = config.run.precision == "bfloat16"
            self.terms = PerceptualTerms(config.loss, "loss", low_precision=low)
        self.density = (
            embedded_density(config.loss.density_weights) if config.loss.density else None
        )
        if config.loss.contrastive and self.terms is None:
            self.notices.append("loss.vgg names no file, so the contrastive perceptual term is off")
        if self.data.pairs and self.terms is not None and config.loss.contrastive_range[1] > 0:
            self.notices.append(
                "loss.contrastive_range has no effect on pairs, whose transmission nobody knows"
            )

    def prepare(self, step: int, part: int, rank: int, world: int) -> HazyCrops:
        """Crops number (step, rank, part) of the endless shuffled sequence, with their haze."""
        run = self.config.run
        size = run.batch // run.accumulate
        return self.data.batch((step * world + rank) * run.batch + part * size, size)

    def loss(
        self, network: nn.Module, batch: HazyCrops, step: int, part: int, rank: int
    ) -> LossTerms:
        """The weighted sum of the terms of :class:`PretrainLossConfig`."""
        haze, known, _ = batch.to(next(network.parameters()).device)
        weights = self.config.loss
        unfolding = network(haze.hazy, all_stages=True)
        scene, T = (value.float() for value in unfolding.output)
        cells = unfolding.cells.shape[-2:]
        target, truth = (_at_cells(v, cells) for v in (haze.target, haze.transmission))
        scenes = [stage.scene.float() for stage in unfolding.stages]
        terms: list[tuple[str, float, Callable[[], Tensor]]] = [
            ("pixel", weights.pixel, lambda: pixel_loss(scene, haze.target)),
            ("last stage", weights.last_stage, lambda: pixel_loss(scenes[-1], target)),
            (
                "earlier stages",
                weights.earlier_stages if len(scenes) > 1 else 0.0,
                lambda: torch.stack([pixel_loss(J, target) for J in scenes[:-1]]).sum(),
            ),
            (
                "scattering",
                weights.scattering,
                lambda: scattering_consistency_loss(scene, T, haze.hazy),
            ),
            (
                "transmission",
                weights.transmission,
                lambda: torch.stack(
                    [
                        transmission_loss(stage.transmission.float(), truth, known)
                        for stage in unfolding.stages
                    ]
                ).sum(),
            ),
            ("colour", weights.colour, lambda: colour_loss(scene, haze.target)),
            ("structure", weights.structure, lambda: structure_loss(scene, haze.target)),
            ("gradient", weights.gradient, lambda: gradient_loss(scene, haze.target)),
        ]
        perceptual = self.terms
        if perceptual is not None and step >= weights.contrastive_from:
            terms.append(
                (
                    "contrastive",
                    weights.contrastive,
                    lambda: perceptual.contrastive_where_seen(
                        scene, haze.target, haze.hazy, haze.transmission, step + part
                    ),
                )
            )
        if self.density is not None:
            terms.append(("density", weights.density, lambda: self._density(scene)))
        parts = {name: term() for name, weight, term in terms if weight}
        total = torch.stack([weight * parts[name] for name, weight, _ in terms if weight]).sum()
        return LossTerms(total, {name: value.detach() for name, value in parts.items()})

    def _density(self, scene: Tensor) -> Tensor:
        assert self.density is not None
        D = self.density.to(scene.device).overall(scene)
        return density_loss((D - self.config.loss.density_target).clamp(min=0))

    def validate(self, network: nn.Module) -> Validation | None:
        """PSNR and SSIM on fixed synthetic haze over the validation photos, and on pairs."""
        return psnr_criterion(known_scores(network, self._validation), self._validation)

    def pictures(self, network: nn.Module) -> dict[str, Tensor]:
        """Hazy, dehazed, target of some validation photos; real photos before and after."""
        if self.config.validation is None:
            return {}
        return known_sheets(network, self.config.validation, self._validation)

    @cached_property
    def _validation(self) -> list[ValidationSet]:
        if self.config.validation is None:
            return []
        return validation_sets(self.config.validation, self.held_out)

    def finish(self, network: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write ``weights.safetensors`` with everything that made it."""
        metadata = {
            "trained_by": "corun train pretrain",
            "configuration": self.config.model_dump(mode="json"),
            "validation": known_scores(network, self._validation),
            **facts,
        }
        save_network(folder / "weights.safetensors", network, metadata)


def _at_cells(value: Tensor, size: torch.Size) -> Tensor:
    """Averages over the cells of a crop, which the loss sees whole: its side is their multiple."""
    return F.adaptive_avg_pool2d(value, (size[0], size[1]))


def initial_network(config: PretrainConfig) -> nn.Module:
    """A CORUN of the configured hyper-parameters, new or filled from ``initial_weights``.

    The hyper-parameters without tensors (the T-step, the working size) may differ from the file's.

    Raises:
        WeightsError: the file's tensors are not those of the configured network.
    """
    if config.initial_weights is None:
        return CORUN(config.network)
    source = load_network(config.initial_weights).network
    return build_filled(config.network, source.state_dict(), str(config.initial_weights))


def run(config_path: Path, overrides: list[str] | None = None) -> None:
    """Pre-train as a YAML file says, with ``dotted.key=value`` overrides.

    Raises:
        CorunError: see :func:`corun.training.engine.train` and
            :func:`corun.configuration.load_configuration`.
    """
    config = load_configuration(PretrainConfig, config_path, overrides)
    config = validated_on_own_data(config, overrides or [])
    task = Pretraining(config)
    for notice in task.notices:
        tell(f"note: {notice}")
    train(task, config.run, config.optimizer, identity_of(config))


def validated_on_own_data(config: PretrainConfig, overrides: list[str]) -> PretrainConfig:
    """Without a recipe's validation photos, where a command names others to train on."""
    named = {override.partition("=")[0].strip() for override in overrides}
    own = any(name == "data.clean" or name.startswith("data.pairs") for name in named)
    if config.validation is None or not own:
        return config
    if named & {"validation", "validation.clean"}:
        return config
    other = {"clean": None, "depth": None} | ({} if "validation.real" in named else {"real": None})
    return config.model_copy(update={"validation": config.validation.model_copy(update=other)})


def identity_of(config: PretrainConfig) -> str:
    """What must not change between a checkpoint and its continuation."""
    relevant = config.model_dump(mode="json", exclude={"run", "validation"})
    relevant["run"] = config.run.relevant()
    relevant["data"] = config.data.relevant()
    held = config.validation
    if held is not None and (held.clean is None or (config.data.pairs and not held.pairs)):
        relevant["data"]["held_out"] = held.held_out
    return json.dumps(relevant, sort_keys=True)
