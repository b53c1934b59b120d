"""Pairs on disk: hazy pictures with known truth, from clean photos and their depth."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from corun.configuration import (
    Strict,
    apply_override,
    differing_keys,
    load_configuration,
    validate,
)
from corun.data.clean_depth import CleanDepthConfig, CleanDepthFolder
from corun.data.images import eight_bit
from corun.data.synthesis import HazyBatch, SynthesisConfig, synthesize_haze
from corun.errors import (
    ConfigurationError,
    CorunError,
    DataError,
    DeviceError,
    ImageFileError,
    system_errors_as,
)
from corun.files import write_atomically, written_atomically
from corun.physics.transmission import DepthConvention

TRUTH_COLUMNS = ("hazy", "clear", "transmission_mean", "transmission_min", "airlight_rgb", "seed")
KINDS = ("hazy", "clear", "transmission")


class SynthesizeConfig(Strict):
    """Settings of ``corun synthesize``.

    Attributes:
        convention: what the depth files hold: ``distance`` (larger = farther) or ``inverse``.
        depth_key: the array's name in .mat and .h5 files.
        format: file format of the hazy pictures; the truth is always PNG.
        device: where the haze is computed: cpu, cuda, cuda:1 or mps.
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

    ``out/settings.json`` keeps the seed and the configuration the folder was made with.

    Each photo gets ``count`` hazy versions ``STEM_00``, ``STEM_01`` …; their haze depends on
    (seed, stem, version) only, so an interrupted run is continued by the same command: what is
    already there is kept. Another seed or configuration is refused there: the truth of its haze
    is not that of the pictures kept. Transmission is stored as 8-bit grey, 255 = 1.

    Args:
        clean: folder of clean photos.
        depth: folder of depth maps with the same stems.
        out: where to.
        count: hazy versions of each photo.
        seed: what all randomness comes from, ≥ 0.
        config_path: YAML of :class:`SynthesizeConfig`.
        overrides: ``dotted.key=value``; ``convention=…`` is required here or in the YAML.
        report: called with (done, all) after each photo.

    Raises:
        ConfigurationError: an unknown key, or no depth convention.
        DataError: nothing to do, ``out`` cannot be written or was made with other settings, or
            some photos failed: they are named, the others are written.
        DeviceError: the device is not available.
    """
    config = _configuration(config_path, overrides or [])
    _check_device(config.device)
    source = CleanDepthFolder(
        CleanDepthConfig(
            clean=clean,
            depth=depth,
            convention=config.convention,
            depth_key=config.depth_key,
            cache=False,
        )
    )
    _prepare(out, {"seed": seed, **config.model_dump(mode="json")})
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
        apply_override(content, override)
    if "convention" not in content:
        raise ConfigurationError(
            "say what the depth files hold: convention=distance (larger = farther) or "
            "convention=inverse"
        )
    return validate(SynthesizeConfig, content, "options")


def _check_device(name: str) -> None:
    """Find out before any file is written whether haze can be computed there."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    # A build without CUDA answers with an AssertionError.
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"device {name!r} is not available here; use device=cpu") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"device {name!r} is not supported; use device=cpu, cuda or mps")


def _prepare(out: Path, settings: dict[str, object]) -> None:
    """Make the folders; refuse a folder that holds pictures of other settings."""
    path = out / "settings.json"
    found: str | None
    with _writing(out):
        for kind in KINDS:
            (out / kind).mkdir(parents=True, exist_ok=True)
        if path.exists():
            found = path.read_text(encoding="utf-8", errors="replace")
        else:
            # Hidden files are what an interrupted write leaves behind.
            kept = (p for kind in KINDS for p in (out / kind).glob("[!.]*"))
            found = "" if any(kept) else None
    if found is None:
        with _writing(path):
            write_atomically(path, json.dumps(settings, indent=2) + "\n")
        return
    try:
        before = json.loads(found)
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise DataError(
            f"{out}: holds pictures, but no readable settings.json to say how they were made; "
            "give another output folder, or delete this one to start over"
        )
    differing = differing_keys(before, settings)
    if differing:
        raise DataError(
            f"{out}: was made with other settings ({', '.join(differing)}); give those of its "
            "settings.json to continue it, another output folder, or delete it to start over"
        )


def _writing(path: Path) -> AbstractContextManager[None]:
    what, remedy = f"{path}: cannot be written", "give another output folder"
    return system_errors_as(DataError, what, remedy)


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
    jpeg = path.suffix == ".jpg"
    options = {"quality": 95, "subsampling": 0} if jpeg else {}
    what = f"{path}: cannot be written"
    with system_errors_as(ImageFileError, what), written_atomically(path) as partial:
        Image.fromarray(pixels).save(partial, "JPEG" if jpeg else "PNG", **options)


def _write_truth(path: Path, rows: list[dict[str, object]]) -> None:
    """The rows, and those of pictures that an earlier run with a larger count left there."""
    written = {row["hazy"] for row in rows}
    kept: list[dict[str, object]] = [
        {**row}
        for row in _read_truth(path)
        if row["hazy"] not in written and (path.parent / row["hazy"]).is_file()
    ]
    rows = sorted([*kept, *rows], key=lambda row: str(row["hazy"]))
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, TRUTH_COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    with _writing(path):
        write_atomically(path, table.getvalue())


def _read_truth(path: Path) -> list[dict[str, str]]:
    """The rows of a table of ours; none where there is no table or another one."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != TRUTH_COLUMNS:
            return []
        return [row for row in reader if None not in row.values() and None not in row]
