"""The working picture of a network as tensors; :mod:`corun.physics.working_picture` in NumPy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def area_weights(length: int, reduced: int, like: Tensor) -> Float[Tensor, "reduced length"]:
    """The matrix that averages ``length`` pixels over ``reduced`` equal intervals.

    Row i holds the share of each pixel j in the interval [i·s, (i + 1)·s), s = length/reduced,
    divided by s: exact box coverage, as OpenCV's ``INTER_AREA``, in whole numbers of 1/reduced.
    """
    start = torch.arange(reduced, device=like.device)[:, None] * length
    pixel = torch.arange(length, device=like.device)[None] * reduced
    covered = torch.minimum(start + length, pixel + reduced) - torch.maximum(start, pixel)
    return covered.clamp(min=0).to(like.dtype) / length


def reduce_by_area(
    image: Float[Tensor, "b c h w"], height: int, width: int
) -> Float[Tensor, "b c h2 w2"]:
    """The means of the picture over height×width equal boxes, in float32 or wider.

    A side that is shorter than asked is enlarged bilinearly (pictures of extreme shapes end on a
    multiple that is longer than they are).
    """
    wide = image.to(torch.promote_types(image.dtype, torch.float32))
    with torch.autocast(image.device.type, enabled=False):
        wide = _reduce_last(wide, width)
        wide = _reduce_last(wide.transpose(2, 3), height).transpose(2, 3)
    return wide.to(image.dtype)


def _reduce_last(image: Float[Tensor, "b c h w"], width: int) -> Float[Tensor, "b c h w2"]:
    rows, columns = image.shape[-2:]
    if columns < width:
        return F.interpolate(image, size=(rows, width), mode="bilinear", align_corners=False)
    return image @ area_weights(columns, width, image).T


def pad_to_multiple(image: Float[Tensor, "b c h w"], multiple: int) -> Float[Tensor, "b c h2 w2"]:
    """Pad at the right and bottom to a multiple of ``multiple``.

    Reflection where the image is large enough for it, repetition of the last row and column
    where it is not (down to 1×1).
    """
    height, width = image.shape[-2:]
    pad_h, pad_w = -height % multiple, -width % multiple
    if not pad_h and not pad_w:
        return image
    mode = "reflect" if pad_h < height and pad_w < width else "replicate"
    return F.pad(image, (0, pad_w, 0, pad_h), mode=mode)
