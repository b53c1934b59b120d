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

from corun.data.images import read_rgb
from corun.errors import ImageFileError


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
    _refuse_other_samples(path)
    samples = read_rgb(path).mul(255).round().to(torch.uint8)
    return samples.permute(1, 2, 0).contiguous().numpy()


def as_tensor(picture: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
    """An 8-bit picture as a batch of one, float32, [0,1]."""
    return torch.tensor(picture).permute(2, 0, 1)[None].float() / 255


def _refuse_other_samples(path: Path) -> None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            bits, mode, transparent = _sample_bits(path, image), image.mode, False
            if "A" in image.getbands() or "transparency" in image.info:
                alpha = image.convert("RGBA").getchannel("A")
                transparent = alpha.getextrema()[0] != 255
    except (OSError, SyntaxError, ValueError, EOFError):
        return  # read_rgb names what is wrong with the file
    if bits > 8 or mode.startswith(("I", "F")):
        raise ImageFileError(
            f"{path}: has {bits if bits > 8 else 'more than 8'} bits per sample; "
            "scores are of 8-bit pictures: save it as 8-bit PNG"
        )
    if transparent:
        raise ImageFileError(
            f"{path}: is transparent in places, which has no score; "
            "flatten it onto a background and save it as PNG without alpha"
        )


def _sample_bits(path: Path, image: object) -> int:
    """Bits per sample as the file states them: Pillow reads 16-bit colour as 8-bit silently."""
    with path.open("rb") as file:
        head = file.read(26)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return head[24]
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        stated = tags.get(258, (8,))
        return int(max(stated)) if isinstance(stated, tuple) else int(stated)
    return 8
