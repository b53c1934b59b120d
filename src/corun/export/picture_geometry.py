"""From a picture of any size to the working picture and back, without a branch on a size.

An exported graph holds at every size, so nothing may depend on a size but numbers: what
``CORUN.explained`` decides with an ``if`` is here a choice between indices or weights. The rule is
:func:`corun.physics.working_picture.working_size`, the weights are
:func:`corun.networks.reduction.area_weights`; a test holds both to what is computed here.
Everything about sizes is whole-number arithmetic (and one square root in float64).

Legend: ``length`` is a side of the picture, ``reduced`` the same side of the working picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from corun.networks.reduction import area_weights


def as_number(length: int) -> Int[Tensor, ""]:
    """A size of a graph as one of its numbers, which no branch can depend on."""
    return torch.full((), length, dtype=torch.int64)


class WorkingSides(NamedTuple):
    """The size of the working picture, as numbers of a graph.

    Attributes:
        rows: its height in multiples of the network's.
        columns: its width in multiples of the network's.
        reduced: whether it covers the picture itself, not a padded one.
        reflected: whether padding reflects; it repeats the last row and column else.
    """

    rows: Int[Tensor, ""]
    columns: Int[Tensor, ""]
    reduced: Bool[Tensor, ""]
    reflected: Bool[Tensor, ""]


def working_sides(
    height: Int[Tensor, ""], width: Int[Tensor, ""], *, limit: int, multiple: int
) -> WorkingSides:
    """:func:`~corun.physics.working_picture.working_size` for sizes that a graph computes.

    Args:
        height: of the picture, pixels, at least 1.
        width: of the picture, pixels, at least 1.
        limit: pixels above which a picture is reduced; 0 for never.
        multiple: of which the sides of the working picture are multiples, pixels.
    """
    padded_rows = (height + (multiple - 1)) // multiple
    padded_columns = (width + (multiple - 1)) // multiple
    below = padded_rows * multiple - height
    right = padded_columns * multiple - width
    reflected = (below < height) & (right < width)
    if not limit:
        never = height < 0
        return WorkingSides(padded_rows, padded_columns, never, reflected)
    reduced = padded_rows * padded_columns * multiple**2 > limit
    factor = (limit / (height * width).double()).sqrt()
    short_side, long_side = torch.minimum(height, width), torch.maximum(height, width)
    short = _rounded(short_side.double() * factor, multiple)
    # A side that cannot go below one multiple leaves fewer pixels to the other.
    most = limit / (short * multiple).double()
    long = _rounded(torch.minimum(long_side.double() * factor, most), multiple)
    upright = height > width
    rows = torch.minimum(torch.where(upright, long, short), padded_rows)
    columns = torch.minimum(torch.where(upright, short, long), padded_columns)
    return WorkingSides(
        torch.where(reduced, rows, padded_rows),
        torch.where(reduced, columns, padded_columns),
        reduced,
        reflected,
    )


def _rounded(side: Float[Tensor, ""], multiple: int) -> Int[Tensor, ""]:
    """A side in whole multiples, at least 1; halves go to even, as Python's ``round``."""
    return (side / multiple).round().long().clamp(min=1)


def padding_index(length: int, padded: int, reflected: Bool[Tensor, ""]) -> Int[Tensor, "padded"]:
    """The pixel that each pixel of a padded side repeats."""
    index = torch.arange(padded)
    last = length - 1
    mirrored = last - (index - last).abs()
    repeated = index.clamp(max=last)
    # Where it is not chosen, the reflection may be out of range.
    return torch.where(reflected, mirrored, repeated).clamp(min=0)


class Between(NamedTuple):
    """Where the pixels of an enlarged side lie between cells.

    Attributes:
        above: the cell before each pixel.
        below: the cell after it.
        share: of the cell after it, unitless, [0,1).
    """

    above: Int[Tensor, "length"]
    below: Int[Tensor, "length"]
    share: Float[Tensor, "length"]


def between_cells(length: int, cells: int, covered: Int[Tensor, ""], dtype: torch.dtype) -> Between:
    """Bilinear enlargement of one side, as ``F.interpolate(..., align_corners=False)``.

    Args:
        length: how many pixels are wanted, the first ones.
        cells: of the side that is enlarged.
        covered: pixels that the cells stand for, at least ``length``.
        dtype: of the shares.
    """
    # The centre of pixel i lies at (i + ½)·cells/covered − ½ cells; twice covered times that:
    centre = ((2 * torch.arange(length) + 1) * cells - covered).clamp(min=0)
    above = (centre // (2 * covered)).clamp(max=cells - 1)
    share = (centre - above * (2 * covered)).to(dtype) / (2 * covered).to(dtype)
    below = (above + 1).clamp(max=cells - 1)
    return Between(above, below, share)


def side_weights(
    length: int, reduced_length: int, sides: WorkingSides, like: Tensor
) -> Float[Tensor, "reduced length"]:
    """The matrix that makes a side of the working picture of the same side of the picture.

    Averages over equal intervals where the picture is reduced (bilinear where this side of it is
    shorter than that of the working picture), whole pixels where it is padded.
    """
    pixel = torch.arange(length)[None]
    copied = pixel == padding_index(length, reduced_length, sides.reflected)[:, None]
    between = between_cells(reduced_length, length, as_number(reduced_length), like.dtype)
    share = between.share[:, None]
    bilinear = (pixel == between.above[:, None]).to(like.dtype) * (1 - share)
    bilinear = bilinear + (pixel == between.below[:, None]).to(like.dtype) * share
    shorter = as_number(length) < reduced_length
    averages = torch.where(shorter, bilinear, area_weights(length, reduced_length, like))
    return torch.where(sides.reduced, averages, copied.to(like.dtype))


def enlarged_rows_and_columns(
    maps: Float[Tensor, "b c h w"], rows: Between, columns: Between
) -> Float[Tensor, "b c h2 w2"]:
    """Maps of cells at the picture's size."""
    left, right = maps.index_select(3, columns.above), maps.index_select(3, columns.below)
    wide = left + columns.share * (right - left)
    upper, lower = wide.index_select(2, rows.above), wide.index_select(2, rows.below)
    return upper + rows.share[:, None] * (lower - upper)
