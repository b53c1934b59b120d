"""From block scores to trusted weights (Fang et al., NeurIPS 2024, §3.3)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from corun.judges.protocols import DensityEvaluator, QualityEvaluator

WeightRule = Literal["trusted", "uniform", "inverted"]
"""``trusted``: clear regions weigh more. ``uniform``: 1 everywhere. ``inverted``: hazy regions
weigh more, as in the published code, where the inversion was applied twice; for comparison."""


class Coherence(NamedTuple):
    """How far pictures can be trusted as labels.

    Attributes:
        quality: Q of each whole picture, higher is better.
        density: D of each whole picture, [0,1], lower is better.
        weights: trusted weight of each block, [0,1].
    """

    quality: Float[Tensor, " b"]
    density: Float[Tensor, " b"]
    weights: Float[Tensor, "b 1 m n"]


@torch.no_grad()
def assess(
    scene: Float[Tensor, "b 3 h w"],
    density: DensityEvaluator,
    quality: QualityEvaluator,
    block: int,
    rule: WeightRule = "trusted",
) -> Coherence:
    """Score pictures as wholes and block by block.

    Args:
        scene: candidates for labels, RGB, [0,1].
        density: what reads D.
        quality: what reads Q.
        block: side of the blocks, pixels.
        rule: what the weights are made of.
    """
    hazy = density.score(scene, block)
    good = quality.score(scene, block)
    return Coherence(
        good.overall.float(),
        hazy.overall.float(),
        block_weights(good.blocks.float(), hazy.blocks.float(), rule),
    )


def block_weights(
    quality: Float[Tensor, "b 1 m n"],
    density: Float[Tensor, "b 1 m n"],
    rule: WeightRule = "trusted",
) -> Float[Tensor, "b 1 m n"]:
    """w = (Q + 1 − D)/2 of each block: clear and good regions weigh more than hazy ones.

    Args:
        quality: Q of the blocks, [0,1].
        density: D of the blocks, [0,1].
        rule: see :data:`WeightRule`.

    Returns:
        w, unitless, [0,1]; a score that is no number weighs nothing.
    """
    if rule == "uniform":
        return torch.ones_like(quality)
    weights = ((quality + 1 - density) / 2).nan_to_num(0.0).clamp(0, 1)
    return 1 - weights if rule == "inverted" else weights


def smooth_weights(
    blocks: Float[Tensor, "b 1 m n"], height: int, width: int, block: int
) -> Float[Tensor, "b 1 h w"]:
    """Block weights at full size by bilinear interpolation between the blocks' centres.

    Args:
        blocks: w of each block, [0,1].
        height: rows of the result.
        width: columns of the result.
        block: side of the blocks, pixels; the grid covers at least height × width.
    """
    rows, columns = blocks.shape[-2:]
    full = F.interpolate(
        blocks, size=(rows * block, columns * block), mode="bilinear", align_corners=False
    )
    return full[..., :height, :width]


def at_least_as_good(
    candidate: Coherence, quality: Float[Tensor, " b"], density: Float[Tensor, " b"]
) -> Bool[Tensor, " b"]:
    """Whether a candidate may replace a label: Q no lower and D no higher (§3.3).

    NaN in the candidate's scores never wins; NaN in the label's (no label yet) always loses.
    """
    known = candidate.quality.isfinite() & candidate.density.isfinite()
    absent = quality.isnan() | density.isnan()
    better = (candidate.quality >= quality) & (candidate.density <= density)
    return known & (absent | better)
