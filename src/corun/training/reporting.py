"""What a person sees of a training: a progress bar, a log file, pictures and a tracker."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from corun.data.images import eight_bit
from corun.errors import DataError, reason_of
from corun.training.configuration import RunConfig
from corun.training.trackers import Tracker, open_tracker


class Reporter:
    """Progress bar with loss, rate and time left; ``log.jsonl``; the tracker of the run.

    Args:
        run: where the log goes, how many steps there are, and which tracker.
        first: the step it starts from.
        settings: the run's configuration, for the tracker.
        enabled: only one process reports.
        every: steps between two lines of the log.
        headline: numbers of a step that are shown beside the loss.
    """

    def __init__(
        self,
        run: RunConfig,
        first: int,
        settings: dict[str, Any],
        *,
        enabled: bool,
        every: int = 10,
        headline: tuple[str, ...] = (),
    ) -> None:
        self.headline = headline
        self.run, self.settings = run, settings
        self.folder, self.steps, self.first = run.folder, run.steps, first
        self.enabled, self.every = enabled, every
        self._smooth: float | None = None
        self._started = time.monotonic()
        self._tracker: Tracker | None = None
        self._progress: Any = None
        self._bar: Any = None

    def __enter__(self) -> Reporter:
        if not self.enabled:
            return self
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        with self._writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._tracker = open_tracker(self.run, self.first, self.settings)
        self._progress = Progress(
            TextColumn("[bold]training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(
                "loss {task.fields[loss]}{task.fields[headline]} · {task.fields[rate]} steps/s"
            ),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._progress.start()
        self._bar = self._progress.add_task(
            "training", total=self.steps, completed=self.first, loss="–", rate="–", headline=""
        )
        self._started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self._tracker is None:
            return
        first_error_counts = nullcontext() if error is None else suppress(DataError)
        with first_error_counts, self._writing(self.folder / "events"):
            self._tracker.close(failed=error is not None)

    def step(self, done: int, numbers: dict[str, float]) -> None:
        """Report a finished step."""
        if not self.enabled:
            return
        loss = numbers["loss"]
        self._smooth = loss if self._smooth is None else 0.98 * self._smooth + 0.02 * loss
        speed = (done - self.first) / max(1e-9, time.monotonic() - self._started)
        headline = "".join(f" · {n} {numbers[n]:.3f}" for n in self.headline if n in numbers)
        self._progress.update(
            self._bar,
            completed=done,
            loss=f"{self._smooth:.4f}",
            rate=f"{speed:.2f}",
            headline=headline,
        )
        if done % self.every == 0 or done == self.steps:
            self._log({"step": done, "steps per second": round(speed, 3), **numbers})
            self._scalars("train", done, numbers)
        if done % (10 * self.every) == 0 and not sys.stderr.isatty():
            left = (self.steps - done) / speed
            sys.stderr.write(
                f"step {done}/{self.steps}  loss {self._smooth:.4f}{headline}  "
                f"{speed:.2f} steps/s  {left / 60:.0f} min left\n"
            )

    def validation(self, done: int, scores: dict[str, float]) -> None:
        """Report the scores of the averaged weights."""
        self._log({"step": done, **{f"validation {k}": v for k, v in scores.items()}})
        self._scalars("validation", done, scores)
        text = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        if sys.stderr.isatty():
            self._progress.console.print(f"step {done}: {text}", highlight=False)
        else:
            sys.stderr.write(f"step {done}: {text}\n")

    def pictures(self, done: int, sheets: dict[str, Tensor]) -> None:
        """Contact sheets (3,H,W), RGB in [0,1], into the tracker and ``pictures/``."""
        from PIL import Image

        from corun.files import written_atomically

        for name, sheet in sheets.items():
            if self._tracker is not None:
                with self._writing(self.folder / "events"):
                    self._tracker.picture(name, sheet, done)
            path = self.folder / "pictures" / f"{name}-{done:06d}.png"
            pixels = eight_bit(sheet)
            with self._writing(path):
                path.parent.mkdir(exist_ok=True)
                with written_atomically(path) as partial:
                    Image.fromarray(pixels).save(partial, format="PNG")

    def _log(self, record: dict[str, Any]) -> None:
        path = self.folder / "log.jsonl"
        with self._writing(path):
            before = path.stat().st_size if path.exists() else 0
            try:
                with path.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(record) + "\n")
            except OSError:
                with suppress(OSError):  # half a line would spoil the log of the run that goes on
                    os.truncate(path, before)
                raise

    def _scalars(self, group: str, done: int, numbers: dict[str, float]) -> None:
        if self._tracker is not None:
            with self._writing(self.folder / "events"):
                self._tracker.numbers({f"{group}/{k}": v for k, v in numbers.items()}, done)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """A full disk, or a folder that is gone, ends the training with one line.

        TensorBoard writes in a thread of its own, whose error comes with a later call.
        """
        try:
            yield
        except OSError as error:
            self._tracker = None  # its thread is dead, and to close it would raise the same again
            raise DataError(
                f"{path}: cannot be written ({reason_of(error)}); mend that, and the same "
                "command goes on from the last checkpoint"
            ) from error
