"""Dehazing in a program that uses OpenCV: BGR arrays in and out, as cv2.imread gives them.

python examples/opencv_dehaze.py hazy.jpg clear.png
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

import corun
from corun.dehazing.dehazer import Dehazer


def dehaze(src: np.ndarray, dehazer: Dehazer, strength: float = 1.0) -> np.ndarray:
    """A picture without haze.

    Args:
        src: grey (H,W), BGR (H,W,3) or BGRA (H,W,4), 8 or 16 bits, or float32 in [0,1].
        dehazer: what `corun.load` returns.
        strength: how much of the haze goes, 0 to 1.

    Returns:
        An array of the shape and type of `src`.
    """
    if src.ndim == 2:
        return dehazer(src, strength=strength).image
    alpha = src.shape[2] == 4
    rgb = cv2.cvtColor(src, cv2.COLOR_BGRA2RGBA if alpha else cv2.COLOR_BGR2RGB)
    clear = dehazer(rgb, strength=strength).image
    return cv2.cvtColor(clear, cv2.COLOR_RGBA2BGRA if alpha else cv2.COLOR_RGB2BGR)


def main(source: str, target: str, model: str = "corun-lite") -> None:
    picture = cv2.imread(source, cv2.IMREAD_UNCHANGED)
    if picture is None:
        sys.exit(f"{source}: cannot be read")
    if not cv2.imwrite(target, dehaze(picture, corun.load(model))):
        sys.exit(f"{target}: cannot be written")


if __name__ == "__main__":
    main(*sys.argv[1:])
