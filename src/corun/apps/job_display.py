"""What a person sees while pictures are dehazed: a bar for many, a line for each that matters."""

from __future__ import annotations

import json
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from corun.dehazing.file_jobs import Outcome
from corun.dehazing.standard_streams import write_standard_output


class JobDisplay:
    """Progress, results and errors on standard error; JSON lines on standard output.

    Args:
        total: number of pictures; a bar is shown for more than one, on a terminal.
        quiet: errors only.
        as_json: one JSON object per picture on standard output.
    """

    def __init__(self, total: int, *, quiet: bool, as_json: bool) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        self._quiet = quiet
        self._json = as_json
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            disable=quiet or total < 2 or not self._console.is_terminal,
        )
        self._task = self._progress.add_task("dehazing", total=total)

    def __enter__(self) -> JobDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, outcome: Outcome) -> None:
        """Reports one picture."""
        if outcome.error is not None:
            self._line("corun: " + " ".join(outcome.error.split()))
        elif not self._quiet:
            for note in outcome.notes:
                self._line(f"corun: {outcome.input}: note: {note}")
            if not self._json:
                self._line(_summary(outcome))
        if self._json:
            print_json(outcome.as_dict())
        self._progress.advance(self._task)

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(fields: dict[str, object]) -> None:
    """One line of JSON on standard output, in UTF-8 whatever the locale (RFC 8259, 8.1).

    A byte of a file name that is no UTF-8 becomes the escape of its surrogate.

    Raises:
        ImageFileError: standard output is closed, or the disk behind it is full.
    """
    line = json.dumps(fields, ensure_ascii=False) + "\n"
    write_standard_output(line.encode("utf-8", "backslashreplace"))


def _summary(outcome: Outcome) -> str:
    if outcome.status == "skipped":
        return f"{outcome.input}: skipped, {outcome.output} exists"
    target = outcome.output or "standard output"
    return (
        f"{outcome.input} -> {target} ({outcome.width}x{outcome.height}, {outcome.seconds:.1f} s)"
    )
