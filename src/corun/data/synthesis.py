"""Synthetic haze, deterministic under a generator (the pipeline of RIDCP, CVPR 2023, and more).

    P = JPEG(camera(J·T + A·(1 − T))),   T = exp(−2·β·d),   J = noise(darken(G)),

from clean photos G and normalised distance d. The target of the training is the clean photo G, but
for what no network can or should undo: dense haze, clear air, falling-off light, frames.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from corun.configuration import Range, Strict, ordered
from corun.data.camera import (
    CameraConfig,
    add_camera_noise,
    compress_jpeg,
    live_earlier_life,
)
from corun.physics.scattering import add_haze
from corun.physics.transmission import density_field, depth_to_transmission


class SynthesisConfig(Strict):
    """What haze looks like; the defaults are the paper's (RIDCP's).

    A range is [low, high], low not above high; impossible values are refused.

    Attributes:
        beta: range of β ≥ 0, uniform, per unit of normalised distance.
        clear_probability: how often the air is clear: β = 0 and the target is the picture itself,
            which teaches not to harm.
        clear_exposure: range of the factor on the light then, > 0, uniform.
        clear_exposure_log_uniform: whether the logarithm of that factor is uniform, or the factor.
        clear_exposure_probability: how often that factor is not 1.
        clear_power: range of the power then, uniform: dark pictures come back dark.
        clear_power_probability: how often that power is not 1.
        airlight: range of the airlight's brightness, uniform, [0,1].
        airlight_jitter: largest per-channel deviation from it, uniform.
        darken_probability: how often the scene is darkened by a power before haze.
        darken_power: range of that power, > 0, uniform.
        noise_probability: how often the scene gets Gaussian noise before haze.
        noise_sigma: range of σ ≥ 0, in 1/255.
        patchy_probability: how often β varies over the picture.
        patchy_strength: range of the standard deviation of log β then.
        tint_probability: how often the airlight is tinted between blue and yellow.
        tint_strength: largest deviation of red and blue (in opposite directions) then.
        gradient_probability: how often the airlight changes across the picture.
        gradient_strength: largest relative change from one side to the other then.
        falloff_probability: how often light falls off from a point in or near the picture, in the
            hazy picture and in the target alike: dehazing must neither deepen it nor mend it.
        falloff_strength: range of the relative loss at the corner farthest from the point.
        falloff_power: range of the power of r² with which it is lost.
        veil: range of the transmission below which the target is veiled, drawn for each picture;
            (0, 0) for never. Where almost no light of the scene arrives, a network that must give
            the scene back can only invent it.
        frame_probability: how often the picture has a frame, a bar along one to four sides; it
            stays in the target, with T = 1.
        frame_width: range of the width of each bar, pixels.
        camera: what camera and file add after the haze.
        jpeg_probability: how often the hazy picture is compressed, last of all.
        jpeg_quality: range of the JPEG quality, 1–100.
        jpeg_log_uniform: whether the logarithm of the quality is uniform, or the quality.
        eight_bits: whether all hazy pictures are rounded to multiples of 1/255.
    """

    beta: Annotated[Range, ordered(least=0.0)] = (0.2, 2.8)
    clear_probability: float = Field(0.0, ge=0, le=1)
    clear_exposure: Annotated[Range, ordered(above=0.0, most=1.0)] = (0.05, 1.0)
    clear_exposure_log_uniform: bool = False
    clear_exposure_probability: float = Field(0.0, ge=0, le=1)
    clear_power: Annotated[Range, ordered(above=0.0)] = (1.0, 2.2)
    clear_power_probability: float = Field(0.0, ge=0, le=1)
    airlight: Annotated[Range, ordered(least=0.0, most=1.0)] = (0.25, 1.0)
    airlight_jitter: float = Field(0.025, ge=0, le=1)
    darken_probability: float = Field(0.5, ge=0, le=1)
    darken_power: Annotated[Range, ordered(above=0.0)] = (1.5, 3.0)
    noise_probability: float = Field(0.5, ge=0, le=1)
    noise_sigma: Annotated[Range, ordered(least=0.0)] = (2.0, 25.0)
    patchy_probability: float = Field(0.0, ge=0, le=1)
    patchy_strength: Annotated[Range, ordered(least=0.0)] = (0.1, 0.6)
    tint_probability: float = Field(0.0, ge=0, le=1)
    tint_strength: float = Field(0.08, ge=0, le=1)
    gradient_probability: float = Field(0.0, ge=0, le=1)
    gradient_strength: float = Field(0.2, ge=0, le=1)
    falloff_probability: float = Field(0.0, ge=0, le=1)
    falloff_strength: Annotated[Range, ordered(least=0.0, most=1.0)] = (0.1, 0.75)
    falloff_power: Annotated[Range, ordered(above=0.0)] = (0.6, 1.6)
    veil: Annotated[Range, ordered(least=0.0, most=1.0)] = (0.0, 0.0)
    frame_probability: float = Field(0.0, ge=0, le=1)
    frame_width: Annotated[Range, ordered(least=1.0)] = (4.0, 60.0)
    camera: CameraConfig = CameraConfig()
    jpeg_probability: float = Field(0.5, ge=0, le=1)
    jpeg_quality: Annotated[Range, ordered(least=1.0, most=100.0)] = (30.0, 95.0)
    jpeg_log_uniform: bool = False
    eight_bits: bool = False


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

    def range(self, between: Range, *, log_uniform: bool) -> Tensor:
        """(B,1,1,1), uniform in [low, high), or its logarithm is."""
        low, high = between
        if log_uniform:
            return self.uniform(math.log(low), math.log(high)).exp()
        return self.uniform(low, high)

    def chance(self, probability: float) -> Tensor:
        """(B,1,1,1), true with the given probability."""
        return self.uniform(0.0, 1.0) < probability

    def chosen(self, probability: float, value: Tensor) -> Tensor:
        """The value with the given probability, else 1."""
        return torch.where(self.chance(probability), value, torch.ones_like(value))

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
    """
    draw = _Draw(clean, generator)
    beta = draw.uniform(*config.beta)
    clear = draw.chance(config.clear_probability)
    beta = beta * ~clear
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
    target = clean.clone()  # frames are drawn into it
    if config.veil[1] > 0:
        target = veiled_target(clean, transmission, airlight, draw.uniform(*config.veil))
    if config.clear_probability:
        exposed = _exposed(clean, config, draw)
        hazy, target = torch.where(clear, exposed, hazy), torch.where(clear, exposed, target)
    if config.falloff_probability:
        light = _falloff(config, draw)
        hazy, target = hazy * light, target * light
    quality = _jpeg_qualities(config, draw)
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    for index, of_one in enumerate(quality):
        frame = _draw_frame(clean.shape[-2], clean.shape[-1], config, rng)
        hazy[index] = _photographed(hazy[index], frame, of_one, config, rng)
        if frame is not None:
            bars = frame.bars.to(target.device)
            target[index] = torch.where(bars, frame.grey, target[index])
            transmission[index] = torch.where(bars, 1.0, transmission[index])
    return HazyBatch(hazy, target, transmission, airlight)


