"""Validation on fixed synthetic haze, where the truth is known."""

from __future__ import annotations

import sys
from functools import cache, lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from corun.data.clean_depth import CleanDepthConfig, CleanDepthFolder
from corun.data.images import list_images, read_rgb
from corun.data.synthesis import HazyBatch, SynthesisConfig, synthesize_haze
from corun.errors import DataError, ImageFileError
from corun.metrics.full_reference import psnr, ssim
from corun.networks.outputs import read_output
from corun.physics.transmission import DepthConvention
from corun.training.configuration import Strict


class ValidationConfig(Strict):
    """What is validated on.

    Attributes:
        clean: folder of clean photos; without it, an adaptation is not validated on synthetic haze.
        depth: folder of their depth maps.
        convention: what the depth files hold.
        side: side of the central crop of each photo.
        seed: seed of the fixed haze, which always has the defaults of ``synthesis``.
        real: folder of real hazy photos to show in pictures.
        shown: how many photos of each kind a picture shows.
    """

    clean: Path | None = None
    depth: Path | None = None
    convention: DepthConvention = "distance"
    side: int = Field(256, ge=16)
    seed: int = 2024
    real: Path | None = None
    shown: int = Field(4, ge=1)


ValidationBatches = tuple[tuple[HazyBatch, Tensor], ...]
"""Synthetic haze and its clean photos, (b,3,s,s)."""


def require_validation_data(config: ValidationConfig) -> None:
    """Find out at the start, not at the first validation, that a folder is missing or empty.

    Raises:
        DataError: names the folder.
    """
    for folder in (config.clean, config.real):
        if folder is not None and not list_images(folder):
            raise DataError(f"{folder}: holds no images to validate on; check the validation keys")
    if (config.clean is None) != (config.depth is None):
        raise DataError("validation.clean and validation.depth go together; give both or neither")


@lru_cache(maxsize=4)
def validation_batches(
    config: ValidationConfig, held_out: CleanDepthFolder | None = None
) -> ValidationBatches:
    """Hazy central crops with fixed haze, and the clean crops; four to a batch.

    Args:
        config: what is validated on.
        held_out: the photos where the configuration names none.
    """
    folder = held_out
    if config.clean is not None and config.depth is not None:
        data = CleanDepthConfig(
            clean=config.clean, depth=config.depth, convention=config.convention, flip=False
        )
        folder = CleanDepthFolder(data)
    if folder is None:
        return ()
    generator = torch.Generator().manual_seed(config.seed)
    crops = []
    for index in range(len(folder)):
        sample = folder.whole(index)
        crops.append(
            (centre_crop(sample.clean, config.side), centre_crop(sample.depth, config.side))
        )
    batches = []
    for start in range(0, len(crops), 4):
        clean = torch.stack([c for c, _ in crops[start : start + 4]])
        depth = torch.stack([d for _, d in crops[start : start + 4]])
        batches.append((synthesize_haze(clean, depth, SynthesisConfig(), generator), clean))
    return tuple(batches)


def centre_crop(image: Float[Tensor, "c h w"], side: int) -> Float[Tensor, "c s s"]:
    """The middle of an image, its last row and column repeated where it is smaller."""
    height, width = image.shape[-2:]
    missing_h, missing_w = max(0, side - height), max(0, side - width)
    if missing_h or missing_w:
        image = F.pad(image[None], (0, missing_w, 0, missing_h), mode="replicate")[0]
        height, width = image.shape[-2:]
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, top : top + side, left : left + side]


@torch.no_grad()
def synthetic_scores(network: nn.Module, batches: ValidationBatches) -> dict[str, float] | None:
    """Mean PSNR (dB) and SSIM of the network over the validation photos, clamped to [0,1].

    Args:
        network: maps hazy to (scene, transmission) or to the scene.
        batches: what it is validated on.

    Returns:
        ``PSNR`` and ``SSIM``, or None where there are no photos.
    """
    if not batches:
        return None
    psnrs, ssims = [], []
    for haze, clean in batches:
        scene = dehazed(network, haze.hazy)
        psnrs.append(psnr(scene, clean))
        ssims.append(ssim(scene, clean))
    return {"PSNR": float(torch.cat(psnrs).mean()), "SSIM": float(torch.cat(ssims).mean())}


@torch.no_grad()
def synthetic_sheet(
    network: nn.Module, config: ValidationConfig, batches: ValidationBatches
) -> dict[str, Tensor]:
    """Contact sheets: ``synthetic`` (hazy, dehazed, clean) and ``real`` (before, after)."""
    sheets: dict[str, Tensor] = {}
    rows: list[Tensor] = []
    for haze, clean in batches:
        scene = dehazed(network, haze.hazy)
        rows += [torch.cat((p, j, g), 2) for p, j, g in zip(haze.hazy, scene, clean, strict=True)]
        if len(rows) >= config.shown:
            break
    if rows:
        sheets["synthetic"] = torch.cat(rows[: config.shown], 1)
    if config.real is not None:
        photos = list_images(config.real)
        chosen = photos[:: max(1, len(photos) // config.shown)][: config.shown]
        pairs = []
        for path in chosen:
            hazy = real_crop(path)
            if hazy is not None:
                scene = dehazed(network, hazy[None])[0]
                pairs.append(torch.cat((hazy, scene), 2))
        if pairs:
            sheets["real"] = torch.cat(pairs, 1)
    return sheets


def real_crop(path: Path, side: int = 320) -> Float[Tensor, "3 s s"] | None:
    """The middle of a real photo, RGB in [0,1]; None, said once, if the photo cannot be read."""
    try:
        return centre_crop(read_rgb(path), side)
    except ImageFileError as error:
        _say_once(f"skipped in validation: {error}")
        return None


@cache
def _say_once(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def dehazed(network: nn.Module, hazy: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """What the network makes of a batch, clamped to [0,1], on the CPU."""
    hazy = hazy.to(next(network.parameters()).device)
    return read_output(network(hazy), hazy).scene.float().clamp(0, 1).cpu()
