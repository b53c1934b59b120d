"""The mean teacher: an exponential moving average of the student (Tarvainen & Valpola, 2017)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from corun.configuration import Strict
from corun.networks.averaging import UPDATES, WeightAverage


class TeacherConfig(Strict):
    """How fast the teacher follows the student.

    Attributes:
        decay: d of θ̄ ← d·θ̄ + (1 − d)·θ, in [0,1).
    """

    decay: float = Field(0.999, ge=0, lt=1)


class Teacher:
    """f̄, the smoothed student: it starts as the student and follows it after each update.

    Every process of a distributed run holds the same student after an update (the engine gives
    all the running statistics of the first), and the average is a function of the students it has
    seen, so the teachers of all processes are equal to the bit.

    Args:
        student: copied, not kept.
        config: how fast it follows.
        precision: what its network computes in, by autocast.
    """

    def __init__(
        self,
        student: nn.Module,
        config: TeacherConfig | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.precision = precision
        decay = (config or TeacherConfig()).decay
        self._average = WeightAverage(student, decay, warmup=False)

    @property
    def network(self) -> nn.Module:
        """The teacher's network, in evaluation mode, without gradients."""
        return self._average.network

    @property
    def updates(self) -> int:
        """How often it has followed."""
        return self._average.updates

    def follow(self, student: nn.Module) -> None:
        """θ̄ ← d·θ̄ + (1 − d)·θ, running statistics included; whole-number buffers are copied."""
        self._average.update(student)

    def __call__(self, hazy: Tensor) -> Any:
        """What the teacher's network returns, without a gradient."""
        mixed = self.precision != torch.float32
        with torch.no_grad(), torch.autocast(hazy.device.type, self.precision, enabled=mixed):
            return self.network(hazy)

    def to(self, device: torch.device) -> Teacher:
        """Move to a device, in place."""
        self.network.to(device)
        return self

    def state_dict(self) -> dict[str, Tensor | int]:
        """The weights and the number of updates."""
        return self._average.state_dict()

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self._average.load_state_dict(state)

    def start_from(self, checkpoint: dict[str, Any]) -> None:
        """Become the teacher in another run's checkpoint.

        Where there is none, as in a pre-training's, the averaged network becomes the teacher.
        """
        teacher = checkpoint["task"].get("teacher") or {**checkpoint["average"], UPDATES: 0}
        self.load_state_dict(teacher)
