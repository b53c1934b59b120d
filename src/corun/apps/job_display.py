"""What a person sees while pictures are dehazed: a bar for many, a line for each that matters."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from corun.dehazing.file_jobs import Outcome
from corun.dehazing.standard_streams import write_standard_output
from corun.errors import escaped, one_line

if TYPE_CHECKING:
    from corun.apps.progress_bar import ProgressBar


class JobDisplay:
    """Progress, results and errors on standard error; JSON lines on standard output.

    Args:
        total: number of pictures; a bar is shown for more than one, on a terminal.
        quiet: errors only.
        as_json: one JSON object per picture on standard output.
    """

    def __init__(self, total: int, *, quiet: bool, as_json: bool) -> None:
        self._quiet = quiet
        self._json = as_json
        self._total = total
        self._done = 0
        self._bar = None if quiet or total < 2 or not _on_a_terminal() else _bar()

    def __enter__(self) -> JobDisplay:
        if self._bar is not None:
            self._bar.start()
            self._bar.show("dehazing", 0, self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, outcome: Outcome) -> None:
        """Reports one picture."""
        if outcome.error is not None:
            self._line(f"corun: {one_line(outcome.error)}")
        elif not self._quiet:
            for note in outcome.notes:
                self._line(f"corun: {outcome.input}: note: {note}")
            if not self._json:
                self._line(_summary(outcome))
        if self._json:
            print_json(outcome.as_dict())
        self._done += 1
        if self._bar is not None:
            self._bar.show("dehazing", self._done, self._total)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(escaped(text), markup=False, highlight=False, soft_wrap=True)
        elif sys.stderr is not None:
            print(escaped(text), file=sys.stderr, flush=True)


def _on_a_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _bar() -> ProgressBar:
    from corun.apps.progress_bar import ProgressBar  # rich, which one photo does not need

    return ProgressBar()


def print_json(fields: dict[str, object]) -> None:
    """One line of JSON on standard output, in UTF-8 whatever the locale (RFC 8259, 8.1).

    A byte of a file name that is no UTF-8 becomes the escape of its surrogate, and what could steer
    a terminal is escaped too.

    Raises:
        ImageFileError: standard output is closed, or the disk behind it is full.
    """
    line = escaped(json.dumps(fields, ensure_ascii=False)) + "\n"
    write_standard_output(line.encode())


def _summary(outcome: Outcome) -> str:
    if outcome.status == "skipped":
        return f"{outcome.input}: skipped, {outcome.output} exists"
    target = outcome.output or "standard output"
    return (
        f"{outcome.input} -> {target} ({outcome.width}x{outcome.height}, {outcome.seconds:.1f} s)"
    )
