"""The one progress bar: on standard error, where a person watches, and nowhere else."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


class ProgressBar(Progress):
    """A line for each kind of work.

    Rich takes a pipe for a terminal where FORCE_COLOR is set; a bar is drawn on terminals only.

    Args:
        count: the column that says how many are done.
        hidden: draw none.
    """

    def __init__(self, count: ProgressColumn | None = None, *, hidden: bool = False) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            count or MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, soft_wrap=True, highlight=False, markup=False),
            transient=True,
            redirect_stdout=False,
            disable=hidden or not terminal,
        )
        self._kinds: dict[str, TaskID] = {}

    def show(self, what: str, done: int, total: int) -> None:
        """Says how far something is."""
        if what not in self._kinds:
            self._kinds[what] = self.add_task(what, total=total)
        self.update(self._kinds[what], completed=done, total=total)