def veiled_target(
    clean: Float[Tensor, "b 3 h w"],
    transmission: Float[Tensor, "b 1 h w"],
    airlight: Float[Tensor, "b 3 _ _"],
    threshold: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b 3 h w"]:
    """The clean photo where light of it arrives, a neutral veil where none does.

        target = m·G + (1 − m)·V,   m a smooth step of T from τ/2 to 3τ/2,
        V = 0.45 + 0.55·mean_c(A).

    The veil is grey, whatever the tint of the airlight, and brighter than a dim airlight, as the
    undarkened clean photo is brighter than the darkened scene.

    Args:
        clean: G, RGB, [0,1].
        transmission: T, unitless, (0,1].
        airlight: A, RGB.
        threshold: τ > 0, the transmission at which half of the veil is there.
    """
    m = _smooth_step(transmission / threshold - 0.5)
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
    return _smooth_step((transmission - low) / max(high - low, 1e-6))


def _smooth_step(s: Tensor) -> Tensor:
    s = s.clamp(0, 1)
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


def _exposed(clean: Tensor, config: SynthesisConfig, draw: _Draw) -> Tensor:
    """Clear air at any exposure: e·G^p."""
    factor = draw.range(config.clear_exposure, log_uniform=config.clear_exposure_log_uniform)
    exposure = draw.chosen(config.clear_exposure_probability, factor)
    power = draw.chosen(config.clear_power_probability, draw.uniform(*config.clear_power))
    return exposure * clean.clamp(0, 1) ** power


def _falloff(config: SynthesisConfig, draw: _Draw) -> Tensor:
    """1 − s·(r²/R²)^p, r the distance from a point, R that of the farthest corner."""
    height, width = draw.like.shape[-2:]
    chosen = draw.chance(config.falloff_probability)
    strength = draw.uniform(*config.falloff_strength) * chosen
    power = draw.uniform(*config.falloff_power)
    # Crops need not hold the middle of their photo, so the point may be anywhere in or near them.
    x = torch.linspace(0.0, 1.0, width).to(draw.like).view(1, 1, 1, width)
    y = torch.linspace(0.0, 1.0, height).to(draw.like).view(1, 1, height, 1)
    squares = (x - draw.uniform(-0.25, 1.25)).square() + (y - draw.uniform(-0.25, 1.25)).square()
    return 1 - strength * (squares / squares.amax((2, 3), keepdim=True)) ** power


def _degrade(clean: Tensor, config: SynthesisConfig, draw: _Draw) -> Tensor:
    """Darker with one probability, noisy (colour, grey or correlated) with another."""
    power = draw.uniform(*config.darken_power)
    power = draw.chosen(config.darken_probability, power)
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


def _jpeg_qualities(config: SynthesisConfig, draw: _Draw) -> list[float | None]:
    """One for each picture, None where it is not compressed."""
    chosen = draw.chance(config.jpeg_probability).flatten().tolist()
    quality = draw.range(config.jpeg_quality, log_uniform=config.jpeg_log_uniform)
    return [q if c else None for c, q in zip(chosen, quality.flatten().tolist(), strict=True)]


class _Frame(NamedTuple):
    """Bars along some sides of a picture."""

    bars: Bool[Tensor, "1 h w"]
    grey: float


def _draw_frame(
    height: int, width: int, config: SynthesisConfig, rng: np.random.Generator
) -> _Frame | None:
    """A black, white or grey bar along one side, two opposite ones, or all four; None for none."""
    if rng.random() >= config.frame_probability:
        return None
    sides = [(0,), (1,), (2,), (3,), (0, 1), (2, 3), (0, 1, 2, 3)][rng.integers(7)]
    top, bottom, left, right = (
        round(rng.uniform(*config.frame_width)) if side in sides else 0 for side in range(4)
    )
    bars = torch.ones(1, height, width, dtype=torch.bool)
    bars[:, top : height - bottom, left : width - right] = False
    # Half of all frames are black, as the bars of films and phones are.
    return _Frame(bars, (0.0, 0.0, 1.0, float(rng.random()))[rng.integers(4)])


def _photographed(
    hazy: Float[Tensor, "3 h w"],
    frame: _Frame | None,
    quality: float | None,
    config: SynthesisConfig,
    rng: np.random.Generator,
) -> Float[Tensor, "3 h w"]:
    """One picture after camera, frame and file."""
    camera = config.camera
    taken = rng.random() < camera.probability
    if not (taken or frame is not None or quality is not None or config.eight_bits):
        return hazy
    picture = np.ascontiguousarray(hazy.cpu().permute(1, 2, 0).numpy(), np.float32)
    if taken:
        picture = add_camera_noise(picture, camera, rng)
    if frame is not None:
        picture = np.where(frame.bars[0, :, :, None].numpy(), np.float32(frame.grey), picture)
    if taken and rng.random() < camera.earlier_probability:
        picture = live_earlier_life(picture, camera, rng)
    if config.eight_bits:
        picture = np.rint(np.clip(picture, 0, 1) * np.float32(255)) / np.float32(255)
    if quality is not None:
        top, left = rng.integers(16, size=2).tolist()
        picture = compress_jpeg(picture, quality, (top, left))
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).to(hazy)
