"""The output as a locally affine function of the input, which is what the scattering model says.

Solving P = J·T + A·(1 − T) for J gives J = a·P + b with a = 1/T and b = A·(1 − 1/T): as smooth over
the picture as T and A are. Whatever a network invents beyond that, texture in skies, the grid of a
pixel-shuffle, blur, is not explained by haze. Fitting a and b to the network's scene in overlapping
windows, and applying them to the input, keeps what haze removal is (contrast and colour, region by
region) and takes every detail from the photo itself. The fit is the guided filter's (He, Sun and
Tang, TPAMI 2013), with exact window moments on a coarse grid.

Where the photo is flat, a sky or dense haze, a window says nothing about a, and its mean of J, and
so b, is whatever the network drifted to there: clouds of smoke that are not in the photo. So the
fit runs from wide windows (2560 pixels with cells of 4) down to narrow ones (20 pixels), each scale
correcting the one before only as far as its windows contain contrast; a flat region keeps the model
of its wider surroundings. In a wide window drift averages out, so it needs less contrast to be
believed: else the slope of the whole picture would deepen whatever is smooth in the photo, the
vignette of a lens above all.

Lightness and colour are fitted apart, because haze and JPEG leave far less of the colours than of
the lightness, noise included. The two colour differences share one slope: 1/T is the same for both,
and two slopes turn a crimson shawl orange where that is what the network has seen more of. Their
offsets, the tint of the airlight, come from the wider windows unless there is much colour. Nor is
the slope of the colours ever steeper than that of the whole picture: haze weakens colours no more
than lightness, and a network that restores them further paints faint smoke blue and brown.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# Rows: lightness (R + G + B)/3, and two colour differences. Orthogonal rows, each of length 1/√3:
# the three variances add up to the mean variance of R, G and B, and the inverse is 3·Mᵀ.
_OPPONENT = (
    (1 / 3, 1 / 3, 1 / 3),
    (6**-0.5, 0.0, -(6**-0.5)),
    (-(18**-0.5), 2 * 18**-0.5, -(18**-0.5)),
)
SCALES = 8
CHROMA_EPSILON = 1 / 4
CHROMA_TRUST = 1 / 16
WHITE_RANGE = (0.9, 1.0)
"""Least channel of P between which the photo itself takes over from the model."""
SHADOW = 0.04
"""Values below it are compressed instead of cut off at black."""


def local_affine_model(
    hazy: Float[Tensor, "b 3 h w"],
    scene: Float[Tensor, "b 3 h w"],
    *,
    cell: int,
    radius: int = 2,
    epsilon: float = 5e-5,
    trust: float = 1e-3,
) -> Float[Tensor, "b 6 h2 w2"]:
    """ā and b̄ of J ≈ ā·P + b̄ per opponent channel, averaged over the windows around a cell.

    On each scale ℓ, from the coarsest to the finest,

        aℓ = (cov(P, J) + ε)/(var(P) + ε),
        bℓ = m − aℓ·mean(P),  m = κ·mean(J) + (1 − κ)·(āℓ₊₁·mean(P) + b̄ℓ₊₁),  κ = v/(v + τ/2^ℓ),

    with moments over the window and v the variance of P in it: of all three channels for the
    lightness, of the two colour differences for these. cov and var are summed over the two colour
    differences, which get the same a, at most that of all three channels together (their cov and
    var summed) or 0. With κ = 1 (and at the coarsest scale) a and b are the
    minimisers of Σ (a·P + b − J)² + ε·(a − 1)².

    Where P is flat (v ≪ ε) aℓ is near 1, the least that 1/T can be, so noise and compression blocks
    are neither amplified nor smeared, and J' follows the mean of P by the model of the next coarser
    scale.

    Args:
        hazy: P, RGB, [0,1]; H and W multiples of ``cell``.
        scene: J, the network's own estimate, RGB.
        cell: side of the square cells of the finest scale, pixels; twice that on the next, and so
            on. a and b live on the grids of cells.
        radius: of the windows, in cells: they are (2·radius + 1) cells wide.
        epsilon: ε, the variance of P below which detail counts as noise; ε/4 for colour.
        trust: τ, the variance of P at which a window's own mean of J counts half on the finest
            scale, ℓ = 0; half of it on each wider one; τ/16 for colour.

    Returns:
        ā of the three opponent channels, then b̄, per cell of the finest scale, float32 whatever the
        precision around it.
    """
    with torch.autocast(hazy.device.type, enabled=False):
        opponent = torch.tensor(_OPPONENT, device=hazy.device)
        P, J = _mix(opponent, hazy.float()), _mix(opponent, scene.float())
        epsilons = _per_channel(hazy, epsilon, epsilon * CHROMA_EPSILON)
        trusts = _per_channel(hazy, trust, trust * CHROMA_TRUST)

        # The last channel counts: cells beyond the picture's edge are empty.
        moments = torch.cat((P, J, P * J, P * P, torch.ones_like(P[:, :1])), 1).contiguous()
        scales = [F.avg_pool2d(moments, cell)]
        for _ in range(SCALES - 1):  # as many for every size: the graph does not depend on it
            height, width = scales[-1].shape[-2:]
            scales.append(F.avg_pool2d(F.pad(scales[-1], (0, width % 2, 0, height % 2)), 2))

        fields: Tensor | None = None
        for level in reversed(range(SCALES)):
            cells = scales[level]
            sums = window_mean(cells, radius)
            mean_P, mean_J, mean_PJ, mean_PP = (sums[:, :12] / sums[:, 12:]).chunk(4, 1)
            variance = (mean_PP - mean_P.square()).clamp_min(0)
            covariance = mean_PJ - mean_P * mean_J
            covariance_c, variance_c = _colours_together(covariance), _colours_together(variance)
            a = (covariance_c + epsilons) / (variance_c + epsilons)
            a_all = (covariance.sum(1, keepdim=True) + epsilon) / (
                variance.sum(1, keepdim=True) + epsilon
            )
            a = torch.cat((a[:, :1], torch.minimum(a[:, 1:], a_all.clamp_min(0))), 1)
            if fields is not None:
                height, width = mean_P.shape[-2:]
                coarse_a, coarse_b = _twice_as_large(fields)[..., :height, :width].chunk(2, 1)
                expected_J = coarse_a * mean_P + coarse_b
                contrast = _contrast(variance)
                share = contrast / (contrast + trusts / 2**level)
                mean_J = expected_J + share * (mean_J - expected_J)
            fields = window_mean(torch.cat((a, mean_J - a * mean_P), 1), radius)
        assert fields is not None
        return fields


def apply_local_affine(
    model: Float[Tensor, "b 6 h2 w2"], hazy: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """J' = ā·P + b̄, the model enlarged to the photo's size; black and white keep their shades.

    J' fades into P as the least channel of P goes from 0.9 to 1. A window would take the tint of
    the haze from its clouds and lamps as well, but nothing tells what these are like without haze.

    A slope above 1 takes the darkest tones below 0. With s = 0.04, J' < s becomes s·exp(J'/s − 1),
    which has value and slope s and 1 at s and never reaches 0; but no brighter than P by that.

    Args:
        model: ā and b̄ per opponent channel on a grid that spans the photo.
        hazy: P, RGB, [0,1], of any size: that which the model was fitted on, or a larger version.

    Returns:
        J', RGB, not clamped, float32.
    """
    with torch.autocast(hazy.device.type, enabled=False):
        opponent = torch.tensor(_OPPONENT, device=hazy.device)
        enlarged = F.interpolate(model, size=hazy.shape[-2:], mode="bilinear", align_corners=False)
        a, b = enlarged.chunk(2, 1)
        P = hazy.float()
        low, high = WHITE_RANGE
        white = ((P.amin(1, keepdim=True) - low) / (high - low)).clamp(0, 1)
        J = _mix(3 * opponent.T, a * _mix(opponent, P) + b)
        return torch.lerp(torch.maximum(J, torch.minimum(_with_shadows(J), P)), P, white)


def window_mean(cells: Float[Tensor, "b c h w"], radius: int) -> Float[Tensor, "b c h w"]:
    """The mean over the (2·radius + 1)² window around each cell, cut off at the border."""
    side = 2 * radius + 1
    return F.avg_pool2d(cells, side, stride=1, padding=radius, count_include_pad=False)


def _contrast(variance: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """v: the sum over all channels for the lightness, over the colour differences for these."""
    chroma = variance[:, 1:].sum(1, keepdim=True)
    return torch.cat((variance[:, :1] + chroma, chroma, chroma), 1)


def _colours_together(moment: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The lightness's own moment, and that of both colour differences for each of them."""
    chroma = moment[:, 1:].sum(1, keepdim=True)
    return torch.cat((moment[:, :1], chroma, chroma), 1)


def _with_shadows(scene: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """s·exp(J/s − 1) below s, J from there on."""
    return torch.where(
        scene < SHADOW, SHADOW * torch.exp(scene.clamp(max=SHADOW) / SHADOW - 1), scene
    )


def _mix(matrix: Float[Tensor, "c 3"], image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
    return torch.einsum("ck,bkhw->bchw", matrix, image)


def _per_channel(like: Tensor, lightness: float, colour: float) -> Float[Tensor, "1 3 1 1"]:
    return torch.tensor((lightness, colour, colour), device=like.device).view(1, 3, 1, 1)


def _twice_as_large(fields: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(fields, scale_factor=2, mode="bilinear", align_corners=False)
