"""Pre-training on synthetic haze (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from corun.colabator.evaluators.embedded import embedded_density
from corun.configuration import Range, ordered
from corun.data.clean_depth import CleanDepthConfig, CleanDepthFolder
from corun.data.synthesis import (
    HazyBatch,
    SynthesisConfig,
    share_of_light,
    synthesize_haze,
)
from corun.errors import ConfigurationError
from corun.losses import (
    VggFeatures,
    colour_loss,
    contrastive_perceptual_loss,
    density_loss,
    layer_weights_for,
    pixel_loss,
    scattering_consistency_loss,
)
from corun.networks.checkpoints import load_network, save_network
from corun.networks.corun import CORUN, CorunConfig
from corun.networks.published_layout import load_strictly
from corun.training.configuration import (
    OptimizerConfig,
    RunConfig,
    Strict,
    load_configuration,
)
from corun.training.engine import train
from corun.training.task import LossTerms, Validation
from corun.training.validation import (
    ValidationConfig,
    require_validation_data,
    synthetic_scores,
    synthetic_sheet,
)


class PretrainLossConfig(Strict):
    """Weights of the loss terms; 0 turns a term off.

    Attributes:
        pixel: ‖J_K − G‖₁.
        scattering: scattering consistency, ‖J_K·T̂_K + (1 − T̂_K) − P‖₁.
        transmission: ‖T − t‖₁ over T̂_K and every T-prior's output, t the synthetic truth. Not in
            the paper: without it nothing ties T to the transmission, and a T-prior can drift to
            values that the next T-step clamps everywhere, where no gradient brings it back.
        colour: of J_K's differences from its own grey, ‖(J − J̄) − (G − Ḡ)‖₁. Not in the paper: in
            ‖J_K − G‖₁ a cast or a wrong hue weighs little beside an error of brightness, and eyes
            see the cast first.
        unfitted: ‖J − G‖₁ of the last J-prior's scene before the closing fit. Not in the paper:
            the fit hides texture, so without it nothing keeps the prior from inventing some, which
            then comes through as blotches.
        contrastive: the contrastive perceptual term; needs ``vgg``.
        vgg: local VGG-19 weights; without a file the contrastive term is off.
        vgg_layer_weights: one weight per layer of the file; empty for the published ones.
        contrastive_from: step at which the contrastive term sets in.
        contrastive_range: transmissions between which the contrastive term fades in; below, it is
            shown the target in place of the scene and of the hazy photo. Not in the paper, whose
            term, (0, 0), rewards whatever differs from the haze, dark clouds in dense haze as well.
        density: D(J_K), the paper's global coherence, under ``density_weights``.
        density_target: D of a clear enough picture, in [0,1): only what is above it counts. 0 is
            the paper's.
        density_weights: a density network of your own; without, the embedded one.
    """

    pixel: float = Field(1.0, ge=0)
    scattering: float = Field(0.01, ge=0)
    transmission: float = Field(0.0, ge=0)
    colour: float = Field(0.0, ge=0)
    unfitted: float = Field(0.0, ge=0)
    contrastive: float = Field(0.2, ge=0)
    vgg: Path | None = None
    vgg_layer_weights: tuple[float, ...] = ()
    contrastive_from: int = Field(0, ge=0)
    contrastive_range: Annotated[Range, ordered(least=0.0)] = (0.0, 0.0)
    density: float = Field(1.0, ge=0)
    density_target: float = Field(0.0, ge=0, lt=1)
    density_weights: Path | None = None


class PretrainConfig(Strict):
    """Everything a pre-training needs; see ``configs/``."""

    run: RunConfig
    data: CleanDepthConfig
    network: CorunConfig = CorunConfig()
    initial_weights: Path | None = None
    synthesis: SynthesisConfig = SynthesisConfig()
    loss: PretrainLossConfig = PretrainLossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    validation: ValidationConfig = ValidationConfig()


@dataclass(frozen=True)
class CleanBatch:
    """Crops of clean photos with depth, and the seed of the haze that goes onto them."""

    clean: Tensor
    depth: Tensor
    haze_seed: int
    names: list[str]


class Pretraining:
    """The task of pre-training.

    Args:
        config: everything.
    """

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        require_validation_data(config.validation)
        torch.manual_seed(config.run.seed)
        self.network: nn.Module = initial_network(config)
        self.folder = CleanDepthFolder(config.data, config.run.seed)
        self.features: VggFeatures | None = None
        self.layer_weights: tuple[float, ...] = ()
        if config.loss.contrastive and config.loss.vgg is not None:
            self.features = VggFeatures(config.loss.vgg)
            self.layer_weights = config.loss.vgg_layer_weights or layer_weights_for(self.features)
            if len(self.layer_weights) != len(self.features.layers):
                raise ConfigurationError(
                    f"loss.vgg_layer_weights: {config.loss.vgg} has {len(self.features.layers)} "
                    f"layers ({', '.join(self.features.layers)}), not {len(self.layer_weights)}"
                )
        self.density = (
            embedded_density(config.loss.density_weights) if config.loss.density else None
        )
        self.notices = []
        if config.loss.contrastive and self.features is None:
            self.notices.append("loss.vgg names no file, so the contrastive perceptual term is off")

    def prepare(self, step: int, part: int, rank: int, world: int) -> CleanBatch:
        """Crops number (step, rank, part) of the endless shuffled sequence."""
        run = self.config.run
        size = run.batch // run.accumulate
        start = (step * world + rank) * run.batch + part * size
        samples = [self.folder.sample(number) for number in range(start, start + size)]
        return CleanBatch(
            torch.stack([s.clean for s in samples]),
            torch.stack([s.depth for s in samples]),
            run.seed * 1_000_003 + start,
            [s.name for s in samples],
        )

    def loss(
        self, network: nn.Module, batch: CleanBatch, step: int, part: int, rank: int
    ) -> LossTerms:
        """L1 + scattering consistency + contrastive perceptual + density (DESIGN §4)."""
        haze = self._haze(batch, next(network.parameters()).device)
        weights = self.config.loss
        stages = network(haze.hazy, all_stages=True)
        scene, transmission = stages[-1].scene.float(), stages[-1].transmission_hat.float()
        parts: dict[str, Tensor] = {"pixel": pixel_loss(scene, haze.target)}
        total = weights.pixel * parts["pixel"]
        if weights.scattering:
            parts["scattering"] = scattering_consistency_loss(scene, transmission, haze.hazy)
            total = total + weights.scattering * parts["scattering"]
        if weights.transmission:
            estimates = [stage.transmission.float() for stage in stages]
            errors = [(T - haze.transmission).abs().mean() for T in estimates]
            parts["transmission"] = torch.stack(errors).mean()
            total = total + weights.transmission * parts["transmission"]
        if weights.colour:
            parts["colour"] = colour_loss(scene, haze.target)
            total = total + weights.colour * parts["colour"]
        if weights.unfitted:
            parts["unfitted"] = pixel_loss(stages[-1].scene_unfitted.float(), haze.target)
            total = total + weights.unfitted * parts["unfitted"]
        if self.features is not None and step >= weights.contrastive_from:
            parts["contrastive"] = self._contrastive(scene, haze)
            total = total + weights.contrastive * parts["contrastive"]
        if self.density is not None:
            D = self.density.to(scene.device).overall(scene)
            parts["density"] = density_loss((D - weights.density_target).clamp(min=0))
            total = total + weights.density * parts["density"]
        return LossTerms(total, {name: value.detach() for name, value in parts.items()})

    def _contrastive(self, scene: Tensor, haze: HazyBatch) -> Tensor:
        assert self.features is not None
        features = self.features.to(scene.device)
        low = self.config.run.precision == "bfloat16"

        between = self.config.loss.contrastive_range
        m = share_of_light(haze.transmission, between) if between[1] > 0 else None

        def maps(image: Tensor) -> list[Tensor]:
            if m is not None:
                image = m * image + (1 - m) * haze.target
            with torch.autocast(scene.device.type, torch.bfloat16, enabled=low):
                taps = features(image)
            return [tap.float() for tap in taps]

        with torch.no_grad():
            positive, negative = maps(haze.target), maps(haze.hazy)
        return contrastive_perceptual_loss(maps(scene), positive, negative, self.layer_weights)

    def _haze(self, batch: CleanBatch, device: torch.device) -> HazyBatch:
        generator = torch.Generator().manual_seed(batch.haze_seed)
        clean, depth = batch.clean.to(device), batch.depth.to(device)
        with torch.no_grad():
            return synthesize_haze(clean, depth, self.config.synthesis, generator)

    def after_step(self, network: nn.Module) -> None:
        """Nothing to do."""

    def validate(self, network: nn.Module) -> Validation | None:
        """PSNR and SSIM on fixed synthetic haze over the validation photos."""
        scores = synthetic_scores(network, self.config.validation)
        name = f"PSNR on {self.config.validation.clean}"
        return None if scores is None else Validation(scores, scores["PSNR"], name)

    def pictures(self, network: nn.Module) -> dict[str, Tensor]:
        """Hazy, dehazed, target of some validation photos; real photos before and after."""
        return synthetic_sheet(network, self.config.validation)

    def state_dict(self) -> dict[str, Any]:
        """Nothing besides the network."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""

    def finish(self, network: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write ``weights.safetensors`` with everything that made it."""
        scores = synthetic_scores(network, self.config.validation)
        metadata = {
            "trained_by": "corun train pretrain",
            "configuration": self.config.model_dump(mode="json"),
            "validation": scores or {},
            **facts,
        }
        save_network(folder / "weights.safetensors", network, metadata)


def initial_network(config: PretrainConfig) -> nn.Module:
    """A CORUN of the configured hyper-parameters, new or filled from ``initial_weights``.

    The hyper-parameters without tensors (the T-step, the closing fit) may differ from the file's.

    Raises:
        WeightsError: the file's tensors are not those of the configured network.
    """
    network = CORUN(config.network)
    if config.initial_weights is not None:
        source = load_network(config.initial_weights).network
        load_strictly(network, source.state_dict(), str(config.initial_weights))
    return network


def run(config_path: Path, overrides: list[str] | None = None) -> None:
    """Pre-train as a YAML file says, with ``dotted.key=value`` overrides.

    Raises:
        CorunError: see :func:`corun.training.engine.train` and
            :func:`corun.training.configuration.load_configuration`.
    """
    import sys

    config = load_configuration(PretrainConfig, config_path, overrides)
    task = Pretraining(config)
    for notice in task.notices:
        sys.stderr.write(f"note: {notice}\n")
    train(task, config.run, config.optimizer, identity_of(config))


def identity_of(config: PretrainConfig) -> str:
    """What must not change between a checkpoint and its continuation."""
    relevant = config.model_dump(mode="json", exclude={"run": {"folder", "device", "threads"}})
    for name in ("workers", "checkpoint_every", "validate_every", "picture_every", "compile"):
        relevant["run"].pop(name)
    import json

    return json.dumps(relevant, sort_keys=True)
