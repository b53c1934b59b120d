"""Decoding in a process of its own, which a hostile file can neither keep for ever nor crash us by.

It answers with a pickle, of our own making: the line that refuses the picture, or what is beside
its pixels; the pixels follow as they are, so that they are not held more often than they must.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from corun.errors import CorunError, ImageFileError
from corun.pictures.decoding import Decoded
from corun.pictures.metadata import PictureMetadata
from corun.pictures.pixels import PixelError

SECONDS = 15.0
SECONDS_PER_BYTE = 1e-6
SECONDS_PER_PIXEL = 2e-7
"""How long a decoder may take: ten times what an honest picture takes on a slow machine."""

PROGRAM = "from corun.pictures.isolation import main; main()"

ArrayForm = tuple[str, tuple[int, ...]]
"""Type and shape of an array."""

ImageForm = tuple[str, tuple[int, int], list[int] | None, dict[str | tuple[int, int], object]]
"""Mode, size, palette and info of a Pillow image."""


def can_isolate() -> bool:
    """Whether there is an interpreter to start: not in a program frozen into one file."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def decode_elsewhere(data: bytes, name: str, max_pixels: int, pixels: int) -> Decoded:
    """Decodes a picture in another process.

    Args:
        data: the file's content.
        name: what to call it in error messages.
        max_pixels: larger pictures are refused.
        pixels: how many its header promises.

    Raises:
        ImageFileError: it cannot be read.
        PixelError: it takes longer than any honest picture of its size, or its decoder crashes.
    """
    limit = SECONDS + SECONDS_PER_BYTE * len(data) + SECONDS_PER_PIXEL * pixels
    given_up = threading.Event()
    with tempfile.TemporaryFile() as source:
        source.write(data)
        source.seek(0)
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        with subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, str(max_pixels), name],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        ) as process:
            timer = threading.Timer(limit, _give_up, (process, given_up))
            timer.start()
            try:
                answer = _received(process.stdout)
            finally:
                timer.cancel()
                process.kill()
    if isinstance(answer, str):
        raise ImageFileError(answer)
    if answer is not None:
        return answer
    if given_up.is_set():
        raise PixelError(
            f"it was given up after {limit:.0f} seconds of decoding; "
            "if you trust it, save it again as PNG or TIFF"
        )
    raise PixelError(
        "its decoder ended without a word: not enough memory, or the file is damaged; "
        "scale it down or copy it again from its source"
    )


def _give_up(process: subprocess.Popen[bytes], given_up: threading.Event) -> None:
    given_up.set()
    process.kill()


def main() -> None:
    """The other process: reads a picture from standard input and sends what it is.

    Arguments: the pixel limit and the picture's name.
    """
    from corun.pictures.reading import read_here

    max_pixels, name = int(sys.argv[1]), sys.argv[2]
    try:
        picture = read_here(sys.stdin.buffer.read(), name=name, max_pixels=max_pixels)
    except CorunError as error:
        pickle.dump(str(error), sys.stdout.buffer)
    else:
        send(picture.image, picture.metadata, sys.stdout.buffer)


def send(image: Image.Image | np.ndarray, metadata: PictureMetadata, stream: IO[bytes]) -> None:
    """Writes a decoded picture for `decode_elsewhere`."""
    form: ArrayForm | ImageForm
    if isinstance(image, Image.Image):
        form = image.mode, image.size, image.getpalette(), dict(image.info)
        samples: bytes | memoryview = image.tobytes()
    else:
        form = image.dtype.str, image.shape
        samples = np.ascontiguousarray(image).data.cast("B")
    pickle.dump((form, len(samples), metadata), stream, protocol=5)
    stream.write(samples)


def _received(stream: IO[bytes] | None) -> Decoded | str | None:
    """What `send` wrote, the line that refuses it, or None where the sender ended before."""
    assert stream is not None
    try:
        answer: str | tuple[ArrayForm | ImageForm, int, PictureMetadata] = pickle.load(stream)
        if isinstance(answer, str):
            return answer
        form, length, metadata = answer
        samples = np.frombuffer(stream.read(length), np.uint8)
    except (EOFError, pickle.UnpicklingError):
        return None
    if len(samples) < length:
        return None
    if len(form) == 2:
        return samples.view(form[0]).reshape(form[1]).copy(), metadata
    mode, size, palette, info = form
    image = Image.frombytes(mode, size, samples.data)
    if palette:
        image.putpalette(palette)
    image.info = info
    return image, metadata
