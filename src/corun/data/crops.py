"""Random square crops of photos, each a function of its number and nothing else."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from corun.configuration import Range, Strict, ordered


class CropConfig(Strict):
    """How photos are cropped.

    Attributes:
        crop: side of the square crops, pixels.
        scale: range of the random resize before the crop, > 0; 1 keeps the photo's size. A photo is
            never made smaller than the crop.
        flip: mirror half of the crops.
        cache: keep decoded photos (8 bits) and depth (16 bits) in memory; worth it where they fit.
        colour_probability: how often a photo's colours change, but for its greys. Without that, a
            network learns the photos' own reds and greens and turns others into them.
        hue_degrees: largest rotation of the hue then, either way.
        saturation: range of the factor on the saturation then, > 0, uniform.
    """

    crop: int = Field(288, ge=8)
    scale: Annotated[Range, ordered(above=0.0)] = (0.5, 1.0)
    flip: bool = True
    cache: bool = True
    colour_probability: float = Field(0.0, ge=0, le=1)
    hue_degrees: float = Field(25.0, ge=0, le=180)
    saturation: Annotated[Range, ordered(above=0.0)] = (0.7, 1.4)


def shuffled(number: int, count: int, *seed: int) -> int:
    """Which of ``count`` photos is number ``number`` of their endless sequence.

    Each epoch shows every photo once, in an order of its own.
    """
    epoch, position = divmod(number, count)
    return int(np.random.default_rng((*seed, 1, epoch)).permutation(count)[position])


class Crop(NamedTuple):
    """Where a photo is cut, and what is done to the cut.

    Attributes:
        window: top, left and side of a square, pixels of the photo.
        side: side of the result, pixels.
        flip: whether it is mirrored.
        colours: turn of the hue, degrees, and factor on the saturation; None to leave them.
    """

    window: tuple[int, int, int]
    side: int
    flip: bool
    colours: tuple[float, float] | None

    def cut(self, photo: np.ndarray) -> Float[Tensor, "3 s s"]:
        """The crop of an 8-bit RGB photo (h,w,3), in [0,1]."""
        top, left, size = self.window
        pixels = resize(photo[top : top + size, left : left + size], self.side, self.side)
        picture = torch.from_numpy(self.mirrored(pixels)).permute(2, 0, 1).float() / 255
        return picture if self.colours is None else change_colours(picture, *self.colours)

    def mirrored(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (h,w,…) left to right, if the crop is, in one piece of memory."""
        return np.ascontiguousarray(pixels[:, ::-1] if self.flip else pixels)


def draw_crop(config: CropConfig, height: int, width: int, *seed: int) -> Crop:
    """A crop of a photo of that size.

    Args:
        config: the side, and what is random.
        height: of the photo, pixels.
        width: of the photo, pixels.
        seed: what all of it comes from.
    """
    rng = np.random.default_rng(seed)
    scale = rng.uniform(*config.scale)
    size = min(height, width, max(1, round(config.crop / scale)))
    top = int(rng.integers(height - size + 1))
    left = int(rng.integers(width - size + 1))
    flip = bool(config.flip and rng.random() < 0.5)
    colours = None
    if config.colour_probability and rng.random() < config.colour_probability:
        turn = config.hue_degrees * rng.uniform(-1, 1)
        colours = (turn, rng.uniform(*config.saturation))
    return Crop((top, left, size), config.crop, flip, colours)


def evenly_spread(count: int, share: float) -> set[int]:
    """An evenly spread share of the numbers below ``count``, 1 to 64 of them."""
    chosen = min(64, max(1, round(share * count)))
    return {(2 * i + 1) * count // (2 * chosen) for i in range(chosen)}


def change_colours(
    photo: Float[Tensor, "3 h w"], turn: float, saturation: float
) -> Float[Tensor, "3 h w"]:
    """Colours turned about the grey axis and scaled: greys and (R + G + B)/3 stay, unless clipped.

    Args:
        photo: RGB, [0,1].
        turn: rotation of the hue, degrees; 120 turns red into green.
        saturation: factor on the distance from grey.

    Returns:
        RGB, clamped to [0,1].
    """
    angle = math.radians(turn)
    grey = torch.full((3, 3), 1 / 3)
    # Rodrigues' formula about (1,1,1)/√3: the part across the axis turns.
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3**0.5
    turned = math.cos(angle) * (torch.eye(3) - grey) + math.sin(angle) * across
    matrix = (grey + saturation * turned).to(photo)
    return torch.einsum("ck,khw->chw", matrix, photo).clamp(0, 1)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area average downwards, bicubic upwards; 8 bits stay 8 bits, and 16 stay 16."""
    if image.shape[:2] == (height, width):
        return image
    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=method))
