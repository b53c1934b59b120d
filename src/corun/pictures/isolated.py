"""The other process of `isolation`: reads a picture from standard input and sends what it is."""

from __future__ import annotations

import pickle
import sys

from corun.errors import CorunError
from corun.pictures.isolation import send
from corun.pictures.reading import read_here


def main() -> None:
    """Arguments: the pixel limit and the picture's name."""
    max_pixels, name = int(sys.argv[1]), sys.argv[2]
    try:
        picture = read_here(sys.stdin.buffer.read(), name=name, max_pixels=max_pixels)
    except CorunError as error:
        pickle.dump(str(error), sys.stdout.buffer)
    else:
        send(picture.image, picture.metadata, sys.stdout.buffer)
