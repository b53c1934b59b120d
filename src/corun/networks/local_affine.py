"""The output as the photo itself, changed as the scattering model says.

Solving P = J·T + A·(1 − T) for J gives J = P/T + A·(1 − 1/T). Texture in skies, clouds of smoke in
a bank of fog, the grid of a pixel-shuffle, blur: what a network paints beyond that is not explained
by haze. So the last scene J of the network is not shown itself:

1. Lightness is that of the physical scene X, the model solved with the network's last transmission
   T and the airlight A that explains P best, given T and J. T is made to follow the outlines of the
   photo, against halos and smoke, and what has texture decides for what has none, against dark
   patches (:mod:`corun.networks.transmission_fit`). Detail that is weaker than noise and
   compression blocks is left as it is instead of divided by T, by the weights of the guided filter
   (He, Sun and Tang, TPAMI 2013). Nor is T believed to be as low for what is brighter than the
   airlight, a sky or a white wall, as for what is darker: skies would burn out.
2. The two colour differences are those of X, corrected towards J. A picture has not one tint of
   haze but several, a bluish one far away and a brownish one above a town, and dividing by T
   multiplies whatever sets them apart from the one A. The correction is the affine function of
   least squares in overlapping windows (:mod:`corun.networks.colour_correction`). Blue and violet
   are bounded by the photo's own: where there is texture by the part T of it, the rest being taken
   for the haze's, and in a sky, which may deepen, by half as much again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.networks.colour_correction import colour_correction
from corun.networks.transmission_fit import transmission_by_lightness
from corun.physics.window_filters import window_mean

# Rows: lightness (R + G + B)/3, and two colour differences. Orthogonal rows, each of length 1/√3:
# the three variances add up to the mean variance of R, G and B, and the inverse is 3·Mᵀ.
_OPPONENT = (
    (1 / 3, 1 / 3, 1 / 3),
    (6**-0.5, 0.0, -(6**-0.5)),
    (-(18**-0.5), 2 * 18**-0.5, -(18**-0.5)),
)
CHROMA_NOISE = 1 / 4
LEAST_TRANSMISSION = (0.1, 0.55)
"""Below it T is taken for this, where a photo without detail is darker and brighter than A."""
AIRLIGHT_SOFTNESS = 0.05
"""How far around A, in lightness, the one goes over into the other."""
LEAST_OF_COLOUR = 0.5
"""Below it T is taken for this for colours, of which JPEG leaves only blocks and tints there."""
CLEAREST_RADIUS, LEAST_OF_CLEAREST = 20, 0.6
"""Windows, in pixels, of which that with the largest mean T is the clearest region; and the least
that this T is taken for."""
DETAIL_RADIUS = 4
"""Of the windows, in pixels, in which detail is told from noise."""
GRAIN = 1.5
"""ν in multiples of the variance of a photo's grain."""
TEXTURE = 1.5e-4
"""Variance of lightness in the same windows at which a region counts half as textured: T is fitted
to it rather than to its surroundings, and it is no sky."""
FOG = (0.1, 0.3)
"""From the one T to the other a region without texture goes over from a fog, whose colours are not
amplified at all, to what is seen through haze."""
FOG_RADIUS = 20
"""Of the windows, in pixels, that soften it, twice."""
BLUE_OF_SKY = 1.5
"""How blue a sky may become, in multiples of the photo's own blue."""
WARMTH = 1.5
"""How much of its warm tint a photo keeps at least, in multiples of T, and never more than all."""
WHITE_RANGE = (0.9, 1.0)
"""Least channel of P between which the photo itself takes over from the model."""
SHADOW, HIGHLIGHT = 0.08, 0.18
"""Values nearer than this to black and to white are compressed instead of cut off."""


