"""Adaptation to real haze: `corun train colabator` (Fang et al., NeurIPS 2024, §3.3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from corun.colabator.adapt import Adaptation, AdaptationConfig, RealBatch, SyntheticPair
from corun.colabator.label_pool import LabelPool, PoolIdentity
from corun.colabator.pool_lock import leads
from corun.colabator.teacher import Teacher, TeacherConfig
from corun.configuration import Strict, load_configuration
from corun.data.images import list_images
from corun.data.mixture import HazyCrops, TrainingData, TrainingDataConfig
from corun.data.real_photos import RealPhotoFolder, RealPhotosConfig
from corun.data.synthesis import SynthesisConfig
from corun.errors import DataError, system_errors_as, tell
from corun.judges.choice import DensityChoice, QualityChoice, build_density, build_quality
from corun.networks.adapted import save_adapted
from corun.networks.brought import open_network
from corun.networks.checkpoints import in_channels_last
from corun.networks.fingerprint import (
    file_fingerprint,
    fingerprint,
    listing_fingerprint,
    values_fingerprint,
)
from corun.networks.outputs import read_output
from corun.training.configuration import OptimizerConfig, RunConfig
from corun.training.engine import train
from corun.training.hosts import found_by_all, host_number, process_count
from corun.training.task import LossTerms, Task, Validation
from corun.training.validation import (
    ValidationConfig,
    ValidationSet,
    known_scores,
    known_sheets,
    psnr_criterion,
    real_crop,
    require_validation_data,
    validation_sets,
)


class NetworkChoice(Strict):
    """What is adapted.

    Attributes:
        name: a registered model, one of our weights files, ``dgun``, ``plain-unet``,
            ``spandrel:FILE``, or ``package.module:Class``.
        weights: a state dict for a built-in network or a class of your own.
        arguments: for its constructor.
        range: what a class of your own takes, and gives, for black and white.
        multiple: of which the sides of what a class of your own takes are multiples; pictures are
            padded by mirroring and cropped back.
        output: which entry of what a class of your own returns is the scene, by position or name,
            where it is not the first.
    """

    name: str
    weights: Path | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    range: tuple[float, float] = (0.0, 1.0)
    multiple: int = Field(1, ge=1)
    output: int | str | None = None


class EvaluatorsConfig(Strict):
    """What scores the labels.

    Attributes:
        density: haze density D.
        quality: image quality Q.
    """

    density: DensityChoice = DensityChoice()
    quality: QualityChoice = QualityChoice()


class PoolConfig(Strict):
    """Where the labels lie.

    Attributes:
        folder: of the pool; ``pool`` in the run's folder by default.
        keep: whether a run that starts anew keeps the labels that are there.
    """

    folder: Path | None = None
    keep: bool = False


class ColabatorRunConfig(RunConfig):
    """How an adaptation runs: the paper's 5 000 steps of 8, whatever else is given."""

    steps: int = Field(5_000, ge=1)
    batch: int = Field(8, ge=1)


class ColabatorOptimizerConfig(OptimizerConfig):
    """AdamW with the paper's rates, whatever else is given."""

    learning_rate: float = Field(5e-5, gt=0)
    final_learning_rate: float = Field(1e-6, ge=0)


class ColabatorConfig(Strict):
    """Everything an adaptation needs; see ``configs/lite-3-colabator.yaml``.

    Attributes:
        validation_photos: how many real photos Q and D are validated on.
    """

    run: ColabatorRunConfig
    network: NetworkChoice
    synthetic: TrainingDataConfig
    real: RealPhotosConfig
    synthesis: SynthesisConfig = SynthesisConfig()
    adaptation: AdaptationConfig = AdaptationConfig()
    teacher: TeacherConfig = TeacherConfig()
    evaluators: EvaluatorsConfig = EvaluatorsConfig()
    pool: PoolConfig = PoolConfig()
    optimizer: ColabatorOptimizerConfig = ColabatorOptimizerConfig()
    validation: ValidationConfig = ValidationConfig()
    validation_photos: int = Field(16, ge=1)


@dataclass(frozen=True)
class ColabatorBatch:
    """Crops whose clear ones are known, and real regions."""

    synthetic: HazyCrops
    real: RealBatch
    names: list[str]


