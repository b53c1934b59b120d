"""What a camera and a file's life add to a picture after the haze.

Haze hides the scene's own noise, but not the camera's: a network trained without the latter takes
every photo's faint noise in dense fog for a scene, and amplifies it. All of it works on single
pictures, RGB, float32, [0,1], (H,W,3), in NumPy and OpenCV, and depends on nothing but a generator.
"""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from corun.configuration import Range, Strict, ordered

Picture = NDArray[np.float32]


class CameraConfig(Strict):
    """Noise of light, blotches, earlier compression; all off unless ``probability`` is above 0.

    A range is [low, high]; σ is in 1/255.

    Attributes:
        probability: how often a picture gets any of it.
        noise_sigma: range of σ of the noise at white, log-uniform. It grows with the light as
            √(0.4 + 0.6·P) does, and is between colour and grey.
        denoised_probability: how often the noise is smooth, as denoisers leave it.
        denoised_sigma: range of the blur of that noise, pixels; its σ stays.
        blotch_probability: how often blotches of colour are added.
        blotch_sigma: range of their σ, uniform.
        blotch_size: range of their size in pixels, log-uniform.
        earlier_probability: how often the picture was once larger and compressed then.
        earlier_scale: range of how much larger, uniform.
        earlier_quality: range of the JPEG quality then, uniform.
    """

    probability: float = Field(0.0, ge=0, le=1)
    noise_sigma: Annotated[Range, ordered(above=0.0)] = (0.3, 6.0)
    denoised_probability: float = Field(0.6, ge=0, le=1)
    denoised_sigma: Annotated[Range, ordered(above=0.0)] = (0.4, 1.8)
    blotch_probability: float = Field(0.5, ge=0, le=1)
    blotch_sigma: Annotated[Range, ordered(least=0.0)] = (0.2, 1.5)
    blotch_size: Annotated[Range, ordered(least=1.0)] = (4.0, 32.0)
    earlier_probability: float = Field(0.5, ge=0, le=1)
    earlier_scale: Annotated[Range, ordered(least=1.0)] = (1.1, 2.0)
    earlier_quality: Annotated[Range, ordered(least=1.0, most=100.0)] = (25.0, 92.0)


def add_camera_noise(picture: Picture, config: CameraConfig, rng: np.random.Generator) -> Picture:
    """Noise of light and blotches of colour, as one draw of ``config`` has them.

    Args:
        picture: RGB, [0,1], (H,W,3).
        config: what is added, once it was decided that something is.
        rng: the only source of randomness.

    Returns:
        RGB, [0,1].
    """
    height, width = picture.shape[:2]
    sigma = log_uniform(rng, config.noise_sigma) / 255
    noise = _between_colour_and_grey(rng, height, width)
    if rng.random() < config.denoised_probability:
        blurred = cv2.GaussianBlur(noise, (0, 0), rng.uniform(*config.denoised_sigma))
        noise = blurred * (noise.std() / max(float(blurred.std()), 1e-6))
    noisy = picture + sigma * np.sqrt(0.4 + 0.6 * picture) * noise
    if rng.random() < config.blotch_probability:
        size = log_uniform(rng, config.blotch_size)
        rows, columns = (max(2, round(side / size)) for side in (height, width))
        small = rng.standard_normal((rows, columns, 3), np.float32)
        blotches = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        noisy += rng.uniform(*config.blotch_sigma) / 255 * blotches
    return np.asarray(np.clip(noisy, 0, 1), np.float32)


def live_earlier_life(picture: Picture, config: CameraConfig, rng: np.random.Generator) -> Picture:
    """Enlarged, compressed as JPEG, and reduced again: what a downloaded photo has behind it."""
    height, width = picture.shape[:2]
    scale = rng.uniform(*config.earlier_scale)
    size = (round(width * scale), round(height * scale))
    large = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    quality = rng.uniform(*config.earlier_quality)
    small = cv2.resize(compress_jpeg(large, quality), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def compress_jpeg(
    picture: Picture, quality: float | int, offset: tuple[int, int] = (0, 0)
) -> Picture:
    """JPEG with 4:2:0 chroma, there and back.

    Args:
        picture: RGB, [0,1], (H,W,3).
        quality: 1–100.
        offset: where in an 8×8 block the picture's first pixel lies, (rows, columns).

    Returns:
        RGB, [0,1], multiples of 1/255.
    """
    top, left = offset
    eight = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)[..., ::-1]
    if top or left:
        eight = cv2.copyMakeBorder(eight, top, 0, left, 0, cv2.BORDER_REFLECT_101)
    _, coded = cv2.imencode(".jpg", eight, [cv2.IMWRITE_JPEG_QUALITY, round(quality)])
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[top:, left:, ::-1]
    return np.asarray(decoded, np.float32) / np.float32(255)


def log_uniform(rng: np.random.Generator, between: Range) -> float:
    """A number whose logarithm is uniform between those of the range's ends, which are above 0."""
    return float(np.exp(rng.uniform(*np.log(between))))


def _between_colour_and_grey(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Standard normal noise, (H,W,3), whose channels are correlated by a random amount."""
    grey = rng.random()
    noise = rng.standard_normal((height, width, 3), np.float32)
    noise *= np.float32(np.sqrt(1 - grey))
    noise += np.float32(np.sqrt(grey)) * rng.standard_normal((height, width, 1), np.float32)
    return noise