class PhysicalModel(NamedTuple):
    """The scattering model solved, for the photo that it was made of or a larger version.

    X = P + (1/T' − 1)·(B − A), B = s̄·P + r̄, with T' = max(ᾱ·L + β̄, t₀(d)), L the lightness of B,
    d that of B − A, and t₀(d) = 0.1 + 0.45/(1 + exp(−d/0.05)), which grows with d slowly
    enough for X to grow with L; for colours T' is 0.5 at least.

    Attributes:
        guide: ᾱ and β̄, on a coarse grid, (B,2,h,w).
        share: s̄, per opponent channel: how far detail is more than noise, (B,3,H,W), in [0,1].
        rest: r̄, the mean of what is not detail, (B,3,H,W).
        airlight: A, (B,3,1,1).
    """

    guide: Float[Tensor, "b 2 h3 w3"]
    share: Float[Tensor, "b 3 h w"]
    rest: Float[Tensor, "b 3 h w"]
    airlight: Float[Tensor, "b 3 1 1"]

    def lightness(
        self, L: Float[Tensor, "b 1 h2 w2"]
    ) -> tuple[Float[Tensor, "b 1 h2 w2"], Float[Tensor, "b 1 h2 w2"]]:
        """X's, and T' with the outlines of L, unitless, in [0.1, 1]; L, in [0,1], of any size."""
        alpha, beta = (_enlarged(x, L) for x in self.guide.chunk(2, 1))
        below, above = LEAST_TRANSMISSION
        beyond = self._beyond_the_airlight(L, 0)
        least = below + (above - below) * torch.sigmoid(beyond / AIRLIGHT_SOFTNESS)
        tone = beyond + self.airlight[:, :1]  # B, and not L: noise does not become haze
        T = torch.maximum(alpha * tone + beta, least).clamp(max=1)
        return L + (1 / T - 1) * beyond, T

    def colour(
        self, P: Float[Tensor, "b 1 h2 w2"], T: Float[Tensor, "b 1 h2 w2"], difference: int
    ) -> Float[Tensor, "b 1 h2 w2"]:
        """X's first or second colour difference (1 or 2) from the photo's and T', of any size."""
        amplified = 1 / T.clamp_min(LEAST_OF_COLOUR) - 1
        return P + amplified * self._beyond_the_airlight(P, difference)

    def _beyond_the_airlight(
        self, P: Float[Tensor, "b 1 h2 w2"], channel: int
    ) -> Float[Tensor, "b 1 h2 w2"]:
        at = slice(channel, channel + 1)
        share, rest = _enlarged(self.share[:, at], P), _enlarged(self.rest[:, at], P)
        return share * P + rest - self.airlight[:, at]


class LocalAffineModel(NamedTuple):
    """What turns a photo into the scene that is shown.

    Attributes:
        physical: gives X.
        correction: ā, and b̄ of either colour difference, of J' = ā·X + b̄, on a coarse grid,
            (B,3,h,w).
    """

    physical: PhysicalModel
    correction: Float[Tensor, "b 3 h w"]


def local_affine_model(
    hazy: Float[Tensor, "b 3 h w"],
    scene: Float[Tensor, "b 3 h w"],
    transmission: Float[Tensor, "b 1 h w"],
    *,
    cell: int,
    radius: int = 2,
    epsilon: float = 1e-4,
    trust: float = 5e-2,
    noise: float = 1.5e-5,
    exponent: float = 1.0,
    clearing: float = 0.0,
) -> LocalAffineModel:
    """The physical scene of a network's transmission, and its colours' correction to its scene.

    Args:
        hazy: P, RGB, [0,1]; H and W multiples of ``cell``.
        scene: J, the network's own estimate, RGB.
        transmission: T, the network's own estimate, (0,1].
        cell: side of the square cells of the correction's finest scale, pixels.
        radius: of the correction's windows, in cells: they are (2·radius + 1) cells wide.
        epsilon: ε of the correction, see :func:`colour_correction`.
        trust: τ of the correction.
        noise: ν, the variance of P at which detail counts half as noise in a clean photo, see
            :func:`physical_model`.
        exponent: of T, > 0: above 1, more haze is taken away than T says.
        clearing: share, [0,1], of what would make the clearest region free of haze, done before:
            see :func:`nearest_cleared`.

    Returns:
        The model, float32 whatever the precision around it.
    """
    with torch.autocast(hazy.device.type, enabled=False):
        opponent = torch.tensor(_OPPONENT, device=hazy.device)
        P, J = _mix(opponent, hazy.float()), _mix(opponent, scene.float())
        texture = share_of_texture(P[:, :1])
        T = nearest_cleared(transmission.float(), clearing) ** exponent
        physical = physical_model(P, J, T, texture, noise=noise)
        X_lightness, T = physical.lightness(P[:, :1])
        X_colours = [physical.colour(P[:, c : c + 1], T, c) for c in (1, 2)]
        X = torch.cat([X_lightness, *X_colours], 1)
        bound = _tint_bound(P, T, texture)
        correction = colour_correction(
            X, J, bound, cell=cell, radius=radius, epsilon=epsilon, trust=trust
        )
        return LocalAffineModel(physical, correction)


