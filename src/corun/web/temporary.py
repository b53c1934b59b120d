"""The folder of a page's uploads and results: nothing in it gets older than an hour."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "corun-web-"
HOUR = 3600.0


class TemporaryFolder:
    """A private folder that empties itself.

    Args:
        most_seconds: after which a file goes; visitors reload the page and drop it again.
        every: seconds between two looks.
    """

    def __init__(self, *, most_seconds: float = HOUR, every: float = 60.0) -> None:
        _remove_those_of_dead_processes()
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._most = most_seconds
        self._every = every
        self._closed = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="corun-web-sweeper", daemon=True)
        self._sweeper.start()

    def place(self, name: str) -> Path:
        """Where a file of that name may be written, in a folder of its own."""
        return Path(tempfile.mkdtemp(dir=self.path)) / name

    def remove_old(self) -> None:
        """Removes what is too old."""
        oldest = time.time() - self._most
        for folder, _, files in os.walk(self.path, topdown=False):
            for name in files:
                file = Path(folder, name)
                with suppress(OSError):
                    if file.stat().st_mtime < oldest:
                        file.unlink()
            with suppress(OSError):
                if Path(folder) != self.path and Path(folder).stat().st_mtime < oldest:
                    Path(folder).rmdir()  # only where it is empty

    def close(self) -> None:
        """Removes everything."""
        self._closed.set()
        self._sweeper.join()
        shutil.rmtree(self.path, ignore_errors=True)

    def _sweep(self) -> None:
        while not self._closed.wait(self._every):
            self.remove_old()


def _remove_those_of_dead_processes() -> None:
    """What a process that was killed could not remove."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdecimal() and not Path(f"/proc/{number}").exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)
