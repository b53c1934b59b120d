"""The errors that reach a person: one line that names what went wrong and what to do next."""

from __future__ import annotations


class CorunError(Exception):
    """Base of every error caused by what the user gave (a file, an option, a device).

    The message is one line: it names the thing and the remedy. Command-line programs print it
    without a traceback; everything else is a bug and keeps its traceback.
    """


class ImageFileError(CorunError):
    """An image file cannot be read, or an output cannot be written."""


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


class MissingExtraError(CorunError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        name = f"'corun-dehaze[{extra}]'" if extra else package
        super().__init__(f"{package} is not installed; install it with: pip install {name}")
