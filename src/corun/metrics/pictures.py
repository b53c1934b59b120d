"""The pictures that are scored: saved files, as 8-bit RGB.

A score is of a file, so that anyone who has the file can have the score: never of a tensor that
was not yet rounded to what the file holds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from corun.errors import ImageFileError
from corun.pictures.colours import DEPTH_LOST, read_eight_bit


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
