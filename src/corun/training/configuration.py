"""The parts of a configuration that every training has: the run and the optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from corun.configuration import Strict


class OptimizerConfig(Strict):
    """AdamW with a linear warm-up and a schedule after it.

    Attributes:
        learning_rate: the peak; at most 10, as ``final_learning_rate``.
        schedule: how the rate goes from the peak to ``final_learning_rate`` at the last step: by
            half a ``cosine``, in a ``linear`` way, or not at all (``constant``).
        final_learning_rate: where the schedule ends.
        warmup_steps: steps of linear rise.
        betas: AdamW's β₁, β₂.
        weight_decay: AdamW's decoupled decay, of matrices and kernels only.
        clip_norm: largest gradient norm; 0 turns clipping off.
    """

    learning_rate: float = Field(1e-4, gt=0, le=10)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    final_learning_rate: float = Field(0.0, ge=0, le=10)
    warmup_steps: int = Field(0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, ge=0)


Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio", "none"]

_IRRELEVANT = {
    *("folder", "device", "threads", "workers", "compile", "recompute", "steps"),
    *("checkpoint_every", "validate_every", "picture_every", "logger", "project"),
}
"""Where, how fast and how long a run runs, and what it tells."""


class RunConfig(Strict):
    """How a training runs, whatever it trains.

    Attributes:
        folder: where checkpoints, logs and the final weights go.
        start_from: a checkpoint of another run, whose network, averaged weights and optimiser this
            run begins with, at step 0. An adaptation takes its teacher too; where it has none, as
            that of a pre-training, its averaged weights are the teacher. Another ``seed`` shows it
            other crops than that run saw.
        steps: optimiser steps in all. A run that has ended goes on with more.
        batch: samples of one optimiser step in one process, over all accumulated parts.
        accumulate: parts in which a batch is computed; ``batch`` must be a multiple.
        seed: what all randomness comes from.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``float32``, or ``bfloat16`` for mixed precision.
        compile: whether to use ``torch.compile``.
        recompute: whether a CORUN's priors are computed again in the backward pass, which keeps the
            maps of one at a time in memory; gradients stay the same.
        threads: CPU threads of torch; 0 leaves its choice.
        workers: background threads that prepare the next batches; 0 for none.
        ema_decay: decay of the averaged weights, which are validated and shipped.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validations.
        picture_every: steps between pictures in ``pictures/`` and the tracker; 0 for none.
        logger: the tracker beside ``log.jsonl``: ``tensorboard`` (events in the run's folder),
            ``wandb``, ``mlflow`` or ``trackio`` (each its own extra), or ``none``.
        project: what a tracker files the run under; the run is called by its folder.
    """

    folder: Path
    start_from: Path | None = None
    steps: int = Field(30_000, ge=1)
    batch: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)
    seed: int = Field(0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    recompute: bool = False
    threads: int = Field(0, ge=0)
    workers: int = Field(1, ge=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    checkpoint_every: int = Field(500, ge=1)
    validate_every: int = Field(1000, ge=1)
    picture_every: int = Field(1000, ge=0)
    logger: Tracker = "tensorboard"
    project: str = Field("corun", min_length=1)

    def relevant(self) -> dict[str, Any]:
        """What must not change between a checkpoint and its continuation, as plain values."""
        return self.model_dump(mode="json", exclude=_IRRELEVANT)
