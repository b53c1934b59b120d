"""Training of the embedded haze-density network on synthetic haze of known transmission.

Each clean crop gets two hazes, one denser than the other. The loss is

    mean|D − (1 − T̄)| + |D̄ − (1 − T̄)| + ranking(thin, dense),

over the 16×16 squares of the map (T̄: mean transmission of a square), over whole crops, and a hinge
that keeps the denser of the two above the thinner by a tenth of their true difference. A random
gain after the haze keeps plain brightness from passing for density, and clean crops (T = 1) teach
what none is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from corun.configuration import Strict, load_configuration
from corun.data.clean_depth import CleanDepthConfig, CleanDepthFolder
from corun.data.synthesis import SynthesisConfig, synthesize_haze
from corun.files import checksum, write_atomically
from corun.judges.density_net import STRIDE, DensityNet, save_density_net
from corun.training.configuration import OptimizerConfig, RunConfig
from corun.training.engine import train
from corun.training.task import LossTerms, Task, Validation


class DensityConfig(Strict):
    """Everything the training of the density network needs.

    Attributes:
        run: how it runs.
        data: clean photos with depth.
        width: channels of the network's first convolution.
        synthesis: what haze looks like.
        gain: range of the brightness factor after the haze, uniform, unitless.
        ranking: weight of the ranking term.
        validation: clean photos with depth to validate on; none for no validation.
        optimizer: how the weights move.
    """

    run: RunConfig
    data: CleanDepthConfig
    width: int = Field(24, ge=3, multiple_of=3)
    synthesis: SynthesisConfig = SynthesisConfig(
        clear_probability=0.15,
        beta=(0.05, 2.8),
        patchy_probability=0.3,
        tint_probability=0.5,
        noise_sigma=(1.0, 8.0),
    )
    gain: tuple[float, float] = (0.6, 1.15)
    ranking: float = Field(1.0, ge=0)
    validation: CleanDepthConfig | None = None
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=2e-3, warmup_steps=50)


@dataclass(frozen=True)
class DensityBatch:
    """Clean crops with depth and the seed of their haze."""

    clean: Tensor
    depth: Tensor
    seed: int
    names: list[str]


class DensityTraining(Task):
    """The task of training the density network.

    Args:
        config: everything.
    """

    def __init__(self, config: DensityConfig) -> None:
        self.config = config
        torch.manual_seed(config.run.seed)
        self.network = DensityNet(config.width)
        self.folder = CleanDepthFolder(config.data, config.run.seed)

    def prepare(self, step: int, part: int, rank: int, world: int) -> DensityBatch:
        """Crops number (step, rank, part) of the endless shuffled sequence."""
        run = self.config.run
        size = run.batch // run.accumulate
        start = (step * world + rank) * run.batch + part * size
        samples = [self.folder.sample(number) for number in range(start, start + size)]
        return DensityBatch(
            torch.stack([s.clean for s in samples]),
            torch.stack([s.depth for s in samples]),
            run.seed * 1_000_003 + start,
            [s.name for s in samples],
        )

    def loss(
        self, network: nn.Module, batch: DensityBatch, step: int, part: int, rank: int
    ) -> LossTerms:
        """See the module."""
        device = next(network.parameters()).device
        image, density = self._haze(batch, device)
        predicted = network(image)
        target = F.avg_pool2d(density, STRIDE)
        local = (predicted.map.float() - target).abs().mean()
        overall_target = target.flatten(1).mean(1)
        overall = (predicted.overall.float() - overall_target).abs().mean()
        ranking = ranking_loss(predicted.overall.float(), overall_target)
        total = local + overall + self.config.ranking * ranking
        return LossTerms(
            total,
            {
                "local": local.detach(),
                "overall": overall.detach(),
                "ranking": ranking.detach(),
            },
        )

    def _haze(self, batch: DensityBatch, device: torch.device) -> tuple[Tensor, Tensor]:
        """Both hazes of every crop, stacked, and the true density 1 − T of every pixel."""
        generator = torch.Generator().manual_seed(batch.seed)
        clean, depth = (t.to(device).repeat(2, 1, 1, 1) for t in (batch.clean, batch.depth))
        with torch.no_grad():
            haze = synthesize_haze(clean, depth, self.config.synthesis, generator)
            low, high = self.config.gain
            gain = low + (high - low) * torch.rand(len(clean), 1, 1, 1, generator=generator)
            return (haze.hazy * gain.to(device)).clamp(0, 1), 1 - haze.transmission

    @torch.no_grad()
    def validate(self, network: nn.Module) -> Validation | None:
        """Mean absolute error of the density on fixed haze over the validation photos."""
        if self.config.validation is None:
            return None
        folder = CleanDepthFolder(self.config.validation, 7)
        device = next(network.parameters()).device
        errors = []
        for start in range(0, len(folder), 8):
            samples = [folder.sample(n) for n in range(start, min(start + 8, len(folder)))]
            batch = DensityBatch(
                torch.stack([s.clean for s in samples]),
                torch.stack([s.depth for s in samples]),
                start,
                [],
            )
            image, density = self._haze(batch, device)
            errors.append((network(image).overall - density.flatten(1).mean(1)).abs())
        error = float(torch.cat(errors).mean())
        name = f"density error on {self.config.validation.clean}"
        return Validation({"density error": error}, -error, name)

    def finish(self, network: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write ``density.safetensors`` (float16) and ``density.json`` beside it."""
        assert isinstance(network, DensityNet)
        weights = folder / "density.safetensors"
        save_density_net(weights, network)
        result = self.validate(network)
        about = {
            "trained_by": "corun train density",
            "sha256": checksum(weights),
            "validation": {} if result is None else result.scores,
            "configuration": self.config.model_dump(
                mode="json",
                exclude={
                    "data": {"clean", "depth"},
                    "validation": {"clean", "depth"},
                    "run": {"folder"},
                },
            ),
            **facts,
        }
        write_atomically(folder / "density.json", json.dumps(about, indent=1) + "\n")


def ranking_loss(predicted: Float[Tensor, " b"], target: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean of max(0, 0.1·Δ − (D_dense − D_thin)), Δ the true difference.

    Picture i of the first half and picture i of the second half are of the same scene.
    """
    first, second = predicted.chunk(2)
    difference = torch.sub(*target.chunk(2))
    return (0.1 * difference.abs() - difference.sign() * (first - second)).clamp(min=0).mean()


def run(config_path: Path, overrides: list[str] | None = None) -> None:
    """Train as a YAML file says, with ``dotted.key=value`` overrides.

    Raises:
        CorunError: see :func:`corun.training.engine.train`.
    """
    config = load_configuration(DensityConfig, config_path, overrides)
    identity = config.model_dump(mode="json", exclude={"run"})
    kept = {name: getattr(config.run, name) for name in ("batch", "seed", "precision")}
    train(
        DensityTraining(config),
        config.run,
        config.optimizer,
        json.dumps({"density": identity, "run": kept}, sort_keys=True),
    )
