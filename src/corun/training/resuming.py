"""What a run begins with, and who owns its folder."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from filelock import FileLock, Timeout
from torch import nn

from corun.errors import ConfigurationError, CorunError, DataError, WeightsError, reason_of
from corun.files import remove_stale
from corun.networks.averaging import WeightAverage
from corun.training.checkpoint import BEST, LAST, differing_identities, load_checkpoint
from corun.training.configuration import OptimizerConfig, RunConfig
from corun.training.optimizer import learning_rate_at
from corun.training.task import Task

Found = TypeVar("Found")


@dataclass(frozen=True)
class Best:
    """The best validation so far; the file best.ckpt holds its weights."""

    criterion: float = -math.inf
    name: str = ""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a failure to write there into one line; a task's own work stays outside.

    Raises:
        DataError: names the file or the folder.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: cannot be written ({reason_of(error)}); the last "
            "checkpoint, if there is one, is intact: free some space or choose another run.folder"
        ) from error


class State(NamedTuple):
    """What moves in a training and lies in its checkpoints."""

    network: nn.Module
    average: WeightAverage
    optimizer: Any

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what a checkpoint holds."""
        self.network.load_state_dict(content["network"])
        self.average.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])


def resume(
    task: Task, state: State, run: RunConfig, schedule: OptimizerConfig, identity: str, fabric: Any
) -> int:
    """Restore the last checkpoint, if there is one; how many steps were done.

    The first process reads it, and the others take over what it read: on several machines only
    its own has the file.

    A run of another number of steps goes on. Under a constant rate that is the run that had this
    number from the start; a rate that falls follows the curve of the new number from here on,
    which is said.
    """
    world = fabric.world_size
    content = agreed_by_all(fabric, lambda: _last_checkpoint(run, identity, world))
    if content is None:
        task.load_state_dict(_started_from(run.start_from, state, fabric))
        return 0
    state.restore(content)
    task.load_state_dict(content["task"])
    done, before = int(content["step"]), _steps_of(content)
    if before not in (None, run.steps) and fabric.is_global_zero:
        sys.stderr.write(f"note: {_prolonged(done, before, run.steps, schedule)}\n")
    return done


def _prolonged(done: int, before: int, steps: int, schedule: OptimizerConfig) -> str:
    """What another number of steps does to the rate, in a sentence."""
    told = f"{done} of {before} steps are done, and the run now ends at {steps}"
    if schedule.schedule == "constant":
        return f"{told}; its rate stays as it is"
    was, now = (learning_rate_at(done, number, schedule) for number in (before, steps))
    return (
        f"{told}; its {schedule.schedule} rate is stretched over all of them: {now:.3g} at step "
        f"{done}, where it was {was:.3g}"
    )


def _steps_of(content: dict[str, Any]) -> int | None:
    """For how many steps a checkpoint's run was meant; None where it does not say."""
    found = content.get("steps", json.loads(content["identity"]).get("run", {}).get("steps"))
    return None if found is None else int(found)


def _same_training(identity: str, other: str) -> list[str]:
    """The keys that forbid to go on; older checkpoints name more than those."""
    return [
        key
        for key in differing_identities(identity, other)
        if key != "run.steps" and key.split(".")[0] != "validation"
    ]


def _last_checkpoint(run: RunConfig, identity: str, world: int) -> dict[str, Any] | None:
    """The last checkpoint of a run, if there is one."""
    folder = run.folder
    remove_stale(folder)
    path = folder / LAST
    if not path.exists():
        return None
    content = load_checkpoint(path)
    keys = _same_training(identity, content["identity"])
    if keys:
        raise ConfigurationError(
            f"{path}: belongs to another configuration ({', '.join(keys)}); use another "
            "run.folder, or move it away"
        )
    if content.get("world", world) != world:
        raise ConfigurationError(
            f"{path}: made by {content['world']} processes, not {world}; start as many again, or "
            "use another run.folder"
        )
    if content["step"] > run.steps:
        raise ConfigurationError(
            f"{path}: {content['step']} steps are done, more than run.steps={run.steps}; raise it, "
            "or use another run.folder"
        )
    return content


def agreed_by_all(fabric: Any, read: Callable[[], Found]) -> Found:
    """What the first process found, for all of them; its error is everybody's."""
    found: Any = None
    if fabric.is_global_zero:
        try:
            found = read()
        except CorunError as error:
            found = error
    if fabric.world_size > 1:
        found = fabric.broadcast(found)
    if isinstance(found, CorunError):
        raise found
    agreed: Found = found
    return agreed


@contextmanager
def owned(folder: Path, fabric: Any) -> Iterator[None]:
    """Hold the run's folder, so that no other run writes there while this one lives.

    Raises:
        ConfigurationError: another run does.
    """
    lock = FileLock(folder / "run.lock")

    def acquire() -> bool:
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigurationError(
                f"{folder}: another run is training there; wait for it, or choose another "
                "run.folder"
            ) from error
        return True

    with writing(folder):
        agreed_by_all(fabric, acquire)
    try:
        yield
    finally:
        lock.release()


def _started_from(path: Path | None, state: State, fabric: Any) -> dict[str, Any]:
    """Begin with another run's network, average and optimiser, under this run's own settings.

    Returns:
        What the task begins with: nothing, or that run's checkpoint under ``start_from``.

    Raises:
        WeightsError: the file is no checkpoint, or of another network.
    """
    if path is None:
        return {}
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in state.optimizer.param_groups
    ]
    content = agreed_by_all(fabric, lambda: load_checkpoint(path))
    try:
        state.restore(content)
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"{path}: is of another network or version ({reason}); give run.start_from a "
            "last.ckpt of the same network configuration, or use initial_weights"
        ) from error
    for group, own in zip(state.optimizer.param_groups, groups, strict=True):
        group.update(own)
    return {"start_from": content}


def best_so_far(folder: Path, identity: str) -> Best:
    """What best.ckpt is of; nothing where it is of another configuration or an older version."""
    path = folder / BEST
    content = load_checkpoint(path) if path.exists() else {}
    if "criterion" not in content or _same_training(identity, content["identity"]):
        return Best()
    return Best(content["best"], content["criterion"])