def physical_model(
    P: Float[Tensor, "b 3 h w"],
    J: Float[Tensor, "b 3 h w"],
    T: Float[Tensor, "b 1 h w"],
    texture: Float[Tensor, "b 1 h w"],
    *,
    noise: float,
) -> PhysicalModel:
    """What solves the scattering model for the scene, without strengthening noise.

    With B the photo without detail below the noise,

        X = (B − A)/T + A + (P − B),  B = s̄·P + mean((1 − s)·mean(P)),  s = v/(v + ν),

    means and v, the variance of P, over windows of 9×9 pixels: v of all three channels for the
    lightness, of the two colour differences for these. With ν = 0 it is (P − A)/T + A where the
    photo has any contrast. The colours of fog, where T is low and there is no texture, are P's.

    Args:
        P: the photo, opponent channels.
        J: the network's scene, opponent channels, from which A is told.
        T: the network's transmission, (0,1].
        texture: of P, see :func:`share_of_texture`.
        noise: ν ≥ 0 of a clean photo, up to four times that of a grainy one; ν/4 for colour.
    """
    airlight = explaining_airlight(P, J, T)
    guide = transmission_by_lightness(P[:, :1], T, texture, airlight[:, :1])
    share, means = _share_of_detail(P, DETAIL_RADIUS, noise)
    smoothed = window_mean(torch.cat((share, (1 - share) * means), 1), radius=DETAIL_RADIUS)
    share, rest = smoothed.chunk(2, 1)
    seen = 1 - _fog(T, texture) * _per_channel(P, 0.0, 1.0)
    share, rest = seen * share, torch.lerp(airlight, rest, seen)
    return PhysicalModel(guide, share, rest, airlight)


