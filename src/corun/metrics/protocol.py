"""The protocol behind every table of photos without ground truth: how a photo becomes a score.

1. The photo is decoded to 8-bit sRGB. If its long side exceeds 640 pixels it is reduced to 640 by
   area averaging (OpenCV's ``INTER_AREA``), the short side rounded; smaller photos stay as they
   are: enlarging adds blur, which BRISQUE and FADE take for haze.
2. Every method gets that picture, and its result is saved as 8-bit PNG.
3. Each PNG is scored with the whole picture in view. A table holds means over photos.
4. "Mean brightness" is the mean of all samples of R, G and B; "crushed to black" is the share of
   samples (pixel × channel) that are 0 of 255, "clipped" of those that are 255.

The means are not comparable with those of another size: FADE and BRISQUE depend on it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

LONG_SIDE = 640
"""Pixels."""


def prepare(
    photo: UInt8[np.ndarray, "h w 3"], *, long_side: int = LONG_SIDE
) -> UInt8[np.ndarray, "ph pw 3"]:
    """The picture that methods get: reduced to ``long_side`` pixels, never enlarged.

    Args:
        photo: RGB, 0–255.
        long_side: pixels, at least 1.

    Returns:
        RGB, 0–255; the photo itself if it is small enough.
    """
    if long_side < 1:
        raise ValueError(f"long_side must be at least 1, got {long_side}")
    height, width = photo.shape[:2]
    if max(height, width) <= long_side:
        return photo
    import cv2

    scale = long_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