class ColabatorTraining(Task):
    """The task of adaptation.

    Args:
        config: everything.
    """

    headline = ("accepted", "label quality", "label density")

    def __init__(self, config: ColabatorConfig) -> None:
        self.config = config
        require_validation_data(config.validation)
        torch.manual_seed(config.run.seed)
        choice = config.network
        self.network = open_network(
            choice.name,
            weights=choice.weights,
            arguments=choice.arguments,
            value_range=choice.range,
            multiple=choice.multiple,
            output=choice.output,
        )
        self.synthetic = TrainingData(config.synthetic, config.synthesis, config.run.seed)
        self.photos = RealPhotoFolder(config.real, config.run.seed)
        self.density = build_density(config.evaluators.density)
        self.quality = build_quality(config.evaluators.quality)
        precision = {"float32": torch.float32, "bfloat16": torch.bfloat16}[config.run.precision]
        self.teacher = Teacher(self.network, config.teacher, precision)
        self.identity = PoolIdentity(
            network=f"{type(self.network).__name__} {fingerprint(self.network)}",
            density=self.density.name,
            quality=self.quality.name,
            side=config.real.side,
            block=config.adaptation.block,
            rule=config.adaptation.weights,
            region=config.real.region,
            scale=config.real.scale if config.real.region == "crop" else 1.0,
        )
        self._adaptation: Adaptation | None = None
        self._device: torch.device | None = None
        self._done = 0
        asked = "adaptation.transmission" if config.adaptation.transmission else ""
        self.notices = self.synthetic.notes(asked)
        adaptation = config.adaptation
        wanted = adaptation.perceptual or adaptation.contrastive or adaptation.contrastive_synthetic
        if wanted and adaptation.vgg is None:
            self.notices.append("adaptation.vgg names no file, so the perceptual terms are off")

    def prepare(self, step: int, part: int, rank: int, world: int) -> ColabatorBatch:
        """Crops and real regions number (step, rank, part) of their shuffled sequences."""
        run = self.config.run
        if not step and not part:
            self.photos.require(run.batch, world)
        size = run.batch // run.accumulate
        start = (step * world + rank) * run.batch + part * size
        synthetic = self.synthetic.batch(start, size)
        done = part * size
        regions = self.photos.batch(step * run.batch, done + size, rank, world, skip=done)
        return ColabatorBatch(
            synthetic,
            RealBatch(
                torch.stack([r.hazy for r in regions]),
                [r.key for r in regions],
                torch.tensor([r.flip for r in regions]),
                run.seed * 1_000_003 + start + 1,
            ),
            synthetic.names + [r.name for r in regions],
        )

    def loss(
        self, network: nn.Module, batch: ColabatorBatch, step: int, part: int, rank: int
    ) -> LossTerms:
        """See :mod:`corun.colabator.adapt`."""
        device = next(network.parameters()).device
        adaptation = self._on(device)
        haze, known, _ = batch.synthetic.to(device)
        real = batch.real._replace(hazy=batch.real.hazy.to(device))
        pair = SyntheticPair(haze.hazy, haze.target, haze.transmission, known)
        total, parts = adaptation.loss(network, pair, real, step)
        self._done = step + 1
        return LossTerms(total, dict(parts))

    def after_step(self, network: nn.Module) -> None:
        """The teacher follows the student."""
        self.teacher.follow(self.network)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> Validation | None:
        """PSNR and SSIM on synthetic haze and pairs; mean Q and D of dehazed real photos.

        The criterion is Q + 1 − D where there are real photos that can be read, else PSNR.
        """
        settings = self.config.validation
        scores = known_scores(network, self._validation)
        real = {} if settings.real is None else self._real_scores(network, settings.real)
        scores |= real
        if real:
            judges = f"{self.quality.name}, {self.density.name}"
            name = f"quality + 1 - density ({judges}) on {settings.real}"
            return Validation(scores, real["quality"] + 1 - real["density"], name)
        return psnr_criterion(scores, self._validation)

    @cached_property
    def _validation(self) -> list[ValidationSet]:
        return validation_sets(self.config.validation)

    @torch.no_grad()
    def pictures(self, network: nn.Module) -> dict[str, Tensor]:
        """Photo, label, trusted weights and student of some real photos; synthetic examples."""
        sheets = known_sheets(network, self.config.validation, self._validation)
        device = next(network.parameters()).device
        adaptation = self._on(device)
        world = process_count()  # the labels of others' photos may lie on other hosts
        count = min(self.config.validation.shown, len(self.photos) // world)
        rows = []
        for number in range(count):
            region = self.photos.sample(number, 0, world)
            real = RealBatch(region.hazy[None].to(device), [region.key], torch.tensor([False]), 0)
            labels = adaptation.picture_labels(real)
            if labels is None:
                continue
            student = read_output(network(real.hazy), real.hazy).scene[0].float().clamp(0, 1)
            weight = labels.weight[0].expand(3, -1, -1)
            rows.append(torch.cat((real.hazy[0], labels.scene[0], weight, student), 2).cpu())
        if rows:
            sheets["labels"] = torch.cat(rows, 1)
        return sheets

    def state_dict(self) -> dict[str, Any]:
        """The teacher, and the names of the pool's state on each host, committed here."""
        pool = self._on(next(self.network.parameters()).device).pool
        committed = found_by_all(lambda: pool.commit(self._done) if leads() else "")
        return {"teacher": self.teacher.state_dict(), "pool": [name for name in committed if name]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore teacher and pool, or begin anew with an empty pool, perhaps from another run.

        Raises:
            DataError: the pool of a host is not the checkpoint's, or to be emptied though another
                run's; or the run was on another number of hosts.
        """
        host, hosts = host_number()
        resumed = "teacher" in state
        names = state.get("pool", [None] * hosts)
        names = [names] if isinstance(names, str) else names  # one host's, of an earlier version
        if len(names) != hosts:
            raise DataError(
                f"{self.config.run.folder}: its labels lie on {len(names)} hosts, a shard on each, "
                f"not on {hosts}; start the run on as many hosts as before"
            )
        if resumed:
            self.teacher.load_state_dict(state["teacher"])
        elif state:
            self.teacher.start_from(state["start_from"])

        def restore() -> None:
            pool = self._on(next(self.network.parameters()).device).pool
            keeps = not resumed and self.config.pool.keep
            pool.keep() if keeps else pool.rollback(names[host])

        found_by_all(restore)

    def finish(self, network: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write ``weights.safetensors`` with everything that made it."""
        validation = self.validate(network)
        metadata = {
            "trained_by": "corun train colabator",
            "configuration": self.config.model_dump(mode="json"),
            "validation": {} if validation is None else validation.scores,
            **facts,
        }
        choice = self.config.network.model_dump(mode="json")
        save_adapted(
            folder / "weights.safetensors", network, metadata, choice["name"], choice["arguments"]
        )

    def _on(self, device: torch.device) -> Adaptation:
        """Colabator with everything on the device; the pool is opened at the first call."""
        if self._adaptation is None:
            config = self.config
            folder = config.pool.folder or config.run.folder / "pool"
            what, remedy = f"{folder}: cannot hold the label pool", "choose another pool.folder"
            with system_errors_as(DataError, what, remedy):
                keys, owner = self.photos.keys, config.run.folder
                pool = LabelPool(folder, self.identity, keys, owner=owner, shard=host_number()[0])
            self._adaptation = Adaptation(
                config.adaptation, self.teacher, pool, self.density, self.quality
            )
        if device != self._device:
            in_channels_last(self.teacher.to(device).network)
            self.density.to(device)
            self.quality.to(device)
            self._device = device
        return self._adaptation

    def _real_scores(self, network: nn.Module, folder: Path) -> dict[str, float]:
        device = next(network.parameters()).device
        self._on(device)
        paths = list_images(folder)
        step = max(1, len(paths) // self.config.validation_photos)
        totals: dict[str, list[float]] = {"quality": [], "density": [], "brightness": []}
        for path in paths[::step][: self.config.validation_photos]:
            crop = real_crop(path)
            if crop is None:
                continue
            hazy = crop[None].to(device)
            scene = read_output(network(hazy), hazy).scene.float().clamp(0, 1)
            block = self.config.adaptation.block
            totals["quality"].append(float(self.quality.score(scene, block).overall))
            totals["density"].append(float(self.density.score(scene, block).overall))
            totals["brightness"].append(float(scene.mean()))
        return {name: sum(values) / len(values) for name, values in totals.items() if values}


def run(config_path: Path, overrides: list[str] | None = None) -> None:
    """Adapt as a YAML file says, with ``dotted.key=value`` overrides.

    Raises:
        CorunError: see :func:`corun.training.engine.train` and
            :func:`corun.configuration.load_configuration`.
    """
    config = load_configuration(ColabatorConfig, config_path, overrides)
    task = ColabatorTraining(config)
    for notice in task.notices:
        tell(f"note: {notice}")
    train(task, config.run, config.optimizer, identity_of(task))


def identity_of(task: ColabatorTraining) -> str:
    """What must not change between a checkpoint and its continuation.

    Files and folders count by what they hold, not by where they lie: real photos by their bytes,
    clean photos and depth maps by name and size, weights by their numbers.
    """
    config = task.config
    shown = {"validation", "validation_photos"}
    relevant = config.model_dump(mode="json", exclude={"run", "pool", *shown})
    relevant |= {"run": config.run.relevant(), "network": task.identity.network}
    for name in ("range", "multiple", "output"):
        value = getattr(config.network, name)
        if value != NetworkChoice.model_fields[name].default:
            relevant[name] = value
    relevant["evaluators"] = {"density": task.density.name, "quality": task.quality.name}
    relevant["real"]["folder"] = values_fingerprint(*task.photos.keys)
    relevant["synthetic"] = known = config.synthetic.relevant()
    data = task.synthetic
    if data.clean is not None:
        known["clean"] = listing_fingerprint(data.clean.photos)
        known["depth"] = listing_fingerprint(data.clean.depths)
    for name, folder in data.pairs.items():
        known["pairs"][name]["hazy"] = listing_fingerprint(p.image for p in folder.pairs)
        known["pairs"][name]["clear"] = listing_fingerprint(p.reference for p in folder.pairs)
    if config.adaptation.vgg is not None:
        relevant["adaptation"]["vgg"] = file_fingerprint(config.adaptation.vgg)
    return json.dumps(relevant, sort_keys=True)
