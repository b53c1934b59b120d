"""The colours of the physical scene, corrected towards the network's by regression in windows.

Where the physical scene X has no colour, a sky or dense haze, a window says nothing about the
slope, and its mean of J, and so the offset, is whatever the network drifted to there. So the
correction runs from wide windows down to narrow ones, each scale correcting the one before only as
far as its windows contain colour; a grey region keeps the model of its wider surroundings. In a
wide window drift averages out, so it needs less colour to be believed. What the surroundings say
only chooses between X and J there: a fog that is grey in both stays grey, though warm fields below
it have become warmer.

The two colour differences share one slope: 1/T is the same for both, and two slopes turn a crimson
shawl orange where that is what the network has seen more of. Nor is it ever steeper than that of
the whole picture: haze weakens colours no more than lightness, and a network that restores them
further paints faint smoke blue and brown.

Haze is blue and violet more often than what lies behind it, and a network that takes too little
of that away, or paints shadows blue, leaves a cast that the eye finds before anything else. So
the mean of a window gets no bluer and, but for things that are red, no more magenta than a bound
made of the photo's own colours; a greenish fog that becomes grey among green trees looks mauve, and
warm light that becomes grey looks cold.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from corun.networks.window_pyramid import cell_pyramid, on_next_finer_scale, window_means
from corun.physics.window_filters import window_mean

SCALES = 8
CHROMA_EPSILON = 1 / 4
CHROMA_TRUST = 1 / 16
FAINT_RED = 4 / 255
"""First colour difference, (R − B)/√6, below which red is not told from grey."""


def colour_correction(
    X: Float[Tensor, "b 3 h w"],
    J: Float[Tensor, "b 3 h w"],
    bound: Float[Tensor, "b 4 h w"],
    *,
    cell: int,
    radius: int,
    epsilon: float,
    trust: float,
) -> Float[Tensor, "b 3 h2 w2"]:
    """ā and b̄ of J ≈ ā·X + b̄ for the colour differences, averaged over windows around a cell.

    On each scale ℓ, from the coarsest to the finest,

        aℓ = (cov(X, J) + ε/4)/(var(X) + ε/4),  bℓ = m − aℓ·mean(X),
        m = κ·mean(J) + (1 − κ)·m',  κ = v/(v + τ/(16·2^ℓ)),

    where m' is āℓ₊₁·mean(X) + b̄ℓ₊₁, or if this is not between mean(X) and mean(J), that of the two
    which is nearer. But m₁ ≥ min(t₁, 0) + max(t₄, 0) and m₂ ≥ min(t₂, 0)·max(1, ρ) + max(t₃, 0),
    with t = mean(bound): ρ = m₁/t₁ lets what is red in the photo keep its hue. It is
    m₁·t₁/(t₁² + (4/255)²), for grey not to count as red.

    Means, cov and var are over the window; v = var(X); var and cov are summed over the two
    differences, which get the same a: at most (cov + ε)/(var + ε) of all three channels, or 0 if
    that is negative. With κ = 1 (and at the coarsest scale), and where the bound allows it, a and b
    are the minimisers of Σ (a·X + b − J)² + ε/4·(a − 1)².

    Where X has no colour (v ≪ ε/4) aℓ is near 1 and J' follows the mean of X by the model of the
    next coarser scale, as far as it leads from X towards J.

    Args:
        X: the physical scene, opponent channels; H and W multiples of ``cell``.
        J: the scene to come near to, opponent channels.
        bound: how blue (first difference, R − B) and how magenta (second, 2·G − R − B) a window
            may be: its mean, where negative. How green and how warm (first) it must stay: its
            mean, where positive. Averaging a and b over windows softens all four.
        cell: side of the square cells of the finest scale, pixels; twice that on the next, and so
            on. a and b live on the grids of cells.
        radius: of the windows, in cells.
        epsilon: ε; a quarter of it is the variance of colour below which the slope of X is
            believed rather than J's.
        trust: τ; a sixteenth of it is the variance of colour at which a window's own mean of J
            counts half on the finest scale, ℓ = 0; half of that on each wider one.

    Returns:
        ā, then b̄ of either difference, per cell of the finest scale.
    """
    scales = cell_pyramid(torch.cat((X, J, X * J, X * X, bound), 1), cell=cell, scales=SCALES)
    fields: Tensor | None = None
    for level in reversed(range(SCALES)):
        means = window_means(scales[level], radius=radius)
        mean_X, mean_J, mean_XJ, mean_XX = means[:, :12].chunk(4, 1)
        variance = (mean_XX - mean_X.square()).clamp_min(0)
        covariance = mean_XJ - mean_X * mean_J
        mean_X, mean_J = mean_X[:, 1:], mean_J[:, 1:]
        colour = variance[:, 1:].sum(1, keepdim=True)
        ridge = epsilon * CHROMA_EPSILON
        a = (covariance[:, 1:].sum(1, keepdim=True) + ridge) / (colour + ridge)
        a_all = (covariance.sum(1, keepdim=True) + epsilon) / (
            variance.sum(1, keepdim=True) + epsilon
        )
        a = torch.minimum(a, a_all.clamp_min(0))
        if fields is not None:
            coarse = on_next_finer_scale(fields, mean_X)
            expected_J = _between(mean_X, coarse[:, :1] * mean_X + coarse[:, 1:], mean_J)
            share = colour / (colour + trust * CHROMA_TRUST / 2**level)
            mean_J = expected_J + share * (mean_J - expected_J)
        mean_J = _bounded(mean_J, means[:, 12:])
        fields = window_mean(torch.cat((a, mean_J - a * mean_X), 1), radius=radius)
    assert fields is not None
    return fields


def _bounded(
    mean_J: Float[Tensor, "b 2 h w"], bound: Float[Tensor, "b 4 h w"]
) -> Float[Tensor, "b 2 h w"]:
    blue, magenta, green, warm = bound.chunk(4, 1)
    m_1 = torch.maximum(mean_J[:, :1], blue.clamp_max(0) + warm.clamp_min(0))
    redder = m_1 * blue / (blue.square() + FAINT_RED**2)
    least = magenta.clamp_max(0) * redder.clamp_min(1) + green.clamp_min(0)
    return torch.cat((m_1, torch.maximum(mean_J[:, 1:], least)), 1)


def _between(one: Tensor, value: Tensor, other: Tensor) -> Tensor:
    return value.clamp(torch.minimum(one, other), torch.maximum(one, other))
