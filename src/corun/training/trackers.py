"""Where a training's numbers and pictures are shown: TensorBoard, W&B, MLflow or Trackio.

A run keeps the name that its tracker knows it by in ``tracker.json``, so that a run that goes on
goes on there too. ``log.jsonl`` holds every number whatever the tracker does.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray
from torch import Tensor

from corun.data.images import eight_bit
from corun.errors import DataError, MissingExtraError, one_line
from corun.files import write_atomically
from corun.networks.files import offline
from corun.training.configuration import RunConfig

RUN_NAMES = "tracker.json"


@runtime_checkable
class Tracker(Protocol):
    """What shows a training. Errors of a disk are raised; a server that fails is said, once."""

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Numbers of a step, by name."""

    def picture(self, name: str, sheet: Tensor, step: int) -> None:
        """A contact sheet (3,H,W), RGB in [0,1]."""

    def close(self, *, failed: bool) -> None:
        """Write what is not written yet."""


def open_tracker(run: RunConfig, first: int, settings: dict[str, Any]) -> Tracker | None:
    """The tracker that a run names; None for none.

    Args:
        run: its folder, tracker and project.
        first: the step it goes on from.
        settings: its configuration, shown with a run that is new.

    Raises:
        MissingExtraError: its package is not installed.
        DataError: it cannot be opened.
        OSError: the run's folder cannot be written.
    """
    if run.logger == "none":
        return None
    if run.logger == "tensorboard":
        return _TensorBoard(run.folder, first)
    known = _known_names(run.folder / RUN_NAMES)
    name = known.get(run.logger)
    try:
        service = _SERVICES[run.logger](run, name)
        if name is None:
            service.log_settings(settings)
    except ModuleNotFoundError as error:
        raise MissingExtraError(run.logger, run.logger) from error
    except Exception as error:  # each service has its own
        raise DataError(
            f"run.logger={run.logger}: cannot be opened ({one_line(error)}); mend that, or choose "
            f"run.logger=none{_or_another_run(run, name)}"
        ) from error
    if known.get(run.logger) != service.name:
        text = json.dumps({**known, run.logger: service.name})
        write_atomically(run.folder / RUN_NAMES, text + "\n")
    return _Spoken(service, run.logger)


def _or_another_run(run: RunConfig, name: str | None) -> str:
    if name is None:
        return ""
    return f"; to begin a run anew there, remove {run.folder / RUN_NAMES}"


def _known_names(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in found.items()}
    except (ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: is damaged; remove it, and the tracker begins a run anew"
        ) from error


class _TensorBoard:
    """Events in the run's folder, less those after the step that it goes on from."""

    def __init__(self, folder: Path, first: int) -> None:
        from lightning.fabric.loggers import TensorBoardLogger

        try:
            logger = TensorBoardLogger(folder, "", "events", purge_step=first or None)
        except ModuleNotFoundError as error:
            raise MissingExtraError("tensorboard", "train") from error
        # Not by the logger's own methods, which make a ValueError of a full disk.
        self.writer = logger.experiment

    def numbers(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def picture(self, name: str, sheet: Tensor, step: int) -> None:
        self.writer.add_image(name, sheet.clamp(0, 1).cpu(), step)

    def close(self, *, failed: bool) -> None:
        self.writer.close()


@runtime_checkable
class _Service(Protocol):
    """A tracker of others, which may be on another machine."""

    name: str

    def log_settings(self, settings: dict[str, Any]) -> None: ...
    def log(self, values: dict[str, float], step: int) -> None: ...
    def log_picture(self, name: str, pixels: NDArray[Any], step: int) -> None: ...
    def finish(self, *, failed: bool) -> None: ...


class _Spoken:
    """A service whose failures are said once; the run goes on, and each report tries again."""

    def __init__(self, service: _Service, kind: str) -> None:
        self.service, self.kind = service, kind
        self._said = False

    def numbers(self, values: dict[str, float], step: int) -> None:
        self._try(lambda: self.service.log(values, step))

    def picture(self, name: str, sheet: Tensor, step: int) -> None:
        self._try(lambda: self.service.log_picture(name, eight_bit(sheet), step))

    def close(self, *, failed: bool) -> None:
        self._try(lambda: self.service.finish(failed=failed))

    def _try(self, report: Callable[[], None]) -> None:
        try:
            report()
        except Exception as error:  # each service has its own
            if not self._said:
                sys.stderr.write(
                    f"run.logger={self.kind}: does not answer ({one_line(error)}); the run goes "
                    "on, and log.jsonl holds its numbers\n"
                )
            self._said = True


class _OfLightning:
    """A service that Lightning has a logger for."""

    logger: Any

    def log_settings(self, settings: dict[str, Any]) -> None:
        self.logger.log_hyperparams(settings)

    def log(self, values: dict[str, float], step: int) -> None:
        self.logger.log_metrics(values, step)


class _Wandb(_OfLightning):
    """W&B; with WANDB_MODE=offline, or ``corun --offline``, into the run's folder only."""

    def __init__(self, run: RunConfig, name: str | None) -> None:
        from lightning.pytorch.loggers import WandbLogger

        self.name = name or secrets.token_hex(8)
        self.logger = WandbLogger(
            name=run.folder.name,
            project=run.project,
            id=self.name,
            resume="allow",
            save_dir=run.folder,
            offline=offline(),
        )
        _ = self.logger.experiment  # opened now, so that an error is one of the start

    def log_picture(self, name: str, pixels: NDArray[Any], step: int) -> None:
        self.logger.log_image(name, [pixels], step)

    def finish(self, *, failed: bool) -> None:
        self.logger.experiment.finish(exit_code=int(failed))


class _Mlflow(_OfLightning):
    """MLflow at MLFLOW_TRACKING_URI, else in ``mlruns`` in the run's folder."""

    def __init__(self, run: RunConfig, name: str | None) -> None:
        from lightning.pytorch.loggers import MLFlowLogger

        # The store of files needs no database; MLflow 3 asks for this word about it.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self.logger = MLFlowLogger(
            experiment_name=run.project,
            run_name=run.folder.name,
            save_dir=str(run.folder.resolve() / "mlruns"),
            run_id=name,
        )
        self.name = str(self.logger.run_id)
        if name is not None:
            self.logger.experiment.update_run(name, status="RUNNING")

    def log_picture(self, name: str, pixels: NDArray[Any], step: int) -> None:
        file = f"pictures/{name}-{step:06d}.png"
        self.logger.experiment.log_image(self.name, pixels, file)

    def finish(self, *, failed: bool) -> None:
        self.logger.finalize("failed" if failed else "success")


class _Trackio:
    """Trackio on this machine; Lightning has no logger for it."""

    def __init__(self, run: RunConfig, name: str | None) -> None:
        import trackio

        self.trackio = trackio
        self.name = name or f"{run.folder.name}-{secrets.token_hex(4)}"
        self.run = trackio.init(project=run.project, name=self.name, resume="allow")

    def log_settings(self, settings: dict[str, Any]) -> None:
        self.run.config.update(settings)

    def log(self, values: dict[str, float], step: int) -> None:
        self.trackio.log(values, step=step)

    def log_picture(self, name: str, pixels: NDArray[Any], step: int) -> None:
        self.trackio.log({name: self.trackio.Image(pixels)}, step=step)

    def finish(self, *, failed: bool) -> None:
        self.trackio.finish()


_SERVICES: dict[str, Callable[[RunConfig, str | None], _Service]] = {
    "wandb": _Wandb,
    "mlflow": _Mlflow,
    "trackio": _Trackio,
}
