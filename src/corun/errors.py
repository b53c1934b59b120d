"""The errors that reach a person: one line that names what went wrong and what to do next."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STEERING = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
"""Control characters, those that turn the direction of writing, and bytes that are no UTF-8."""


def escaped(text: str) -> str:
    """Text that cannot steer a terminal: what could is written as ``\\u001b``, as in JSON."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: object) -> str:
    """A message, or an error's, on one line, escaped; line breaks and runs of spaces become one."""
    return escaped(" ".join(str(text).split()))


def tell(text: object) -> None:
    """Says one line on standard error, as `one_line` makes it: names of files are in most."""
    print(one_line(text), file=sys.stderr, flush=True)


_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory"),
    *("failed to allocate memory", "insufficient memory", "bad_alloc", "bad allocation"),
)
"""What torch, ONNX Runtime, OpenCV and the C++ library say; they share no class of errors."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory was lacking, here or on an accelerator."""
    said = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(sign in said for sign in _OUT_OF_MEMORY)


class CorunError(Exception):
    """Base of every error caused by what the user gave (a file, an option, a device).

    The message is one line: it names the thing and the remedy. Command-line programs print it
    without a traceback; everything else is a bug and keeps its traceback.
    """


class ImageFileError(CorunError):
    """An image file cannot be read, or an output cannot be written."""


class VideoError(CorunError):
    """A video cannot be read, or the clear one cannot be written."""


class WeightsError(CorunError):
    """A weights file is missing, unreadable or of the wrong layout."""


class ConfigurationError(CorunError):
    """A configuration file or option has an unknown key or an impossible value."""


class DataError(CorunError):
    """A data folder lacks what the task needs."""


class DeviceError(CorunError):
    """The requested device or precision is not available on this machine."""


class NetworkOutputError(CorunError):
    """A network returned something that is not a dehazed batch."""


class ExportError(CorunError):
    """A network cannot be exported, or what was exported failed its check."""


def reason_of(error: BaseException) -> str:
    """What the system says, without the number and the path that Python puts around it."""
    return str(getattr(error, "strerror", None) or error)


@contextmanager
def system_errors_as(kind: type[CorunError], what: str, remedy: str = "") -> Iterator[None]:
    """Errors of the system as one of ours: ``WHAT (what the system says); REMEDY``.

    Args:
        kind: of error.
        what: names the file and what cannot be done with it.
        remedy: what to do.
    """
    try:
        yield
    except OSError as error:
        told = f"{what} ({reason_of(error)})"
        raise kind(f"{told}; {remedy}" if remedy else told) from error


class MissingExtraError(CorunError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        name = f"'corun-dehaze[{extra}]'" if extra else package
        super().__init__(f"{package} is not installed; install it with: pip install {name}")
