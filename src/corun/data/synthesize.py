"""Pairs on disk: hazy pictures with known truth, from clean photos and their depth."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from corun.configuration import Strict, load_configuration, validate
from corun.configuration import apply_override as apply
from corun.data.clean_depth import CleanDepthConfig, CleanDepthFolder
from corun.data.synthesis import HazyBatch, SynthesisConfig, synthesize_haze
from corun.errors import CorunError, DataError, ImageFileError
from corun.physics.transmission import DepthConvention

TRUTH_COLUMNS = ("hazy", "clear", "transmission_mean", "transmission_min", "airlight_rgb", "seed")


class SynthesizeConfig(Strict):
    """Settings of ``corun synthesize``.

    Attributes:
        convention: what the depth files hold: ``distance`` (larger = farther) or ``inverse``.
        depth_key: the array's name in .mat and .h5 files.
        format: file format of the hazy pictures; the truth is always PNG.
        device: where the haze is computed.
        haze: what haze looks like.
    """

    convention: DepthConvention
    depth_key: str | None = None
    format: Literal["png", "jpg"] = "png"
    device: str = "cpu"
    haze: SynthesisConfig = Field(default_factory=SynthesisConfig)


def synthesize_folder(
    clean: Path,
    depth: Path,
    out: Path,
    *,
    count: int = 1,
    seed: int = 0,
    config_path: Path | None = None,
    overrides: list[str] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``out/hazy``, ``out/clear``, ``out/transmission`` and ``out/truth.csv``.

    Each photo gets ``count`` hazy versions ``STEM_00``, ``STEM_01`` …; their haze depends on
    (seed, stem, version) only, so an interrupted run is continued by the same command: what is
    already there is kept. Transmission is stored as 8-bit grey, 255 = 1.

    Args:
        clean: folder of clean photos.
        depth: folder of depth maps with the same stems.
        out: where to.
        count: hazy versions of each photo.
        seed: what all randomness comes from.
        config_path: YAML of :class:`SynthesizeConfig`.
        overrides: ``dotted.key=value``; ``convention=…`` is required here or in the YAML.
        report: called with (done, all) after each photo.

    Raises:
        ConfigurationError: an unknown key, or no depth convention.
        DataError: nothing to do, or some photos failed: they are named, the others are written.
    """
    config = _configuration(config_path, overrides or [])
    source = CleanDepthFolder(
        CleanDepthConfig(
            clean=clean,
            depth=depth,
            convention=config.convention,
            depth_key=config.depth_key,
            cache=False,
        )
    )
    for name in ("hazy", "clear", "transmission"):
        (out / name).mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    rows: list[dict[str, object]] = []
    for index in range(len(source)):
        try:
            rows += _write_photo(source, index, out, count, seed, config)
        except CorunError as error:
            failed.append(str(error))
        if report is not None:
            report(index + 1, len(source))
    _write_truth(out / "truth.csv", rows)
    if failed:
        raise DataError(
            f"{len(failed)} of {len(source)} photos failed, the others are written: "
            + "; ".join(failed)
        )


def _configuration(path: Path | None, overrides: list[str]) -> SynthesizeConfig:
    if path is not None:
        return load_configuration(SynthesizeConfig, path, overrides)
    content: dict[str, object] = {}
    for override in overrides:
        apply(content, override)
    if "convention" not in content:
        from corun.errors import ConfigurationError

        raise ConfigurationError(
            "say what the depth files hold: convention=distance (larger = farther) or "
            "convention=inverse"
        )
    return validate(SynthesizeConfig, content, "options")


def _write_photo(
    source: CleanDepthFolder,
    index: int,
    out: Path,
    count: int,
    seed: int,
    config: SynthesizeConfig,
) -> list[dict[str, object]]:
    sample = source.whole(index)
    stem = Path(sample.name).stem
    clean = sample.clean[None].to(config.device)
    depth = sample.depth[None].to(config.device)
    rows: list[dict[str, object]] = []
    for version in range(count):
        name = f"{stem}_{version:02d}"
        haze_seed = _seed_of(seed, stem, version)
        haze = synthesize_haze(clean, depth, config.haze, torch.Generator().manual_seed(haze_seed))
        paths = {
            "hazy": out / "hazy" / f"{name}.{config.format}",
            "clear": out / "clear" / f"{name}.png",
            "transmission": out / "transmission" / f"{name}.png",
        }
        for kind, pixels in _pixels(haze).items():
            if not paths[kind].exists():
                _save(pixels, paths[kind])
        rows.append(_truth_row(haze, paths, haze_seed))
    return rows


def _seed_of(seed: int, stem: str, version: int) -> int:
    """A seed that depends on the photo's name and not on its place in the folder."""
    letters = list(stem.encode())
    sequence = np.random.SeedSequence([seed, version, *letters])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _pixels(haze: HazyBatch) -> dict[str, np.ndarray]:
    def eight_bit(image: Tensor) -> np.ndarray:
        array: np.ndarray = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        return array

    return {
        "hazy": eight_bit(haze.hazy[0]),
        "clear": eight_bit(haze.target[0]),
        "transmission": eight_bit(haze.transmission[0])[..., 0],
    }


def _truth_row(haze: HazyBatch, paths: dict[str, Path], seed: int) -> dict[str, object]:
    airlight = haze.airlight[0].flatten(1).mean(1)
    return {
        "hazy": f"hazy/{paths['hazy'].name}",
        "clear": f"clear/{paths['clear'].name}",
        "transmission_mean": f"{float(haze.transmission.mean()):.5f}",
        "transmission_min": f"{float(haze.transmission.min()):.5f}",
        "airlight_rgb": " ".join(f"{float(value):.5f}" for value in airlight),
        "seed": seed,
    }


def _save(pixels: np.ndarray, path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    options = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}
    try:
        with partial.open("wb") as stream:
            Image.fromarray(pixels).save(
                stream, "JPEG" if path.suffix == ".jpg" else "PNG", **options
            )
        partial.replace(path)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_truth(path: Path, rows: list[dict[str, object]]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, TRUTH_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
