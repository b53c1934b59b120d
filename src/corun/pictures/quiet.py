"""Decoders that print about a bad file: kept quiet, because the error says it once."""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import PIL

_lock = threading.RLock()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences tifffile, OpenCV and libtiff; no other output of any thread is lost meanwhile."""
    _silence_libtiff()
    logger = logging.getLogger("tifffile")
    cv2 = sys.modules.get("cv2")  # where it is not loaded, it prints nothing
    with _lock:
        level, cv2_level = logger.level, cv2.utils.logging.getLogLevel() if cv2 else 0
        logger.setLevel(logging.CRITICAL + 1)
        if cv2:
            cv2.utils.logging.setLogLevel(0)
        try:
            yield
        finally:
            logger.setLevel(level)
            if cv2:
                cv2.utils.logging.setLogLevel(cv2_level)


@cache
def _silence_libtiff() -> None:
    """Takes the handlers out of Pillow's own libtiff, which writes to the process's standard error.

    Where Pillow was built with another (a distribution's, on Windows) that one keeps its handlers.
    """
    package = Path(PIL.__file__).parent
    for folder in (package.parent / "pillow.libs", package / ".dylibs"):
        for library in folder.glob("libtiff*"):
            with suppress(OSError, AttributeError):
                loaded = ctypes.CDLL(str(library))
                for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                    set_handler = getattr(loaded, name)
                    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                    set_handler(None)
