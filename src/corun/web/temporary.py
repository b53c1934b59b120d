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
MOST_BYTES = 8 * 1024**3


class TemporaryFolder:
    """A private folder that empties itself.

    Args:
        most_seconds: after which a file goes; visitors reload the page and drop it again.
        most_bytes: of all files; above it the oldest go before their time.
        every: seconds between two looks.

    Attributes:
        path: of what visitors send and get.
        work: of unfinished films, which is never swept.
    """

    def __init__(
        self,
        *,
        most_seconds: float = HOUR,
        most_bytes: int = MOST_BYTES,
        every: float = 20.0,
    ) -> None:
        _remove_those_of_dead_processes()
        self._whole = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.path, self.work = self._whole / "files", self._whole / "work"
        for path in (self.path, self.work):
            path.mkdir(mode=0o700)
        self._most = most_seconds
        self._most_bytes = most_bytes
        self._every = every
        self._closed = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="corun-web-sweeper", daemon=True)
        self._sweeper.start()

    def place(self, name: str) -> Path:
        """Where a file of that name may be written, in a folder of its own."""
        return Path(tempfile.mkdtemp(dir=self.path)) / name

    def remove_old(self) -> None:
        """Removes what is too old, and the oldest of what is too much."""
        oldest = time.time() - self._most
        files: list[tuple[float, int, Path]] = []
        for path in self.path.rglob("*"):
            with suppress(OSError):
                if path.is_file():
                    files.append((path.stat().st_mtime, path.stat().st_size, path))
        held = sum(size for _, size, _ in files)
        for modified, size, path in sorted(files):
            if modified < oldest or held > self._most_bytes:
                with suppress(OSError):
                    path.unlink()
                held -= size
        for folder, _, _ in os.walk(self.path, topdown=False):
            with suppress(OSError):
                if Path(folder) != self.path and Path(folder).stat().st_mtime < oldest:
                    Path(folder).rmdir()  # only where it is empty

    def close(self) -> None:
        """Removes everything."""
        self._closed.set()
        self._sweeper.join()
        shutil.rmtree(self._whole, ignore_errors=True)

    def _sweep(self) -> None:
        while not self._closed.wait(self._every):
            self.remove_old()


def _remove_those_of_dead_processes() -> None:
    """What a process that was killed could not remove."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdecimal() and not Path(f"/proc/{number}").exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)
