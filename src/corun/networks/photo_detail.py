"""Detail of a photo that is more than noise, and how much of it haze has blurred away.

All of it in windows of 9×9 pixels, for the opponent channels of :mod:`corun.networks.local_affine`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corun.physics.window_filters import window_mean

RADIUS = 4
"""Of the windows, in pixels, in which detail is told from noise."""
CHROMA_NOISE = 1 / 4
GRAIN = 2.5
"""ν in multiples of the variance of a photo's grain."""
TEXTURE = 1.5e-4
"""Variance of lightness at which a region counts half as textured: T is fitted to it rather than to
its surroundings, and it is no sky."""
CONTRASTY = 3e-3
"""Variance, in the scene, at which detail counts half as too contrasty to be sharpened: outlines
would get a rim, and what is contrasty already would look hard."""
LEAST_SAY = 0.05
"""Of a window in the mean over windows, added to 1 − s."""


class Detail(NamedTuple):
    """The photo P as a smooth part and detail; and detail that haze has blurred.

    Attributes:
        share: s̄, per opponent channel, (B,3,H,W), in [0,1]: how far detail is more than noise.
        rest: r̄, (B,3,H,W). B = s̄·P + r̄ is P without what is not.
        blurred: ē and f̄ of the lightness L, (B,2,H,W): D = ē·L + f̄ is detail that forward
            scattering has taken away. ē ≥ 0.
    """

    share: Float[Tensor, "b 3 h w"]
    rest: Float[Tensor, "b 3 h w"]
    blurred: Float[Tensor, "b 2 h w"]


def detail_above_noise(
    P: Float[Tensor, "b 3 h w"],
    T: Float[Tensor, "b 1 h w"],
    *,
    noise: float,
    deblurring: float = 0.0,
) -> Detail:
    """Tell detail from noise, by the weights of the guided filter (He, Sun and Tang, TPAMI 2013).

    With means over windows of 9×9 pixels, of which s̄ and r̄ are weighted with u = 1 − s + 0.05,

        s = v/(v + ν),  s̄ = mean(u·s)/mean(u),  r̄ = mean(u·(1 − s)·mean(P))/mean(u),
        v = mean((P − mean(P))²);

    v of all three channels for the lightness, of the two colour differences for these. A smooth
    gradient, the glow around a lamp, has none, and noise on it stays noise. So does noise beside an
    outline: of the windows around a pixel those without the outline have more say.

    Haze does not only weaken the light of the scene by T, it also scatters a part of it forward by
    small angles (Narasimhan and Nayar, "Shedding light on the weather", CVPR 2003): fine detail is
    weakened more. Of the lightness L, ē = mean(e) and f̄ = −mean(e·mean(L)) with

        e = k·s³·ε/(max(v)/T² + ε),  ε = 0.003,

    max over 9×9 pixels, v of L alone, and s with the photo's whole grain for ν, however strong. So
    noise (s ≪ 1) is not sharpened, nor is what has contrast in the scene (v/T² ≫ ε), outlines
    above all; nor is the border, where windows are cut off.

    Args:
        P: the photo, opponent channels.
        T: the network's transmission, (0,1].
        noise: ν ≥ 0 of a clean photo, up to four times that of a grainy one; ν/4 for colour.
        deblurring: k ≥ 0.
    """
    means = window_mean(P, radius=RADIUS)
    variances = window_mean((P - means).square(), radius=RADIUS)
    v = _over_channels(variances)
    grain = _grain(P, noise)
    s = _share(v, grain.clamp(max=4 * noise) * _per_channel(P))
    say = 1 - s + LEAST_SAY
    share, rest, total = window_mean(
        torch.cat((say * s, say * (1 - s) * means, say), 1), radius=RADIUS
    ).chunk(3, 1)
    e = deblurring * _share(variances[:, :1], grain) ** 3 * _inner(P)
    largest = F.max_pool2d(variances[:, :1], 2 * RADIUS + 1, 1, RADIUS) / T.square()
    e = e * CONTRASTY / (largest + CONTRASTY)
    blurred = window_mean(torch.cat((e, -e * means[:, :1]), 1), radius=RADIUS)
    return Detail(share / total, rest / total, blurred)


def share_of_texture(L: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """v²/(v² + TEXTURE²), [0,1), v the variance of the lightness L in windows of 9×9 pixels."""
    mean, square = window_mean(torch.cat((L, L.square()), 1), radius=RADIUS).chunk(2, 1)
    squared = (square - mean.square()).clamp_min(0).square()
    return squared / (squared + TEXTURE**2)


def _grain(P: Float[Tensor, "b 3 h w"], least: float) -> Float[Tensor, "b 1 1 1"]:
    """ν of each picture, at least ``least``, from its own grain.

    Grain is the variance of P against its mean over 3×3 pixels (9/8 of it, for white noise to have
    its own), summed over the channels. Its harmonic mean over the picture is that of the quietest
    regions, but a letterbox or a burnt-out sky without any does not decide alone.
    """
    away = (P - window_mean(P, radius=1)).square().sum(1, keepdim=True)
    grain = 9 / 8 * window_mean(away, radius=RADIUS)
    unit = least / GRAIN + torch.finfo(grain.dtype).eps
    quiet = 1 / (1 / (grain + unit)).mean((1, 2, 3), keepdim=True) - unit
    return (GRAIN * quiet).clamp_min(least)


def _share(variance: Tensor, noise: Tensor) -> Tensor:
    return variance / (variance + noise).clamp_min(torch.finfo(variance.dtype).tiny)


def _per_channel(like: Tensor) -> Float[Tensor, "1 3 1 1"]:
    return like.new_tensor((1.0, CHROMA_NOISE, CHROMA_NOISE)).view(1, 3, 1, 1)


def _inner(P: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "h w"]:
    """1 where a window is whole, 0 where the border cuts it off."""
    rows, columns = (torch.arange(n, device=P.device) for n in P.shape[-2:])
    inside = [(x >= RADIUS) & (x < len(x) - RADIUS) for x in (rows, columns)]
    return (inside[0][:, None] & inside[1]).to(P.dtype)


def _over_channels(variance: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The sum over all channels for the lightness, over the colour differences for these."""
    chroma = variance[:, 1:].sum(1, keepdim=True)
    return torch.cat((variance[:, :1] + chroma, chroma, chroma), 1)
