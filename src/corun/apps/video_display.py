"""What a person sees while a film is cleared: a bar with frames per second and the time left."""

from __future__ import annotations

import time
from pathlib import Path

from rich.progress import TextColumn

from corun.apps.progress_bar import ProgressBar


class _FrameBar(ProgressBar):
    def __init__(self, description: str, *, quiet: bool) -> None:
        super().__init__(TextColumn("{task.fields[frames]}", markup=False), hidden=quiet)
        self._film = self.add_task(description, total=None, frames="")
        self._begun, self._before = time.perf_counter(), 0

    def _show(self, done: int, total: int | None, more: str) -> None:
        rate = (done - self._before) / max(1e-6, time.perf_counter() - self._begun)
        text = f"{done}{'' if total is None else f'/{total}'} frames, {rate:.1f} fps{more}"
        self.update(self._film, completed=done, total=total, frames=text)


class FilmDisplay(_FrameBar):
    """The bar of a film.

    Args:
        source: the film.
        quiet: nothing is shown.

    Attributes:
        done: frames that are finished.
    """

    def __init__(self, source: Path, *, quiet: bool) -> None:
        super().__init__(source.name, quiet=quiet)
        self.done = 0
        self._first = True

    def report(self, done: int, total: int) -> None:
        """Shows how far it is; the first call says what an earlier run had finished."""
        if self._first:
            self._before, self._first = done, False
        self.done = done
        self._show(done, max(total, done) if total else None, "")


class RecordingDisplay(_FrameBar):
    """The counter of a recording.

    Args:
        quiet: nothing is shown.
    """

    def __init__(self, *, quiet: bool) -> None:
        super().__init__("recording, Ctrl-C ends it", quiet=quiet)

    def report(self, frames: int, dropped: int) -> None:
        """Shows how many frames are written and left out."""
        self._show(frames, None, f", {dropped} left out")
