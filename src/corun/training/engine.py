"""The training loop: one for pre-training and adaptation, one process or many.

The engine owns steps, precision, distribution, the optimiser, averaged weights, checkpoints and
reports. What is trained, on what and by which loss is a :class:`Task`. Every random choice of a
task is a function of (seed, step, part, process), never of what ran before: that is what makes a
resumed run identical to an uninterrupted one. Networks that draw numbers of their own (dropout)
draw them from torch's global generator, which is seeded anew before each part for that reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corun.errors import ConfigurationError, CorunError, DeviceError, MissingExtraError
from corun.networks.averaging import WeightAverage
from corun.networks.checkpoints import in_channels_last
from corun.networks.corun import CORUN
from corun.training.checkpoint import (
    BEST,
    LAST,
    differing_identities,
    load_checkpoint,
    save_atomically,
)
from corun.training.configuration import OptimizerConfig, RunConfig
from corun.training.hosts import found_by_all
from corun.training.optimizer import learning_rate_at, make_optimizer
from corun.training.reporting import Reporter
from corun.training.resuming import (
    Best,
    State,
    agreed_by_all,
    best_so_far,
    owned,
    resume,
    writing,
)
from corun.training.task import Task


class TrainingDivergedError(CorunError):
    """The loss or a gradient is not finite; no checkpoint was written since."""


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
            folder belongs to another configuration or number of processes, another run is
            training in the folder, or the network has nothing to train.
        DeviceError: CUDA was asked for and is not there.
        DataError: ``run.folder`` cannot be written, or its disk is full.
        MissingExtraError: lightning is not installed.
    """
    if run.batch % run.accumulate:
        raise ConfigurationError(
            f"run.batch ({run.batch}) must be a multiple of run.accumulate ({run.accumulate})"
        )
    if not any(parameter.requires_grad for parameter in task.network.parameters()):
        raise ConfigurationError(
            f"{type(task.network).__name__}: has no parameters to train; choose another network"
        )
    if run.recompute:
        if not isinstance(task.network, CORUN):
            raise ConfigurationError(
                f"run.recompute: is for a CORUN, not {type(task.network).__name__}; leave it out, "
                "or raise run.accumulate"
            )
        task.network.recompute_maps()
    fabric = _launch(run)
    with writing(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
    with owned(run.folder, fabric):
        _train(task, run, optimizer_config, identity, fabric)


def _train(
    task: Task, run: RunConfig, optimizer_config: OptimizerConfig, identity: str, fabric: Any
) -> None:
    network = in_channels_last(task.network)
    average = WeightAverage(network, run.ema_decay)
    optimizer = make_optimizer(network, optimizer_config)
    average.network.to(fabric.device)
    compiled = torch.compile(network) if run.compile else network
    wrapped, optimizer = fabric.setup(compiled, optimizer)
    state = State(network, average, optimizer)
    for rank, other in enumerate(found_by_all(lambda: identity)):
        if keys := differing_identities(identity, other):
            raise ConfigurationError(
                f"process {rank} has another configuration or other data ({', '.join(keys)}); give "
                "all hosts the same"
            )
    first = resume(task, state, run, optimizer_config, identity, fabric)
    best = agreed_by_all(fabric, lambda: best_so_far(run.folder, identity)) if first else Best()
    fabric.barrier()  # nobody takes a step while another still restores what they share
    reporter = Reporter(
        run,
        first,
        json.loads(identity),
        enabled=fabric.is_global_zero,
        headline=getattr(task, "headline", ()),
    )
    executor = ThreadPoolExecutor(max(1, run.workers))

    def save(step: int, name: str, score: Best) -> None:
        _require_finite_weights(network, step)
        # Only the last checkpoint can be continued; a task may keep files beside it, on each host.
        kept = task.state_dict() if name == LAST else {}
        if fabric.is_global_zero:
            content = {
                "step": step,
                "steps": run.steps,
                "best": score.criterion,
                "criterion": score.name,
                "world": fabric.world_size,
                "identity": identity,
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "task": kept,
            }
            with writing(run.folder):
                save_atomically(content, run.folder / name)
        fabric.barrier()

    batches = _batches(task, run, fabric, executor, first)
    try:
        with _reporting(reporter):
            if first and (first % run.validate_every == 0 or first == run.steps):
                # The run may have been killed between that step's checkpoint and its validation.
                best = _validate(task, average.network, reporter, first, best, save, fabric)
            for step in range(first, run.steps):
                rate = learning_rate_at(step, run.steps, optimizer_config)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                shown: dict[str, float] = {}
                names: list[str] = []
                for part in range(run.accumulate):
                    batch = next(batches)
                    names += batch.names
                    last_part = part == run.accumulate - 1
                    torch.manual_seed(_seed_of(run.seed, step, part, fabric.global_rank))
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
                _share_buffers(network, fabric)
                average.update(network)
                task.after_step(network)
                done = step + 1
                with writing(run.folder):
                    reporter.step(done, {**shown, "gradient norm": float(norm), "rate": rate})
                # First of all the work of these steps is made safe.
                if done % run.checkpoint_every == 0 or done == run.steps:
                    save(done, LAST, best)
                if done % run.validate_every == 0 or done == run.steps:
                    best = _validate(task, average.network, reporter, done, best, save, fabric)
                pictured = run.picture_every and done % run.picture_every == 0
                if fabric.is_global_zero and (pictured or done == run.steps):
                    sheets = task.pictures(average.network)
                    with writing(run.folder):
                        reporter.pictures(done, sheets)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    if fabric.is_global_zero:
        _finish(task, average, run, best, fabric)
    fabric.barrier()


@contextmanager
def _reporting(reporter: Reporter) -> Iterator[None]:
    with writing(reporter.folder):
        reporter.__enter__()
    try:
        yield
    except BaseException as error:
        reporter.__exit__(type(error), error, error.__traceback__)
        raise
    reporter.__exit__(None, None, None)


def _seed_of(seed: int, step: int, part: int, rank: int) -> int:
    """What torch's global generator starts from in one part of a step."""
    return int(np.random.SeedSequence((seed, 6, step, part, rank)).generate_state(1)[0])


def _share_buffers(network: nn.Module, fabric: Any) -> None:
    """Give all processes the running statistics of the first, as the next forward pass would.

    Each process has its own until then, and the average and the teacher would drift apart.
    """
    if fabric.world_size > 1:
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)


