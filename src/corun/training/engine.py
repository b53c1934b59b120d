"""The training loop: one for pre-training and adaptation, one process or many.

The engine owns steps, precision, distribution, the optimiser, averaged weights, checkpoints and
reports. What is trained, on what and by which loss is a :class:`Task`. Every random choice of a
task is a function of (seed, step, process), never of what ran before: that is what makes a resumed
run identical to an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from corun.errors import (
    ConfigurationError,
    CorunError,
    DataError,
    DeviceError,
    MissingExtraError,
)
from corun.networks.averaging import WeightAverage
from corun.networks.checkpoints import in_channels_last
from corun.training.checkpoint import BEST, LAST, load_checkpoint, save_atomically
from corun.training.configuration import OptimizerConfig, RunConfig
from corun.training.reporting import Reporter


class TrainingDivergedError(CorunError):
    """The loss or a gradient is not finite; no checkpoint was written since."""


@dataclass(frozen=True)
class LossTerms:
    """The loss of one part of a batch.

    Attributes:
        total: what is minimised.
        parts: its named terms and other numbers to show, detached.
    """

    total: Tensor
    parts: dict[str, float | Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """Scores of the averaged weights.

    Attributes:
        scores: by name.
        criterion: the number that decides which checkpoint is the best; higher is better.
    """

    scores: dict[str, float]
    criterion: float


@runtime_checkable
class Batch(Protocol):
    """What a task prepares for a step."""

    @property
    def names(self) -> list[str]:
        """The files it was made of, for error messages."""


@runtime_checkable
class Task(Protocol):
    """What is trained."""

    @property
    def network(self) -> nn.Module:
        """The network whose parameters are optimised."""

    def prepare(self, step: int, part: int, rank: int, world: int) -> Any:
        """The data of one part of a step, on the CPU; called from a background thread."""

    def loss(self, network: nn.Module, batch: Any, step: int, part: int, rank: int) -> LossTerms:
        """The loss of one part, on the network's device. ``network`` is the wrapped one."""

    def after_step(self, network: nn.Module) -> None:
        """Called after each optimiser step."""

    def validate(self, network: nn.Module) -> Validation | None:
        """Score the averaged weights; None if there is nothing to validate on."""

    def pictures(self, network: nn.Module) -> dict[str, Tensor]:
        """Named contact sheets (3,H,W) of what the averaged weights do."""

    def state_dict(self) -> dict[str, Any]:
        """What the task must remember besides the network; called for the last checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it; called before the first step, with an empty state where a run begins."""

    def finish(self, network: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the final weights."""


def learning_rate_at(step: int, steps: int, config: OptimizerConfig) -> float:
    """Linear warm-up to the peak, then half a cosine down to the final rate at the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    span = max(1, steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / span)
    low, high = config.final_learning_rate, config.learning_rate
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))


def train(task: Task, run: RunConfig, optimizer_config: OptimizerConfig, identity: str) -> None:
    """Train until ``run.steps``, from the last checkpoint in ``run.folder`` if there is one.

    Args:
        task: what is trained.
        run: how.
        optimizer_config: how its parameters move.
        identity: a text that must be the same for a checkpoint to be continued (the
            configuration without its place and its machine).

    Raises:
        TrainingDivergedError: the loss is not finite; names the step, the files and what to try.
        ConfigurationError: ``batch`` is not a multiple of ``accumulate``, or the checkpoint in the
            folder belongs to another configuration.
        DeviceError: CUDA was asked for and is not there.
        DataError: ``run.folder`` cannot be written, or its disk is full.
        MissingExtraError: lightning is not installed.
    """
    if run.batch % run.accumulate:
        raise ConfigurationError(
            f"run.batch ({run.batch}) must be a multiple of run.accumulate ({run.accumulate})"
        )
    fabric = _launch(run)
    network = in_channels_last(task.network)
    average = WeightAverage(network, run.ema_decay)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=optimizer_config.learning_rate,
        betas=optimizer_config.betas,
        weight_decay=optimizer_config.weight_decay,
    )
    average.network.to(fabric.device)
    compiled = torch.compile(network) if run.compile else network
    wrapped, optimizer = fabric.setup(compiled, optimizer)
    first = _resume(task, network, average, optimizer, run.folder, identity)
    fabric.barrier()  # nobody takes a step while another still restores what they share
    best = first.best
    reporter = Reporter(
        run.folder,
        run.steps,
        first.step,
        enabled=fabric.is_global_zero,
        headline=getattr(task, "headline", ()),
    )
    executor = ThreadPoolExecutor(max(1, run.workers))

    def save(step: int, name: str, best_score: float) -> None:
        if fabric.is_global_zero:
            content = {
                "step": step,
                "best": best_score,
                "identity": identity,
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                # Only the last checkpoint can be continued; a task may keep files beside it.
                "task": task.state_dict() if name == LAST else {},
            }
            save_atomically(content, run.folder / name)
        fabric.barrier()

    batches = _batches(task, run, fabric, executor, first.step)
    try:
        with reporter:
            for step in range(first.step, run.steps):
                rate = learning_rate_at(step, run.steps, optimizer_config)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                shown: dict[str, float] = {}
                names: list[str] = []
                for part in range(run.accumulate):
                    batch = next(batches)
                    names += batch.names
                    last_part = part == run.accumulate - 1
                    with fabric.no_backward_sync(wrapped, enabled=not last_part):
                        terms = task.loss(wrapped, batch, step, part, fabric.global_rank)
                        fabric.backward(terms.total / run.accumulate)
                    for key, value in {"loss": terms.total, **terms.parts}.items():
                        shown[key] = (
                            shown.get(key, 0.0)
                            + float(value.detach() if isinstance(value, Tensor) else value)
                            / run.accumulate
                        )
                norm = _clipped_norm(network, optimizer_config.clip_norm)
                _require_finite(shown["loss"], float(norm), step, names, fabric)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                average.update(network)
                task.after_step(network)
                done = step + 1
                reporter.step(done, {**shown, "gradient norm": float(norm), "rate": rate})
                if done % run.validate_every == 0 or done == run.steps:
                    best = _validate(task, average.network, reporter, done, best, save, fabric)
                pictured = run.picture_every and done % run.picture_every == 0
                if fabric.is_global_zero and (pictured or done == run.steps):
                    reporter.pictures(done, task.pictures(average.network))
                if done % run.checkpoint_every == 0 or done == run.steps:
                    save(done, LAST, best)
    except OSError as error:
        raise DataError(
            f"{run.folder}: cannot be written ({error.strerror or error}); the last checkpoint is "
            "intact: free some space or choose another run.folder"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    if fabric.is_global_zero:
        facts = {"steps": run.steps, "best": best, "hardware": describe_hardware(fabric)}
        task.finish(average.network, run.folder, facts)
    fabric.barrier()


@dataclass(frozen=True)
class _Start:
    step: int = 0
    best: float = -math.inf


def _launch(run: RunConfig) -> Any:
    try:
        from lightning.fabric import Fabric
    except ModuleNotFoundError as error:
        raise MissingExtraError("lightning", "train") from error
    if run.device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("CUDA was asked for but is not available; set run.device=auto or cpu")
    if run.threads:
        torch.set_num_threads(run.threads)
    import os

    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    accelerator = {"auto": "cuda" if torch.cuda.is_available() else "cpu"}.get(
        run.device, run.device
    )
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if run.precision == "bfloat16" else "32-true",
    )
    fabric.launch()
    return fabric


