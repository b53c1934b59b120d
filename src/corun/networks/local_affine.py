"""The output as the photo itself, changed as the scattering model says.

Solving P = J·T + A·(1 − T) for J gives J = P/T + A·(1 − 1/T). Texture in skies, clouds of smoke in
a bank of fog, the grid of a pixel-shuffle, blur: what a network paints beyond that is not explained
by haze. So the last scene J of the network is not shown itself:

1. Lightness is that of the physical scene X, the model solved with the network's last transmission
   T and the airlight A that explains P best, given T and J. T is made to follow the outlines of the
   photo, against halos and smoke, and what has texture decides for what has none, against dark
   patches (:mod:`corun.networks.transmission_fit`). Detail that is weaker than noise and
   compression blocks is left as it is instead of divided by T, and other fine detail sharpened,
   which haze blurs (:mod:`corun.networks.photo_detail`). Nor is T believed to be as low for what is
   brighter than the airlight, a sky or a white wall, as for what is darker: skies would burn out.
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
from corun.networks.photo_detail import Detail, detail_above_noise, share_of_texture
from corun.networks.tone_range import within_range
from corun.networks.transmission_fit import transmission_by_lightness
from corun.physics.window_filters import window_mean

# Rows: lightness (R + G + B)/3, and two colour differences. Orthogonal rows, each of length 1/√3:
# the three variances add up to the mean variance of R, G and B, and the inverse is 3·Mᵀ.
_OPPONENT = (
    (1 / 3, 1 / 3, 1 / 3),
    (6**-0.5, 0.0, -(6**-0.5)),
    (-(18**-0.5), 2 * 18**-0.5, -(18**-0.5)),
)
LEAST_TRANSMISSION = (0.1, 0.55)
"""Below it T is taken for this, where a photo without detail is darker and brighter than A."""
AIRLIGHT_SOFTNESS = 0.05
"""How far around A, in lightness, the one goes over into the other."""
LEAST_OF_COLOUR = 0.5
"""Below it T is taken for this for colours, of which JPEG leaves only blocks and tints there."""
CLEAREST_RADIUS, LEAST_OF_CLEAREST = 20, 0.6
"""Windows, in pixels, of which that with the largest mean T is the clearest region; and the least
that this T is taken for."""
FOG = (0.1, 0.3)
"""From the one T to the other a region without texture goes over from a fog to what is seen through
haze."""
FOG_KEPT = (0.5, 1.0, 1.0)
"""How much of the lightness and of the two colour differences of fog is not amplified."""
FOG_RADIUS = 20
"""Of the windows, in pixels, that soften it, twice."""
BLUE_OF_SKY = 1.5
"""How blue a sky may become, in multiples of the photo's own blue."""
WARMTH = 1.5
"""How much of its warm tint a photo keeps at least, in multiples of T, and never more than all."""