def _fog(
    T: Float[Tensor, "b 1 h w"], texture: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    dense = ((FOG[1] - T) / (FOG[1] - FOG[0])).clamp(0, 1)
    return window_mean(window_mean((1 - texture) * dense, radius=FOG_RADIUS), radius=FOG_RADIUS)


def share_of_texture(L: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """v²/(v² + TEXTURE²), [0,1), v the variance of the lightness L in windows of 9×9 pixels."""
    squared = _mean_and_variance(L, DETAIL_RADIUS)[1].square()
    return squared / (squared + TEXTURE**2)


def explaining_airlight(
    P: Float[Tensor, "b 3 h w"], J: Float[Tensor, "b 3 h w"], T: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 3 1 1"]:
    """The one A of a picture that explains P best, given J and T.

    The minimiser of Σ (1 − T)²·(P − J·T − A·(1 − T))²: where haze is dense, its error counts most,
    because it is divided by T. In narrow windows A would follow every cloud that the network paints
    into fog.

    Args:
        P, J, T: P and J in any linear colour space.

    Returns:
        A, in the colour space of P and J, not bounded: where T is near 1 everywhere it stands for
        what else sets P and J apart.
    """
    haze = 1 - T
    explained = ((P - J * T) * haze**3).mean((2, 3), keepdim=True)
    return explained / (haze**4).mean((2, 3), keepdim=True).clamp_min(1e-8)


def apply_local_affine(
    model: LocalAffineModel, hazy: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """The scene that is shown, the model enlarged to the photo's size.

    J' fades into P as the least channel of P goes from 0.9 to 1: clouds and lamps would take the
    tint of the haze as well, but nothing tells what these are like without haze.

    Division by T takes the darkest tones below 0. With s = 0.08, J' < s becomes s·exp(J'/s − 1),
    which has value and slope s and 1 at s and never reaches 0; but no brighter than P by that.
    In the same way a largest channel above 0.82 stays below 1, but by that no darker than that of
    P. The hue stays: lightness is half way between what a factor for all three channels makes of it
    and that of an equally light grey, so that saturation gives as well.

    Args:
        model: of the photo, or of a reduced version of it.
        hazy: P, RGB, [0,1], of any size.

    Returns:
        J', RGB, not clamped, float32.
    """
    with torch.autocast(hazy.device.type, enabled=False):
        opponent = torch.tensor(_OPPONENT, device=hazy.device)
        photo = hazy.float()
        P = _mix(opponent, photo)
        lightness, T = model.physical.lightness(P[:, :1])
        channels = [lightness]
        a = _enlarged(model.correction[:, :1], P)
        for c in (1, 2):  # one at a time: the enlarged maps of all would be the peak of memory
            X = model.physical.colour(P[:, c : c + 1], T, c)
            channels.append(a * X + _enlarged(model.correction[:, c : c + 1], P))
        low, high = WHITE_RANGE
        white = ((photo.amin(1, keepdim=True) - low) / (high - low)).clamp(0, 1)
        J = _mix(3 * opponent.T, torch.cat(channels, 1))
        J = torch.maximum(J, torch.minimum(_compressed(J, SHADOW), photo))
        J = _highlights_compressed(J, photo)
        return torch.lerp(J, photo, white)


def nearest_cleared(T: Float[Tensor, "b 1 h w"], share: float) -> Float[Tensor, "b 1 h w"]:
    """min(T/t^share, 1), t the largest mean of T in windows of 41×41 pixels, or 0.6 if larger.

    A network trained by pixel losses estimates T with a bias towards the mean: it takes haze from
    the near, which has none and comes out too dark, and leaves some in the distance. This sees to
    the near, and an exponent to the distance. With a share of 1 the clearest region has no haze;
    but not every photo has a near thing, and a fog without one stays a fog.

    Args:
        T: unitless, (0,1].
        share: [0,1]; 0 leaves T as it is.
    """
    if share == 0:
        return T
    clearest = window_mean(T, radius=CLEAREST_RADIUS).amax((2, 3), keepdim=True)
    return (T / clearest.clamp_min(LEAST_OF_CLEAREST) ** share).clamp(max=1)


def _tint_bound(
    P: Float[Tensor, "b 3 h w"], T: Float[Tensor, "b 1 h w"], texture: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 4 h w"]:
    """How blue, how magenta, how green and how warm.

    The colours of P, times T where there is texture and 1.5 in a sky or a fog; the second one
    again, times 0 where there is texture and 1 in a fog; the first one again, times 1.5·T or 1.

    How much of the photo's blue is the haze's cannot be told. If what is behind it is grey on
    average, all; if A is grey, none. The part 1 − T is taken to be, as of the light.
    """
    part = torch.lerp(torch.full_like(T, BLUE_OF_SKY), T, texture)
    first, second = P[:, 1:2], P[:, 2:]
    warmth = (WARMTH * T).clamp(max=1)
    return torch.cat((part * P[:, 1:], (1 - texture) * second, warmth * first), 1)


def _mean_and_variance(
    P: Float[Tensor, "b c h w"], radius: int
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    means, squares = window_mean(torch.cat((P, P.square()), 1), radius=radius).chunk(2, 1)
    return means, (squares - means.square()).clamp_min(0)


def _share_of_detail(
    P: Float[Tensor, "b 3 h w"], radius: int, noise: float
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]:
    """v/(v + ν) and the mean of P, over the windows around each pixel; ν/4 for the colours."""
    means, variance = _mean_and_variance(P, radius)
    contrast = _contrast(variance)
    noises = _noise(P, noise) * _per_channel(P, 1.0, CHROMA_NOISE)
    return contrast / (contrast + noises).clamp_min(torch.finfo(P.dtype).tiny), means


def _noise(P: Float[Tensor, "b 3 h w"], least: float) -> Float[Tensor, "b 1 1 1"]:
    """ν of each picture, between one and four times ``least``, from its own grain.

    Grain is the variance of P against its mean over 3×3 pixels (9/8 of it, for white noise to have
    its own), summed over the channels. Its harmonic mean over the picture is that of the quietest
    regions, but a letterbox or a burnt-out sky without any does not decide alone.
    """
    away = (P - window_mean(P, radius=1)).square().sum(1, keepdim=True)
    grain = 9 / 8 * window_mean(away, radius=DETAIL_RADIUS)
    unit = least / GRAIN + torch.finfo(grain.dtype).eps
    quiet = 1 / (1 / (grain + unit)).mean((1, 2, 3), keepdim=True) - unit
    return (GRAIN * quiet).clamp(least, 4 * least)


def _contrast(variance: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """v: the sum over all channels for the lightness, over the colour differences for these."""
    chroma = variance[:, 1:].sum(1, keepdim=True)
    return torch.cat((variance[:, :1] + chroma, chroma, chroma), 1)


def _compressed(scene: Float[Tensor, "b c h w"], end: float) -> Float[Tensor, "b c h w"]:
    """s·exp(J/s − 1) below s, J from there on."""
    return torch.where(scene < end, end * torch.exp(scene.clamp(max=end) / end - 1), scene)


def _highlights_compressed(
    J: Float[Tensor, "b 3 h w"], photo: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """J with its hues, its largest channel compressed, but only as far as to that of the photo.

    What the other channels lose is half lightness and half saturation.
    """
    start = 1 - HIGHLIGHT
    largest, lightness = J.amax(1, keepdim=True), J.mean(1, keepdim=True)
    most = 1 - _compressed(1 - largest, HIGHLIGHT)
    paler = 1 - _compressed(1 - lightness, HIGHLIGHT)
    kept = (paler + lightness * most / largest.clamp_min(start)) / 2
    share = (most - kept) / (largest - lightness).clamp_min(1e-6)
    below = torch.maximum(most, torch.minimum(largest, photo.amax(1, keepdim=True)))
    part = ((largest - below) / (largest - most).clamp_min(1e-6)).clamp(0, 1)
    return torch.where(largest > start, torch.lerp(J, kept + share * (J - lightness), part), J)


def _mix(matrix: Float[Tensor, "c 3"], image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
    return torch.einsum("ck,bkhw->bchw", matrix, image)


def _per_channel(like: Tensor, lightness: float, colour: float) -> Float[Tensor, "1 3 1 1"]:
    return torch.tensor((lightness, colour, colour), device=like.device).view(1, 3, 1, 1)


def _enlarged(
    fields: Float[Tensor, "b c h w"], like: Float[Tensor, "b d h2 w2"]
) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(fields, size=like.shape[-2:], mode="bilinear", align_corners=False)
