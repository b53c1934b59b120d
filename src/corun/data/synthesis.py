"""Synthetic haze as batched torch operations (DESIGN §4; the pipeline of RIDCP, CVPR 2023).

    P = JPEG(J·T + A·(1 − T)),   T = exp(−2·β·d),   J = noise(darken(G)),

from clean photos G and normalised distance d, on whichever device they are, deterministic under a
generator. The target of the training is the untouched clean photo G.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from corun.configuration import Range, Strict, ordered
from corun.errors import MissingExtraError
from corun.physics.scattering import add_haze
from corun.physics.transmission import density_field, depth_to_transmission


class SynthesisConfig(Strict):
    """What haze looks like; the defaults are DESIGN §4.

    A range is [low, high], low not above high; impossible values are refused.

    Attributes:
        beta: range of β ≥ 0, uniform, per unit of normalised distance.
        clear_probability: how often β = 0: nothing to remove, which teaches not to harm.
        airlight: range of the airlight's brightness, uniform, [0,1].
        airlight_jitter: largest per-channel deviation from it, uniform.
        darken_probability: how often the scene is darkened by a power before haze.
        darken_power: range of that power, > 0, uniform.
        noise_probability: how often the scene gets Gaussian noise before haze.
        noise_sigma: range of σ ≥ 0, in 1/255.
        jpeg_probability: how often the hazy picture is compressed.
        jpeg_quality: range of the JPEG quality, 1–100, uniform.
        patchy_probability: how often β varies over the picture.
        patchy_strength: range of the standard deviation of log β then.
        tint_probability: how often the airlight is tinted between blue and yellow.
        tint_strength: largest deviation of red and blue (in opposite directions) then.
        gradient_probability: how often the airlight changes across the picture.
        gradient_strength: largest relative change from one side to the other then.
        vignette_probability: how often the hazy picture gets darker away from a point, as through
            a lens. Dehazing deepens that unless a network learns to tell it from the scene.
        vignette_strength: largest relative darkening, at the corner farthest from the point, then.
        veil_range: transmissions between which the target fades from the clean photo to a
            neutral veil of the airlight's brightness, (0, 0) for never. Where almost no light
            of the scene arrives, a network that must give the scene back can only invent it.
    """

    beta: Annotated[Range, ordered(least=0.0)] = (0.2, 2.8)
    clear_probability: float = Field(0.0, ge=0, le=1)
    airlight: Annotated[Range, ordered(least=0.0, most=1.0)] = (0.25, 1.0)
    airlight_jitter: float = Field(0.025, ge=0, le=1)
    darken_probability: float = Field(0.5, ge=0, le=1)
    darken_power: Annotated[Range, ordered(above=0.0)] = (1.5, 3.0)
    noise_probability: float = Field(0.5, ge=0, le=1)
    noise_sigma: Annotated[Range, ordered(least=0.0)] = (2.0, 25.0)
    jpeg_probability: float = Field(0.5, ge=0, le=1)
    jpeg_quality: Annotated[Range, ordered(least=1.0, most=100.0)] = (30.0, 95.0)
    patchy_probability: float = Field(0.0, ge=0, le=1)
    patchy_strength: Annotated[Range, ordered(least=0.0)] = (0.1, 0.6)
    tint_probability: float = Field(0.0, ge=0, le=1)
    tint_strength: float = Field(0.08, ge=0, le=1)
    gradient_probability: float = Field(0.0, ge=0, le=1)
    gradient_strength: float = Field(0.2, ge=0, le=1)
    vignette_probability: float = Field(0.0, ge=0, le=1)
    vignette_strength: float = Field(0.2, ge=0, le=1)
    veil_range: Annotated[Range, ordered(least=0.0)] = (0.0, 0.0)


class HazyBatch(NamedTuple):
    """A synthetic batch.

    Attributes:
        hazy: P, RGB, [0,1].
        target: what a network should give back, RGB, [0,1]: the clean photo, but for the veil.
        transmission: T, unitless, (0,1].
        airlight: A, RGB, (B,3,H,W) or (B,3,1,1).
    """

    hazy: Float[Tensor, "b 3 h w"]
    target: Float[Tensor, "b 3 h w"]
    transmission: Float[Tensor, "b 1 h w"]
    airlight: Float[Tensor, "b 3 _ _"]


class _Draw:
    """Uniform draws, one per image, from a generator on the CPU, onto a device."""

    def __init__(self, like: Tensor, generator: torch.Generator) -> None:
        self.like, self.generator = like, generator

    def uniform(self, low: float, high: float, channels: int = 1) -> Tensor:
        """(B,channels,1,1), uniform in [low, high)."""
        values = torch.rand(self.like.shape[0], channels, 1, 1, generator=self.generator)
        return (low + (high - low) * values).to(self.like)

    def chance(self, probability: float) -> Tensor:
        """(B,1,1,1), true with the given probability."""
        return self.uniform(0.0, 1.0) < probability

    def normal(self, channels: int, height: int, width: int) -> Tensor:
        """(B,channels,height,width), standard normal, drawn on the device from one seed."""
        seed = int(torch.randint(2**62, (1,), generator=self.generator))
        device = self.like.device
        on_device = torch.Generator(device).manual_seed(seed)
        shape = (self.like.shape[0], channels, height, width)
        return torch.randn(shape, generator=on_device, device=device).to(self.like.dtype)


def synthesize_haze(
    clean: Float[Tensor, "b 3 h w"],
    depth: Float[Tensor, "b 1 h w"],
    config: SynthesisConfig,
    generator: torch.Generator,
) -> HazyBatch:
    """Make a hazy batch of clean photos.

    Args:
        clean: G, RGB, sRGB-encoded, [0,1].
        depth: d, normalised distance, [0,1], larger = farther.
        config: what haze looks like.
        generator: the only source of randomness, on the CPU; the same state gives the same batch.

    Returns:
        Hazy pictures, targets, transmission and airlight.

    Raises:
        MissingExtraError: kornia, which compresses, is not installed.
    """
    draw = _Draw(clean, generator)
    beta = draw.uniform(*config.beta) * ~draw.chance(config.clear_probability)
    patchy = draw.chance(config.patchy_probability) * draw.uniform(*config.patchy_strength)
    if config.patchy_probability:
        height, width = clean.shape[-2:]
        beta = beta * density_field(
            len(clean), height, width, generator=generator, strength=patchy, device=clean.device
        ).to(clean.dtype)
    transmission = depth_to_transmission(depth, beta)
    airlight = _airlight(config, draw)
    scene = _degrade(clean, config, draw)
    hazy = add_haze(scene, transmission, airlight).clamp(0, 1)
    if config.vignette_probability:
        hazy = hazy * _vignette(config, draw)
    hazy = _compress(hazy, config, draw)
    target = veiled_target(clean, transmission, airlight, config.veil_range)
    return HazyBatch(hazy, target, transmission, airlight)


def veiled_target(
    clean: Float[Tensor, "b 3 h w"],
    transmission: Float[Tensor, "b 1 h w"],
    airlight: Float[Tensor, "b 3 _ _"],
    veil_range: Range,
) -> Float[Tensor, "b 3 h w"]:
    """The clean photo where light of it arrives, a neutral veil where none does.

        target = m·G + (1 − m)·V,   m = share_of_light(T; low, high),   V = 0.45 + 0.55·mean_c(A).

    The veil is grey, whatever the tint of the airlight, and brighter than a dim airlight, as the
    undarkened clean photo is brighter than the darkened scene.

    Args:
        clean: G, RGB, [0,1].
        transmission: T, unitless, (0,1].
        airlight: A, RGB.
        veil_range: (low, high); (0, 0) returns the clean photo.
    """
    if veil_range[1] <= 0:
        return clean
    m = share_of_light(transmission, veil_range)
    veil = 0.45 + 0.55 * airlight.mean(1, keepdim=True)
    return m * clean + (1 - m) * veil


def share_of_light(
    transmission: Float[Tensor, "b 1 h w"], between: Range
) -> Float[Tensor, "b 1 h w"]:
    """A smooth step from 0 at T = low to 1 at T = high: how much the scene can be asked for.

    Args:
        transmission: T, unitless, (0,1].
        between: (low, high), transmissions, unitless.

    Returns:
        The share, unitless, [0,1].
    """
    low, high = between
    s = ((transmission - low) / max(high - low, 1e-6)).clamp(0, 1)
    return s * s * (3 - 2 * s)


def _airlight(config: SynthesisConfig, draw: _Draw) -> Tensor:
    brightness = draw.uniform(*config.airlight)
    jitter = config.airlight_jitter
    airlight = brightness + draw.uniform(-jitter, jitter, channels=3)
    if config.tint_probability:
        tint = draw.uniform(-1.0, 1.0) * config.tint_strength * draw.chance(config.tint_probability)
        axis = torch.tensor([1.0, 0.1, -1.0]).view(1, 3, 1, 1).to(airlight)
        airlight = airlight * (1 + tint * axis)
    if config.gradient_probability:
        height, width = draw.like.shape[-2:]
        x = torch.linspace(-0.5, 0.5, width).to(airlight).view(1, 1, 1, width)
        y = torch.linspace(-0.5, 0.5, height).to(airlight).view(1, 1, height, 1)
        angle = draw.uniform(0.0, 2 * torch.pi)
        chosen = draw.chance(config.gradient_probability)
        slope = draw.uniform(0.0, config.gradient_strength) * chosen
        airlight = airlight * (1 + slope * (x * angle.cos() + y * angle.sin()))
    return airlight.clamp(0, 1)


def _vignette(config: SynthesisConfig, draw: _Draw) -> Tensor:
    """1 − s·r²/R², r the distance from a point of the picture, R that of the farthest corner."""
    height, width = draw.like.shape[-2:]
    chosen = draw.chance(config.vignette_probability)
    strength = draw.uniform(0.0, config.vignette_strength) * chosen
    # Crops need not hold the middle of their photo, so the point may be anywhere in the picture.
    x = torch.linspace(0.0, 1.0, width).to(draw.like).view(1, 1, 1, width)
    y = torch.linspace(0.0, 1.0, height).to(draw.like).view(1, 1, height, 1)
    squares = (x - draw.uniform(0.0, 1.0)).square() + (y - draw.uniform(0.0, 1.0)).square()
    return 1 - strength * squares / squares.amax((2, 3), keepdim=True)


def _degrade(clean: Tensor, config: SynthesisConfig, draw: _Draw) -> Tensor:
    """Darker with one probability, noisy (colour, grey or correlated) with another."""
    power = draw.uniform(*config.darken_power)
    power = torch.where(draw.chance(config.darken_probability), power, torch.ones_like(power))
    scene = clean.clamp(0, 1) ** power
    if config.noise_probability:
        height, width = clean.shape[-2:]
        sigma = draw.uniform(*config.noise_sigma) / 255 * draw.chance(config.noise_probability)
        # A share of each: 0 = independent in each channel, 1 = the same in all (grey).
        kind = (draw.uniform(0.0, 3.0)).floor()
        correlation = torch.where(kind == 2, draw.uniform(0.0, 1.0), kind)
        colour, grey = draw.normal(3, height, width), draw.normal(1, height, width)
        scene = scene + sigma * ((1 - correlation).sqrt() * colour + correlation.sqrt() * grey)
    return scene.clamp(0, 1)


def _compress(hazy: Tensor, config: SynthesisConfig, draw: _Draw) -> Tensor:
    chosen = draw.chance(config.jpeg_probability).flatten()
    quality = draw.uniform(*config.jpeg_quality).flatten()
    indices = chosen.nonzero().flatten()
    if not len(indices):
        return hazy
    return hazy.index_copy(0, indices, compress_jpeg(hazy[indices], quality[indices]))


def compress_jpeg(
    image: Float[Tensor, "b 3 h w"], quality: Float[Tensor, " b"]
) -> Float[Tensor, "b 3 h w"]:
    """JPEG with 4:2:0 chroma, batched, on the device, differentiable (kornia).

    Args:
        image: RGB, [0,1].
        quality: 1–100, one per image.

    Returns:
        The decompressed pictures, [0,1].

    Raises:
        MissingExtraError: kornia is not installed.
    """
    try:
        from kornia.enhance import jpeg_codec_differentiable
    except ModuleNotFoundError as error:
        raise MissingExtraError("kornia", "train") from error
    height, width = image.shape[-2:]
    # The codec works on 16×16 units; a picture of another size is extended by its border.
    padded = F.pad(image.float(), (0, -width % 16, 0, -height % 16), mode="replicate")
    out: Tensor = jpeg_codec_differentiable(padded, quality.float())
    return out[..., :height, :width].clamp(0, 1).to(image.dtype)
