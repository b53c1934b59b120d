"""Validation where the truth is known: fixed synthetic haze, and pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from corun.configuration import Strict
from corun.data.clean_depth import CleanDepthConfig, CleanDepthFolder
from corun.data.crops import CropConfig
from corun.data.images import list_images, read_rgb
from corun.data.mixture import SourceName, TrainingData
from corun.data.pairs import PairFolder, PairFolders, match_pairs
from corun.data.synthesis import SynthesisConfig, synthesize_haze
from corun.errors import DataError, ImageFileError, tell
from corun.metrics.full_reference import psnr, ssim
from corun.networks.outputs import read_output
from corun.physics.transmission import DepthConvention
from corun.training.task import Validation


class ValidationConfig(Strict):
    """What is validated on.

    Attributes:
        clean: folder of clean photos; without it, an adaptation is not validated on synthetic haze.
        depth: folder of their depth maps.
        convention: what the depth files hold.
        pairs: folders of pairs, each under a name of your choice; each has scores of its own.
        side: side of the central crop of each photo.
        seed: seed of the fixed haze, which always has the defaults of ``synthesis``.
        real: folder of real hazy photos to show in pictures.
        shown: how many photos of each kind a picture shows.
    """

    clean: Path | None = None
    depth: Path | None = None
    convention: DepthConvention = "distance"
    pairs: dict[SourceName, PairFolders] = Field(default_factory=dict)
    side: int = Field(256, ge=16)
    seed: int = 2024
    real: Path | None = None
    shown: int = Field(4, ge=1)


class ValidationSet(NamedTuple):
    """Pictures whose clear ones are known.

    Attributes:
        name: "" for synthetic haze, else that of the pairs.
        place: what they are, for people.
        batches: hazy and clear, (b,3,s,s), four at a time.
    """

    name: str
    place: str
    batches: tuple[tuple[Tensor, Tensor], ...]


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
    for folders in config.pairs.values():
        match_pairs(folders)


def validation_sets(
    config: ValidationConfig, held_out: TrainingData | None = None
) -> list[ValidationSet]:
    """Central crops of the validation photos, with fixed haze, and of pairs.

    Args:
        config: what is validated on.
        held_out: what is where the configuration names none of its kind.
    """
    folder = None if held_out is None else held_out.clean
    place = "" if folder is None else f"photos held out of {folder.config.clean}"
    if config.clean is not None and config.depth is not None:
        data = CleanDepthConfig(
            clean=config.clean, depth=config.depth, convention=config.convention, flip=False
        )
        folder, place = CleanDepthFolder(data), str(config.clean)
    sets = []
    if folder is not None:
        sets.append(ValidationSet("", place, tuple(_synthetic_batches(config, folder))))
    pairs = {} if held_out is None else held_out.pairs
    found = {name: (held, f"pairs held out of {held.folders.hazy}") for name, held in pairs.items()}
    for name, folders in config.pairs.items():
        found[name] = (PairFolder(folders, CropConfig(cache=False)), str(folders.hazy))
    for name, (source, where) in found.items():
        pictures = [source.whole(index) for index in range(len(source))]
        hazy = [centre_crop(picture.hazy, config.side) for picture in pictures]
        clear = [centre_crop(picture.clear, config.side) for picture in pictures]
        sets.append(ValidationSet(name, where, tuple(_by_four(hazy, clear))))
    return sets


def _synthetic_batches(
    config: ValidationConfig, folder: CleanDepthFolder
) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(config.seed)
    samples = [folder.whole(index) for index in range(len(folder))]
    photos = [centre_crop(sample.clean, config.side) for sample in samples]
    depths = [centre_crop(sample.depth, config.side) for sample in samples]
    for clean, depth in _by_four(photos, depths):
        yield synthesize_haze(clean, depth, SynthesisConfig(), generator).hazy, clean


def _by_four(one: list[Tensor], other: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(one), 4):
        yield torch.stack(one[start : start + 4]), torch.stack(other[start : start + 4])


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
def known_scores(network: nn.Module, sets: Sequence[ValidationSet]) -> dict[str, float]:
    """Mean PSNR (dB) and SSIM of the network over each set, clamped to [0,1].

    Args:
        network: maps hazy to (scene, transmission) or to the scene.
        sets: what it is validated on.

    Returns:
        ``PSNR`` and ``SSIM`` of synthetic haze, ``PSNR NAME`` and ``SSIM NAME`` of pairs.
    """
    scores = {}
    for name, _, batches in sets:
        scenes = [(dehazed(network, hazy), clear) for hazy, clear in batches]
        for score, of in (("PSNR", psnr), ("SSIM", ssim)):
            values = torch.cat([of(scene, clear) for scene, clear in scenes])
            scores[f"{score} {name}".strip()] = float(values.mean())
    return scores


def psnr_criterion(scores: dict[str, float], sets: Sequence[ValidationSet]) -> Validation | None:
    """The mean of the sets' PSNR decides; None where there are no sets."""
    if not sets:
        return None
    found = [value for name, value in scores.items() if name.startswith("PSNR")]
    places = " and ".join(one.place for one in sets)
    return Validation(scores, sum(found) / len(found), f"PSNR on {places}")


@torch.no_grad()
def known_sheets(
    network: nn.Module, config: ValidationConfig, sets: Sequence[ValidationSet]
) -> dict[str, Tensor]:
    """Contact sheets: ``synthetic`` and ``pairs-NAME`` (hazy, dehazed, clear), and ``real``
    (before, after)."""
    sheets: dict[str, Tensor] = {}
    for name, _, batches in sets:
        rows: list[Tensor] = []
        for hazy, clear in batches:
            scene = dehazed(network, hazy)
            rows += [torch.cat((p, j, g), 2) for p, j, g in zip(hazy, scene, clear, strict=True)]
            if len(rows) >= config.shown:
                break
        sheets[f"pairs-{name}" if name else "synthetic"] = torch.cat(rows[: config.shown], 1)
    if config.real is not None:
        photos = list_images(config.real)
        chosen = photos[:: max(1, len(photos) // config.shown)][: config.shown]
        pairs = []
        for path in chosen:
            photo = real_crop(path)
            if photo is not None:
                scene = dehazed(network, photo[None])[0]
                pairs.append(torch.cat((photo, scene), 2))
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
    tell(message)


def dehazed(network: nn.Module, hazy: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """What the network makes of a batch, clamped to [0,1], on the CPU."""
    hazy = hazy.to(next(network.parameters()).device)
    return read_output(network(hazy), hazy).scene.float().clamp(0, 1).cpu()