def _resume(
    task: Task,
    network: nn.Module,
    average: WeightAverage,
    optimizer: Any,
    folder: Path,
    identity: str,
) -> _Start:
    for torn in folder.glob(f".{LAST}.*.partial"):
        torn.unlink(missing_ok=True)  # left by a process that was killed while it wrote
    path = folder / LAST
    if not path.exists():
        task.load_state_dict({})
        return _Start()
    content = load_checkpoint(path)
    if content["identity"] != identity:
        raise ConfigurationError(
            f"{path}: belongs to another configuration; use another run.folder, or move it away"
        )
    network.load_state_dict(content["network"])
    average.load_state_dict(content["average"])
    optimizer.load_state_dict(content["optimizer"])
    task.load_state_dict(content["task"])
    return _Start(content["step"], content["best"])


def _batches(
    task: Task, run: RunConfig, fabric: Any, executor: ThreadPoolExecutor, first: int
) -> Iterator[Any]:
    """The parts of every step in order, prepared up to ``run.workers`` parts ahead."""
    numbers = ((step, part) for step in range(first, run.steps) for part in range(run.accumulate))
    rank, world = fabric.global_rank, fabric.world_size
    if not run.workers:
        for step, part in numbers:
            yield task.prepare(step, part, rank, world)
        return
    waiting = []
    for step, part in numbers:
        waiting.append(executor.submit(task.prepare, step, part, rank, world))
        if len(waiting) > run.workers:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _clipped_norm(network: nn.Module, clip_norm: float) -> Tensor:
    limit = clip_norm or math.inf
    parameters = [p for p in network.parameters() if p.grad is not None]
    return nn.utils.clip_grad_norm_(parameters, limit)


def _require_finite(loss: float, norm: float, step: int, names: list[str], fabric: Any) -> None:
    """All processes stop together if one of them met a non-finite number."""
    culprit = not math.isfinite(loss)
    if fabric.world_size > 1:
        # The gradient is shared, so only the loss tells whose photos they were.
        fine = fabric.all_reduce(torch.tensor(float(not culprit)), reduce_op="min")
        if not culprit and float(fine) < 1:
            raise TrainingDivergedError(f"step {step}: another process met a non-finite loss")
    if culprit or not math.isfinite(norm):
        raise TrainingDivergedError(
            f"step {step}: loss {loss}, gradient norm {norm}, on {', '.join(names)}; the last "
            "checkpoint is intact: look at these files, or lower optimizer.learning_rate, or set "
            "run.precision=float32"
        )


def _validate(
    task: Task,
    network: nn.Module,
    reporter: Reporter,
    done: int,
    best: float,
    save: Any,
    fabric: Any,
) -> float:
    result = task.validate(network) if fabric.is_global_zero else None
    criterion = torch.tensor(-math.inf if result is None else result.criterion)
    criterion_value = float(fabric.broadcast(criterion))
    if result is not None:
        reporter.validation(done, result.scores)
    if criterion_value > best:
        best = criterion_value
        save(done, BEST, best)
    return best


def describe_hardware(fabric: Any) -> str:
    """The device and number of processes, for the model card."""
    if fabric.device.type == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
    else:
        name = f"CPU, {torch.get_num_threads()} threads"
    return f"{fabric.world_size} × {name}"