class PhysicalModel(NamedTuple):
    """The scattering model solved, for the photo that it was made of or a larger version.

    X = P + (1/T' − 1)·(B + D − A), B = s̄·P + r̄ and D = ē·L + f̄ (of the lightness only), with
    T' = max(ᾱ·l + β̄, t₀(d)), l the lightness of B, d that of B − A, and
    t₀(d) = 0.1 + 0.45/(1 + exp(−d/0.05)), which grows with d slowly enough for X to grow with L;
    for colours T' is 0.5 at least.

    Attributes:
        guide: ᾱ and β̄, on a coarse grid, (B,2,h,w).
        detail: s̄, r̄, ē and f̄, see :class:`Detail`, but less in fog: see :func:`physical_model`. In
            a larger version D is made of L averaged over the pixels of this one.
        airlight: A, (B,3,1,1).
    """

    guide: Float[Tensor, "b 2 h3 w3"]
    detail: Detail
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
        slope, offset = (_enlarged(x, L) for x in self.detail.blurred.chunk(2, 1))
        return L + (1 / T - 1) * (beyond + slope * self._at_the_scale_of_the_model(L) + offset), T

    def colour(
        self, P: Float[Tensor, "b 1 h2 w2"], T: Float[Tensor, "b 1 h2 w2"], difference: int
    ) -> Float[Tensor, "b 1 h2 w2"]:
        """X's first or second colour difference (1 or 2) from the photo's and T', of any size."""
        amplified = 1 / T.clamp_min(LEAST_OF_COLOUR) - 1
        return P + amplified * self._beyond_the_airlight(P, difference)

    def _at_the_scale_of_the_model(
        self, L: Float[Tensor, "b 1 h2 w2"]
    ) -> Float[Tensor, "b 1 h2 w2"]:
        """L without what the model has not seen: grain of a large photo is not to be sharpened."""
        larger = L.shape[-1] / self.detail.blurred.shape[-1]
        radius = round((larger - 1) / 2)
        return window_mean(L, radius=radius) if radius else L

    def _beyond_the_airlight(
        self, P: Float[Tensor, "b 1 h2 w2"], channel: int
    ) -> Float[Tensor, "b 1 h2 w2"]:
        at = slice(channel, channel + 1)
        share, rest = (_enlarged(x[:, at], P) for x in (self.detail.share, self.detail.rest))
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
    deblurring: float = 0.0,
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
            :func:`detail_above_noise`.
        exponent: of T, > 0: above 1, more haze is taken away than T says.
        clearing: share, [0,1], of what would make the clearest region free of haze, done before:
            see :func:`nearest_cleared`.
        deblurring: k ≥ 0: faint fine detail is taken to have come through as little as
            T/(1 + k·(1 − T)), see :func:`detail_above_noise`.

    Returns:
        The model, float32 whatever the precision around it.
    """
    with torch.autocast(hazy.device.type, enabled=False):
        opponent = torch.tensor(_OPPONENT, device=hazy.device)
        P, J = _mix(opponent, hazy.float()), _mix(opponent, scene.float())
        texture = share_of_texture(P[:, :1])
        T = nearest_cleared(transmission.float(), clearing) ** exponent
        physical = physical_model(P, J, T, texture, noise=noise, deblurring=deblurring)
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
    deblurring: float = 0.0,
) -> PhysicalModel:
    """What solves the scattering model for the scene, without strengthening noise.

    X = (B + D − A)/T + A + (P − B) − D, with B the photo without detail below the noise and D what
    haze has blurred of the rest (:func:`detail_above_noise`). With ν = 0 and k = 0 it is
    (P − A)/T + A where the photo has any contrast. In fog, where T is low and there is no texture,
    the colours are P's, and of what sets its lightness apart from A only half is amplified.

    Args:
        P: the photo, opponent channels.
        J: the network's scene, opponent channels, from which A is told.
        T: the network's transmission, (0,1].
        texture: of P, see :func:`share_of_texture`.
        noise: ν ≥ 0.
        deblurring: k ≥ 0.
    """
    airlight = explaining_airlight(P, J, T)
    guide = transmission_by_lightness(P[:, :1], T, J[:, :1], texture, airlight[:, :1])
    detail = detail_above_noise(P, T, noise=noise, deblurring=deblurring)
    seen = 1 - _fog(T, texture) * P.new_tensor(FOG_KEPT).view(1, 3, 1, 1)
    rest = torch.lerp(airlight, detail.rest, seen)
    detail = Detail(seen * detail.share, rest, seen[:, :1] * detail.blurred)
    return PhysicalModel(guide, detail, airlight)


def _fog(
    T: Float[Tensor, "b 1 h w"], texture: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """How far a region is fog, [0,1]: where T is low and there is no texture, softened."""
    dense = ((FOG[1] - T) / (FOG[1] - FOG[0])).clamp(0, 1)
    return window_mean(window_mean((1 - texture) * dense, radius=FOG_RADIUS), radius=FOG_RADIUS)


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

    The model's scene, brought back where it leaves [0, 1] (:func:`within_range`).

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
        return within_range(_mix(3 * opponent.T, torch.cat(channels, 1)), photo)


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
    again, times 0 where there is texture and 1 in a fog; the first one again, times 1.5·T or 1,
    whichever is less.

    How much of the photo's blue is the haze's cannot be told. If what is behind it is grey on
    average, all; if A is grey, none. The part 1 − T is taken to be, as of the light.
    """
    part = torch.lerp(torch.full_like(T, BLUE_OF_SKY), T, texture)
    first, second = P[:, 1:2], P[:, 2:]
    warmth = (WARMTH * T).clamp(max=1)
    return torch.cat((part * P[:, 1:], (1 - texture) * second, warmth * first), 1)


def _mix(matrix: Float[Tensor, "c 3"], image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
    return torch.einsum("ck,bkhw->bchw", matrix, image)


def _enlarged(
    fields: Float[Tensor, "b c h w"], like: Float[Tensor, "b d h2 w2"]
) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(fields, size=like.shape[-2:], mode="bilinear", align_corners=False)
