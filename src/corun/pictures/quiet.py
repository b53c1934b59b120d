"""Decoders that print about a bad file: kept quiet, because the error says it once."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STANDARD_ERROR = 2

_lock = threading.RLock()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences tifffile, OpenCV, libpng and libtiff.

    The two latter write to the process's standard error itself, which goes nowhere meanwhile.
    """
    logger = logging.getLogger("tifffile")
    cv2 = sys.modules.get("cv2")  # where it is not loaded, it prints nothing
    with _lock:
        level, cv2_level = logger.level, cv2.utils.logging.getLogLevel() if cv2 else 0
        logger.setLevel(logging.CRITICAL + 1)
        if cv2:
            cv2.utils.logging.setLogLevel(0)
        kept = _mute()
        try:
            yield
        finally:
            if kept is not None:
                os.dup2(kept, STANDARD_ERROR)
                os.close(kept)
            logger.setLevel(level)
            if cv2:
                cv2.utils.logging.setLogLevel(cv2_level)


def _mute() -> int | None:
    """Turns standard error away; a copy of it to turn it back, None where there is none."""
    with suppress(OSError):
        kept = os.dup(STANDARD_ERROR)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STANDARD_ERROR)
        os.close(nowhere)
        return kept
    return None
