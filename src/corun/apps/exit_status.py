"""How every command fails: one line on standard error, and an exit status that means something.

0: done. 1: something given could not be used, or a picture failed. 2: wrong usage.
130: interrupted. Nothing here imports the command-line library.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from corun.errors import ConfigurationError, CorunError, MissingExtraError, tell

EXTRA_OF_PACKAGE = {
    "torch": "torch",
    "yaml": "torch",
    "pydantic": "torch",
    "lightning": "train",
    "kornia": "train",
    "scipy": "train",
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "h11", "prometheus_client"), "serve"),
    "gradio": "web",
}
"""What commands beyond a photo's import first, and the extra that brings it."""
FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130


@contextmanager
def failing_in_one_line() -> Iterator[None]:
    """Ends the command with one line for what the user, or the machine, is to blame for.

    Raises:
        SystemExit: of the status that is meant.
    """
    try:
        yield
    except CorunError as error:
        _end(str(error), FAILED)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF_PACKAGE:
            raise
        _end(str(MissingExtraError(package, EXTRA_OF_PACKAGE[package])), FAILED)
    except MemoryError:
        _end("not enough memory; close other programs, or give less at once", FAILED)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)


@contextmanager
def ended_by_sigterm(exception: BaseException | None = None) -> Iterator[None]:
    """Ends on SIGTERM as on Ctrl-C, by an exception, so that everything is closed and tidied.

    Args:
        exception: that is raised; by default one that ends the process with 128 + 15.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise exception or SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def require_new(path: Path, overwrite: bool) -> None:
    """Refuses before any work to replace a file that nobody said may be replaced.

    Raises:
        ConfigurationError: it is there.
    """
    from corun.files import is_stream

    if path.exists() and not overwrite and not is_stream(path):
        raise ConfigurationError(f"{path}: exists already; add --overwrite or choose another name")


def complain(message: str) -> None:
    """Prints one line on standard error, whatever line breaks and controls the message has."""
    tell(f"corun: {message}")


def wrong_usage(message: str) -> NoReturn:
    """Ends the command because of how it was called."""
    _end(message, WRONG_USAGE)


def _end(message: str, status: int) -> NoReturn:
    complain(message)
    raise SystemExit(status) from None