def _finish(task: Task, average: WeightAverage, run: RunConfig, best: Best, fabric: Any) -> None:
    """Write the last weights, and the best ones where there was a validation."""
    facts: dict[str, Any] = {"steps": run.steps, "hardware": describe_hardware(fabric)}
    if not best.name:
        task.finish(average.network, run.folder, facts)
        return
    content = load_checkpoint(run.folder / BEST)
    facts |= {"best": best.criterion, "best step": content["step"], "criterion": best.name}
    task.finish(average.network, run.folder, facts)
    with writing(run.folder):
        (run.folder / "best").mkdir(exist_ok=True)
    average.load_state_dict(content["average"])
    task.finish(average.network, run.folder / "best", {**facts, "steps": content["step"]})


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
        # A network may have parameters that no loss reaches (a transmission without a use).
        strategy="ddp_find_unused_parameters_true" if world > 1 else "auto",
        precision="bf16-mixed" if run.precision == "bfloat16" else "32-true",
    )
    fabric.launch()
    return fabric


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
            "checkpoint is intact: look at these files, or start again in another run.folder with "
            "a lower optimizer.learning_rate, or with run.precision=float32"
        )


def _require_finite_weights(network: nn.Module, step: int) -> None:
    if not all(torch.isfinite(p).all() for p in network.parameters()):
        raise TrainingDivergedError(
            f"step {step}: the weights are not finite; the last checkpoint is intact: "
            "start again in another run.folder with a lower optimizer.learning_rate"
        )


def _validate(
    task: Task,
    network: nn.Module,
    reporter: Reporter,
    done: int,
    best: Best,
    save: Any,
    fabric: Any,
) -> Best:
    """Score the averaged weights; a number of another name than the best's replaces it."""
    found = best
    if fabric.is_global_zero:
        result = task.validate(network)
        if result is not None:
            with writing(reporter.folder):
                reporter.validation(done, result.scores)
            comparable = result.criterion_name == best.name
            if result.criterion > (best.criterion if comparable else -math.inf):
                found = Best(result.criterion, result.criterion_name)
    agreed: Best = fabric.broadcast(found)
    if agreed != best:
        save(done, BEST, agreed)
    return agreed


def describe_hardware(fabric: Any) -> str:
    """The device and number of processes, for the model card."""
    if fabric.device.type == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
    else:
        name = f"CPU, {torch.get_num_threads()} threads"
    return f"{fabric.world_size} × {name}"
