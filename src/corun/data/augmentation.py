"""Weak (geometric) and strong (photometric) augmentation of real photos, through kornia.

The strong one changes what a pixel looks like and never where it is, so that a label of the plain
photo stays true; the weak one moves pixels, and is applied to photo, label and weights alike.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from corun.data.camera import compress_jpeg
from corun.errors import MissingExtraError

Change = Callable[[Tensor, float], Tensor]


def mirror(
    images: Float[Tensor, "b c h w"], chosen: Bool[Tensor, " b"]
) -> Float[Tensor, "b c h w"]:
    """Mirror the chosen images left to right."""
    if not bool(chosen.any()):
        return images
    return torch.where(chosen.view(-1, 1, 1, 1).to(images.device), images.flip(-1), images)


def strong_augmentation(
    images: Float[Tensor, "b 3 h w"], generator: torch.Generator, count: int = 2
) -> Float[Tensor, "b 3 h w"]:
    """Change contrast, brightness, number of grey levels, sharpness, focus or compression.

    ``count`` different changes of :data:`CHANGES` are drawn for each image, and a strength for
    each; nothing moves.

    Args:
        images: RGB, [0,1].
        generator: the only source of randomness, on the CPU.
        count: changes per image, 0 to 6.

    Returns:
        RGB, [0,1].

    Raises:
        MissingExtraError: kornia is not installed.
    """
    if not count:
        return images
    _require_kornia()
    changed = []
    for image in images:
        one = image[None]
        order = torch.randperm(len(CHANGES), generator=generator)[:count].tolist()
        for index in order:
            strength = float(torch.rand((), generator=generator))
            one = CHANGES[index](one, strength).clamp(0, 1)
        changed.append(one)
    return torch.cat(changed)


def _contrast(image: Tensor, strength: float) -> Tensor:
    """Differences from the mean grey × 0.6 … 1.4."""
    from kornia.enhance import adjust_contrast_with_mean_subtraction

    changed: Tensor = adjust_contrast_with_mean_subtraction(image, 0.6 + 0.8 * strength)
    return changed


def _brightness(image: Tensor, strength: float) -> Tensor:
    """All values × 0.7 … 1.3."""
    from kornia.enhance import adjust_brightness_accumulative

    changed: Tensor = adjust_brightness_accumulative(image, 0.7 + 0.6 * strength)
    return changed


def _posterise(image: Tensor, strength: float) -> Tensor:
    """4 to 7 bits per channel; the step has no gradient and needs none."""
    from kornia.enhance import posterize

    changed: Tensor = posterize(image, 4 + min(3, int(4 * strength)))
    return changed


def _sharpness(image: Tensor, strength: float) -> Tensor:
    """Sharpness factor 0.2 … 2: below 1 blends with a blur, above overshoots."""
    from kornia.enhance import sharpness

    changed: Tensor = sharpness(image, 0.2 + 1.8 * strength)
    return changed


def _blur(image: Tensor, strength: float) -> Tensor:
    """Gaussian blur of σ = 0.3 … 1.5 pixels."""
    from kornia.filters import gaussian_blur2d

    sigma = 0.3 + 1.2 * strength
    border = "reflect" if min(image.shape[-2:]) > 3 else "replicate"
    changed: Tensor = gaussian_blur2d(image, (7, 7), (sigma, sigma), border)
    return changed


def _jpeg(image: Tensor, strength: float) -> Tensor:
    """JPEG of quality 40 … 95."""
    picture = image[0].detach().cpu().permute(1, 2, 0).float().numpy()
    compressed = compress_jpeg(picture, 40 + 55 * strength)
    return torch.from_numpy(compressed).permute(2, 0, 1)[None].to(image)


CHANGES: tuple[Change, ...] = (_contrast, _brightness, _posterise, _sharpness, _blur, _jpeg)
"""What the strong augmentation draws from."""


def _require_kornia() -> None:
    try:
        import kornia  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("kornia", "train") from error
