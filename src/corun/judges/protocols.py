"""What the label generator asks of a picture: how hazy, and how good.

Two protocols, so that anything can stand behind them: a network of ours, FADE, CLIP, a metric of
another package. Letters: b pictures, h height, w width, m and n rows and columns of blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from corun.networks.reduction import pad_to_multiple


class Scores(NamedTuple):
    """Scores of a batch.

    Attributes:
        overall: of each whole picture.
        blocks: of each non-overlapping block, [0,1]; the last row and column may be partial.
    """

    overall: Float[Tensor, " b"]
    blocks: Float[Tensor, "b 1 m n"]


@runtime_checkable
class DensityEvaluator(Protocol):
    """Haze density D, in [0,1] overall and in blocks: 0 is clear, lower is better."""

    @property
    def name(self) -> str:
        """What stands behind it, with digits of its weights; pools of other names do not mix."""

    @property
    def differentiable(self) -> bool:
        """Whether :meth:`overall` has a gradient, so that it can be a loss."""

    def overall(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """D of whole RGB pictures in [0,1], on their device; the same as of :meth:`score`."""

    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """Score RGB pictures in [0,1], on their device, with blocks of ``block`` pixels."""

    def to(self, device: torch.device) -> DensityEvaluator:
        """Move to a device, in place, and return itself."""


@runtime_checkable
class QualityEvaluator(Protocol):
    """Image quality Q, [0,1] overall and in blocks: 1 is best, higher is better."""

    @property
    def name(self) -> str:
        """What stands behind it, with digits of its weights; pools of other names do not mix."""

    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """Score RGB pictures in [0,1], on their device, with blocks of ``block`` pixels."""

    def to(self, device: torch.device) -> QualityEvaluator:
        """Move to a device, in place, and return itself."""


def block_count(side: int, block: int) -> int:
    """How many blocks cover a side, the last possibly partial."""
    return -(-side // block)


def block_means(values: Float[Tensor, "b 1 h w"], block: int) -> Float[Tensor, "b 1 m n"]:
    """Mean of each block of a map; partial blocks average what is there of them."""
    return F.avg_pool2d(values, block, ceil_mode=True, count_include_pad=False)


def pixel_block_means(
    values: Float[Tensor, "b 1 r c"],
    rows: Int64[Tensor, " h"],
    columns: Int64[Tensor, " w"],
    block: int,
) -> Float[Tensor, "b 1 m n"]:
    """Mean over the pixels of each block, where every pixel takes its value from a coarser map.

    Args:
        values: the map.
        rows: which row of the map each row of pixels reads.
        columns: which column of the map each column of pixels reads.
        block: side of the blocks, pixels.
    """
    return block_means(values[:, :, rows][..., columns], block)


def in_chunks(
    score: Callable[[Tensor], Tensor], pictures: Float[Tensor, "k 3 h w"], most: int
) -> Tensor:
    """Scores of many pictures, of which the judge sees no more than `most` at a time.

    A judge that enlarges what it is given needs memory for each picture at a time, and is slower
    where that leaves the caches; the score of a picture does not depend on its neighbours.
    """
    return torch.cat([score(part) for part in torch.split(pictures, most)])


def cut_blocks(
    image: Float[Tensor, "b 3 h w"], block: int
) -> tuple[Float[Tensor, "k 3 s s"], tuple[int, int]]:
    """All blocks of a batch as a batch, row by row, and the rows and columns of blocks.

    Partial blocks at the right and bottom are completed by mirroring, or by repeating the last
    row and column of a picture smaller than a block.
    """
    rows, columns = (block_count(side, block) for side in image.shape[-2:])
    return cut_squares(pad_to_multiple(image, block), block).flatten(0, 1), (rows, columns)


def cut_squares(maps: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b n c s s"]:
    """Squares of maps whose sides are multiples of ``side``, row by row."""
    cut = maps.unfold(2, side, side).unfold(3, side, side)  # b c rows columns s s
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
