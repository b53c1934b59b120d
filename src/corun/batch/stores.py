"""Where pictures and results lie: this disk, or any store that fsspec has a driver for."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from corun.errors import CorunError, MissingExtraError, one_line
from corun.files import TEMPORARY_PREFIX, write_atomically

T = TypeVar("T")

DRIVERS = {
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "s3")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "")),
    **dict.fromkeys(("abfs", "abfss", "az"), ("adlfs", "")),
    **dict.fromkeys(("http", "https"), ("aiohttp", "")),
}
"""Protocols to the package that speaks them, and the extra that brings it."""

PUTS_WHOLE = frozenset({"memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "hf"})
"""Stores where an object appears whole or not at all; elsewhere it is renamed when complete."""

REMEDIES = {
    "NoCredentialsError": "set the store's credentials, for example AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY",
    "EndpointConnectionError": "check the network and the store's address",
    "PermissionError": "check the credentials and the rights they have",
    "FileNotFoundError": "check the name",
}


class StoreError(CorunError):
    """A store, or something in it, cannot be read or written.

    Attributes:
        passing: whether it may go away by itself.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class Store:
    """A folder (or a file) of a store, and the files below it.

    Args:
        url: a path of this disk, or a URL such as s3://bucket/folder.

    Raises:
        StoreError: no such protocol, or the store does not answer.
        MissingExtraError: its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingExtraError("fsspec", "batch") from error
        self.protocol = url.partition("://")[0] if "://" in url else "file"
        self.local = self.protocol in ("file", "local")
        self.url = url.rstrip("/") if self.local else url
        driver, extra = DRIVERS.get(self.protocol, ("", ""))
        try:
            if driver:
                import_module(driver)
            self._fs, self.root = url_to_fs(str(Path(url).expanduser()) if self.local else url)
        except ImportError as error:
            raise MissingExtraError(driver or str(error), extra) from error
        except ValueError as error:
            raise StoreError(f"{url}: {one_line(error)}; check the address") from error
        except Exception as error:  # drivers' errors have no common base
            raise _failed(url, error) from error

    def name(self, path: str) -> str:
        """A path of the store as the user would write it."""
        return path if self.local else str(self._fs.unstrip_protocol(path))

    def below(self, relative: str) -> str:
        """The path of a file below the folder."""
        return f"{self.root.rstrip('/')}/{relative}"

    def relative(self, path: str) -> str:
        """The path below the folder of a file in it."""
        return path[len(self.root.rstrip("/")) :].lstrip("/")

    def is_folder(self) -> bool:
        """Whether it is a folder, or the beginning of the names of objects."""
        return self._ask(self.url, lambda: bool(self._fs.isdir(self.root)))

    def exists(self, path: str) -> bool:
        """Whether there is a file of that path."""
        return self._ask(self.name(path), lambda: bool(self._fs.exists(path)))

    def files(self) -> list[str]:
        """The paths of all files below the folder, in order; none where there is no folder."""

        def find() -> list[str]:
            self._fs.invalidate_cache()
            return sorted(self._fs.find(self.root))

        return [path for path in self._ask(self.url, find) if not _is_temporary(path)]

    def matching(self) -> list[str]:
        """The paths of the files that the pattern, which the URL is, matches, in order."""
        found = self._ask(self.url, lambda: self._fs.glob(self.root, detail=True))
        return sorted(path for path, facts in found.items() if facts.get("type") == "file")

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        return self._ask(self.name(path), lambda: bytes(self._fs.cat_file(path)))

    def write(self, path: str, content: bytes) -> None:
        """Puts a file in place, whole or not at all; one of that name is replaced.

        Raises:
            StoreError: it cannot be written.
        """
        self._ask(self.name(path), lambda: self._write(path, content))

    def _write(self, path: str, content: bytes) -> None:
        if self.local:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(path), content)
        elif self.protocol in PUTS_WHOLE:
            self._fs.pipe_file(path, content)
        else:
            folder, _, name = path.rpartition("/")
            self._fs.makedirs(folder, exist_ok=True)
            partial = f"{folder}/{TEMPORARY_PREFIX}{time.time_ns():x}-{name}"
            try:
                self._fs.pipe_file(partial, content)
                self._fs.mv(partial, path)
            except BaseException:
                with suppress(Exception):  # the first error is the one to tell
                    self._fs.rm_file(partial)
                raise

    def _ask(self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except CorunError:
            raise
        except Exception as error:  # drivers' errors have no common base
            raise _failed(name, error) from error


def persistently(call: Callable[[], T], retries: int, pause: float = 0.5) -> T:
    """What a call returns, tried again after pauses that double where its error may pass.

    Raises:
        StoreError: it failed each time, or for good.
    """
    for attempt in range(retries):
        try:
            return call()
        except StoreError as error:
            if not error.passing:
                raise
            time.sleep(pause * 2**attempt)
    return call()


def _is_temporary(path: str) -> bool:
    return path.rpartition("/")[2].startswith(TEMPORARY_PREFIX)


def _failed(name: str, error: Exception) -> StoreError:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    remedy = next((REMEDIES[kind] for kind in kinds if kind in REMEDIES), None)
    lasting = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
    lasting = lasting or "NoCredentialsError" in kinds
    reason = (isinstance(error, OSError) and error.strerror) or one_line(error) or kinds[0]
    return StoreError(
        f"{name}: {reason}; {remedy or 'try again, or check the store'}", passing=not lasting
    )
