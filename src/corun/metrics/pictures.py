"""The protocol behind every table of photos without ground truth: how a photo becomes a score.

A score is of a saved file, so that anyone who has the file can have the score: never of a tensor
that was not yet rounded to what the file holds.

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

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from corun.errors import ImageFileError
from corun.pictures.colours import DEPTH_LOST, read_eight_bit

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


def read_picture(path: Path | str) -> UInt8[np.ndarray, "h w 3"]:
    """Read a result or a photo for scoring.

    EXIF orientation is applied; grey and palette become RGB; opaque alpha is dropped.

    Returns:
        RGB, sRGB-encoded, 0–255.

    Raises:
        ImageFileError: missing, damaged, transparent somewhere, or of more than 8 bits per sample;
            the two latter have no 8-bit RGB value without a choice that only the user can make.
    """
    path = Path(path)
    pixels, notes = read_eight_bit(path)
    if DEPTH_LOST in notes:
        raise ImageFileError(
            f"{path}: has more than 8 bits per sample; "
            "scores are of 8-bit pictures: save it as 8-bit PNG"
        )
    return pixels


def as_tensor(picture: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
    """An 8-bit picture as a batch of one, float32, [0,1]."""
    return torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
