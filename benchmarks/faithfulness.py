"""What a model must leave alone, and whether what it returns explains the photo.

    python benchmarks/faithfulness.py [--model corun-lite ...] [--shared ../shared]

- *explained*: the mean of |J·T + A·(1 − T) − P| over the photos of data/fattal, in 1/255;
- *clear air*: PSNR of the clear photos of data/clean/val to themselves after dehazing, as they are
  and with their encoded values × 0.25;
- *cases*: cases/black.png (largest value), cases/dark.png (mean difference from its input),
  cases/letterbox_black.png against cases/base320.png (its picture without the frame), in 1/255;
- *crops*: PSNR and SSIM of the fixed synthetic validation crops of a training, 256², seed 2024.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from corun.data.images import list_images
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import load
from corun.networks.checkpoints import load_network
from corun.training.validation import ValidationConfig, known_scores, validation_sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="name or weights file; may be repeated")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    options = parser.parse_args()
    data = options.shared / "data"
    for model in options.model or ["corun-lite"]:
        dehazer = load(model, device="cpu", dtype="float32")
        print(f"{model}: explained, {explained(dehazer, data / 'fattal'):.2f}/255", flush=True)
        plain, dim = (clear_air(dehazer, data / "clean" / "val", factor) for factor in (1, 0.25))
        print(f"{model}: clear air, {plain:.2f} dB, at a quarter {dim:.2f} dB", flush=True)
        print(f"{model}: cases, {cases(dehazer, options.shared / 'cases')}", flush=True)
        settings = ValidationConfig(clean=data / "clean" / "val", depth=data / "depth" / "val")
        scores = known_scores(load_network(model).network, validation_sets(settings))
        print(f"{model}: crops, {scores}", flush=True)


def read(path: Path) -> np.ndarray:
    """RGB, uint8, (H,W,3)."""
    return np.asarray(Image.open(path).convert("RGB"))


def explained(dehazer: Dehazer, folder: Path) -> float:
    """The mean absolute residual of the scattering model over the photos, in 1/255."""
    residuals = []
    for path in list_images(folder):
        P = read(path).astype(np.float32) / 255
        result = dehazer(P)
        if result.transmission is None or result.airlight is None:
            return float("nan")
        T, A = result.transmission[..., None], result.airlight
        residuals.append(float(np.abs(result.image * T + A * (1 - T) - P).mean()))
    return 255 * float(np.mean(residuals))


def clear_air(dehazer: Dehazer, folder: Path, factor: float) -> float:
    """The mean PSNR in dB of clear photos, their values times ``factor``, to themselves."""
    found = []
    for path in list_images(folder):
        photo = np.rint(read(path) * factor).astype(np.uint8)
        difference = (np.asarray(dehazer(photo).image).astype(float) - photo) / 255
        found.append(-10 * np.log10(max(float(np.square(difference).mean()), 1e-10)))
    return float(np.mean(found))


def cases(dehazer: Dehazer, folder: Path) -> str:
    """Black, dark and framed pictures, one line of numbers in 1/255."""
    black = np.asarray(dehazer(read(folder / "black.png")).image).max()
    dark = read(folder / "dark.png")
    darkened = np.abs(np.asarray(dehazer(dark).image).astype(float) - dark).mean()
    framed, plain = read(folder / "letterbox_black.png"), read(folder / "base320.png")
    result = np.asarray(dehazer(framed).image).astype(float)
    alone = np.asarray(dehazer(plain).image).astype(float)
    inside = framed.any(axis=2).any(axis=1).nonzero()[0]
    top, bottom = int(inside[0]), int(inside[-1]) + 1
    columns = framed.any(axis=2).any(axis=0).nonzero()[0]
    left, right = int(columns[0]), int(columns[-1]) + 1
    frame = np.ones(framed.shape[:2], bool)
    frame[top:bottom, left:right] = False
    change = np.abs(result - framed)[frame].max()
    size = (bottom - top, right - left)
    within = (
        f"{np.abs(result[top:bottom, left:right] - alone).mean():.1f}"
        if size == alone.shape[:2]
        else f"sizes differ, {size} and {alone.shape[:2]}"
    )
    return f"black {black}, dark {darkened:.1f}, frame {change:.0f}, inside {within}"


if __name__ == "__main__":
    main()
