"""Decoding in a process of its own, which a hostile file can neither keep for ever nor crash us by.

What it answers is a pickle of our own making: the decoded picture, or the line that refuses it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from corun.errors import ImageFileError
from corun.pictures.decoding import Decoded, decode
from corun.pictures.pixels import PixelError

SECONDS = 10.0
SECONDS_PER_BYTE = 1e-6
SECONDS_PER_PIXEL = 1e-7
"""How long a decoder may take: ten times what an honest picture takes on a slow machine."""

PROGRAM = "from corun.pictures.isolated import main; main()"


def decode_elsewhere(data: bytes, name: str, max_pixels: int, pixels: int) -> Decoded:
    """Decodes a picture in another process.

    Args:
        data: the file's content.
        name: what to call it in error messages.
        max_pixels: larger pictures are refused.
        pixels: how many its header promises.

    Raises:
        ImageFileError: it cannot be read, or takes longer than any honest picture of its size.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        return decode(data, max_pixels=max_pixels)  # a program without an interpreter to start
    limit = SECONDS + SECONDS_PER_BYTE * len(data) + SECONDS_PER_PIXEL * pixels
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", PROGRAM, str(max_pixels), name],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=limit,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PixelError(
            f"it was given up after {limit:.0f} seconds of decoding; "
            "if you trust it, save it again as PNG or TIFF"
        ) from error
    answer: Decoded | str | None = None
    with suppress(pickle.UnpicklingError, EOFError):
        answer = pickle.loads(done.stdout)
    if isinstance(answer, str):
        raise ImageFileError(answer)
    if answer is None:
        raise PixelError(
            "its decoder ended without a word: not enough memory, or the file is damaged; "
            "scale it down or copy it again from its source"
        )
    return answer
