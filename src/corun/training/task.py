"""What the engine trains: the protocol of a task, and what passes between the two."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


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
        criterion_name: what that number is and of what; numbers of other names do not compare.
    """

    scores: dict[str, float]
    criterion: float
    criterion_name: str = "criterion"


@runtime_checkable
class Task(Protocol):
    """What is trained; one that inherits from this may leave out what it has nothing to do for."""

    network: nn.Module
    """The network whose parameters are optimised."""

    def prepare(self, step: int, part: int, rank: int, world: int) -> Any:
        """The data of one part of a step, on the CPU; called from a background thread.

        Its ``names`` are the files it was made of, for error messages.
        """

    def loss(self, network: nn.Module, batch: Any, step: int, part: int, rank: int) -> LossTerms:
        """The loss of one part, on the network's device. ``network`` is the wrapped one."""

    def after_step(self, network: nn.Module) -> None:
        """Called after each optimiser step."""
        return

    def validate(self, network: nn.Module) -> Validation | None:
        """Score the averaged weights; None if there is nothing to validate on."""

    def pictures(self, network: nn.Module) -> dict[str, Tensor]:
        """Named contact sheets (3,H,W) of what the averaged weights do."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What the task must remember besides the network; called for the last checkpoint, in all
        processes at the same time. The first one's answer is kept."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it; called before the first step, in all processes at the same time. Where a run
        begins, the state is empty, or holds another run's checkpoint under ``start_from``."""
        return

    def finish(self, network: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write weights: the last ones into the run's folder, the best ones into ``best``."""
