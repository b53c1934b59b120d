"""A network's transmission as an affine function of lightness, in windows.

T ≈ α·L + β is the guided filter (He, Sun and Tang, TPAMI 2013), and takes from T what the photo
shows no reason for: the grid of the priors, a T that is high around a near figure, and not only on
it. Three things it does not know.

Where the photo has no texture, a road, a meadow, fog, T is the network's guess, and comes out too
low in the middle distance: as a dark patch. So pixels count as far as there is texture around them,
and the regression runs from wide windows down to narrow ones, of which each counts as far as its
pixels do; a road gets the T that what has its lightness has in its surroundings. Where the network
has a higher T than these, on a beach before fog that is hardly brighter, it is believed more.

A dark thing that stands out against fog, a bather on a beach, the twigs of a willow, gets too
little of its own: T is blurred, is mostly the fog's, and the thing comes out black. The network's
scene J mostly knows better, and given J the model says what T is. α is that of whichever is higher.

And what is brighter in the photo must not come out darker. With A the airlight, the scene
A + (L − A)/T has the derivative (α·A + β)/T² by L. Of a road that is the same everywhere, haze
alone makes the lightness, and α·A + β is 0; below it the order of tones is turned round, and haze
becomes smoke. So α·A + β, which is T as L comes near A, is bounded from below.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from corun.networks.window_pyramid import cell_pyramid, on_next_finer_scale, window_means
from corun.physics.window_filters import window_mean

CELL, RADIUS, SCALES = 8, 2, 7
"""Side of the finest cells, in pixels; windows are 2·RADIUS + 1 cells wide; each scale doubles."""
EPSILON = 3e-4
"""The variance of L in a window from which T follows its outlines."""
LEAST_WEIGHT = 0.02
"""Of a pixel without texture; one with texture has 1 more."""
TEXTURE_TRUST = (1.2, 0.6)
"""τ, where a window's own T is lower and higher than the wider windows have it: with texture
everywhere it counts 46 % and 63 % on the finest scale and the wider windows' the rest; 63 % and
77 % on the next, and so on."""
LEAST = 0.1
"""Of T, and of α·A + β."""
LEAST_CONTRAST = 0.03
"""Of J with the airlight, in lightness, with which it tells T."""


def transmission_by_lightness(
    L: Float[Tensor, "b 1 h w"],
    T: Float[Tensor, "b 1 h w"],
    J: Float[Tensor, "b 1 h w"],
    texture: Float[Tensor, "b 1 h w"],
    airlight: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b 2 h2 w2"]:
    """ᾱ and β̄ of T ≈ ᾱ·L + β̄, averaged over the windows around a cell.

    On each scale ℓ, from the coarsest to the finest,

        α = α' + κ·(cov(L, T_α)/(var(L) + ε) − α'),  m = m' + κ'·(mean(T) − m'),  β = m − α·mean(L),
        m' = α'·mean(L) + β' within [0.1, 1],  κ = q/(q + τ/2^ℓ),

    where α' and β' are ᾱ and β̄ of the next coarser scale (κ = 1 at the coarsest), τ = 1.2, and κ'
    is κ, but with τ = 0.6 where mean(T) > m'; and α is bounded such that α·A + β ≥ 0.1. T_α is the
    larger one of T and (A − L)/(A − J), which is T by the scattering model, within [0, 1], with
    A − J of 0.03 at least. Means, cov and var are over the window, with the weights
    w = texture + 0.02; q is the plain mean of w. T below 0.1 counts as 0.1.

    They, and not T, are enlarged for a larger photo. 1/T differs by a factor of five between a
    figure and the fog behind it, and an outline blurred by the enlargement would get a dark rim.

    Args:
        L: lightness of the photo, [0,1]; of any size, but with sides that are no multiples of 8 the
            last cells stand for fewer pixels than the others.
        T: the network's transmission, (0,1].
        J: lightness of the network's scene.
        texture: how far the photo has texture, [0,1].
        airlight: A, its lightness.

    Returns:
        ᾱ and β̄ per cell of 8×8 pixels, unitless. ᾱ·A + β̄ ≥ 0.1: T follows L, but never so steeply
        that what is brighter would come out darker.
    """
    T = T.clamp_min(LEAST)
    w = texture + LEAST_WEIGHT
    of_J = (airlight - L) / (airlight - J).clamp_min(LEAST_CONTRAST)
    T_slope = torch.maximum(T, of_J.clamp(max=1))
    moments = torch.cat((w, w * L, w * T, w * T_slope, w * L * T_slope, w * L * L), 1)
    scales = cell_pyramid(moments, cell=CELL, scales=SCALES)
    fields: Tensor | None = None
    for level in reversed(range(SCALES)):
        q, *weighted = window_means(scales[level], radius=RADIUS).chunk(6, 1)
        mean_L, mean_T, mean_T_slope, mean_LT, mean_LL = (x / q for x in weighted)
        variance = (mean_LL - mean_L.square()).clamp_min(0)
        slope = (mean_LT - mean_L * mean_T_slope) / (variance + EPSILON)
        if fields is not None:
            wide_slope, wide_offset = on_next_finer_scale(fields, mean_L).chunk(2, 1)
            share, of_higher = (q / (q + trust / 2**level) for trust in TEXTURE_TRUST)
            expected = (wide_slope * mean_L + wide_offset).clamp(LEAST, 1)
            away = mean_T - expected
            mean_T = expected + torch.where(away > 0, of_higher, share) * away
            slope = wide_slope + share * (slope - wide_slope)
        slope = _order_preserving(slope, mean_T, airlight - mean_L)
        fields = window_mean(torch.cat((slope, mean_T - slope * mean_L), 1), radius=RADIUS)
    assert fields is not None
    return fields


def _order_preserving(
    slope: Float[Tensor, "b 1 h w"],
    mean_T: Float[Tensor, "b 1 h w"],
    to_airlight: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, "b 1 h w"]:
    """The nearest α with mean(T) + α·(A − mean(L)) ≥ 0.1, for mean(T) ≥ 0.1."""
    steepest = (mean_T - LEAST) / to_airlight.abs().clamp_min(1e-3)
    below = torch.maximum(slope, -steepest)
    return torch.where(to_airlight > 0, below, torch.minimum(slope, steepest))
