"""Batched BRISQUE and NIQE against the same measures written per image with numpy and scipy.

    python benchmarks/no_reference_speed.py [--batch 8] [--rounds 5] [--threads 1] [--photos DIR]

Both run in one process on the same cores, in turn, on pictures of 640×480, and give the same
features (checked). The per-image code is what one finds: a 7×7 window through scipy.ndimage, masks
for the sides of a distribution, an argmin over the grid of shapes for each fit; for NIQE, a loop
over blocks. It is not slowed down: its tables are computed once. Printed are images per second of
processor time, so that other programs on the machine do not count, and of wall time; the ratio of
the medians is the speed-up. With --threads 2 on two free cores that of wall time should be at
least 5.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from scipy.special import gamma

from corun.data.images import list_images
from corun.data.scenes import render_scene
from corun.judges.brisque import brisque_features
from corun.judges.niqe import niqe_features
from corun.metrics.pictures import as_tensor, read_picture

HEIGHT, WIDTH, BLOCK = 480, 640, 96
BATCHES = 3
SHAPES = np.arange(0.2, 10.001, 0.001)
RHO = gamma(1 / SHAPES) * gamma(3 / SHAPES) / gamma(2 / SHAPES) ** 2
SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))
OFFSETS = np.arange(-3, 4)
WINDOW = np.exp(-(OFFSETS[:, None] ** 2 + OFFSETS**2) / (2 * (7 / 6) ** 2))
WINDOW /= WINDOW.sum()
HALVING = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--photos", type=Path, help="default: rendered scenes with noise")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pictures = _photos(options.photos, options.batch) if options.photos else _scenes(options.batch)
    levels = [(picture.permute(1, 2, 0) * 255).round().byte().numpy() for picture in pictures]
    print(f"{options.batch} pictures of {WIDTH}×{HEIGHT}, {options.threads} thread(s)")
    _compare("BRISQUE", lambda: brisque_features(pictures), levels, scipy_brisque, options.rounds)
    _compare("NIQE", lambda: niqe_features(pictures), levels, scipy_niqe, options.rounds)


def _compare(
    name: str,
    batched: Callable[[], torch.Tensor],
    levels: list[np.ndarray],
    per_image: Callable[[np.ndarray], np.ndarray],
    rounds: int,
) -> None:
    found, expected = batched().numpy(), np.stack([per_image(image) for image in levels])
    # a shape may fall on the neighbouring point of the grid; a scale follows it
    np.testing.assert_allclose(found, expected, atol=5e-3)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_timed(batched))
        theirs.append(_timed(lambda: [per_image(image) for image in levels]))
    for kind, index in (("processor", 0), ("wall", 1)):
        fast, slow = (
            len(levels) / statistics.median(times[index] for times in runs)
            for runs in (ours, theirs)
        )
        ratio = fast / slow
        print(
            f"{name} {kind} time: {fast:.1f} images/s batched, {slow:.1f} per image: ×{ratio:.1f}"
        )


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of processor and of wall for one batch, over several in a row as in a folder."""
    processor, wall = time.process_time(), time.perf_counter()
    for _ in range(BATCHES):
        work()
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    return processor / BATCHES, wall / BATCHES


def _photos(folder: Path, count: int) -> torch.Tensor:
    chosen = []
    for path in list_images(folder):
        picture = as_tensor(read_picture(path))
        if picture.shape[-2] >= HEIGHT and picture.shape[-1] >= WIDTH:
            chosen.append(picture[..., :HEIGHT, :WIDTH])
        if len(chosen) == count:
            return torch.cat(chosen)
    raise SystemExit(f"{folder}: has fewer than {count} photos of {WIDTH}×{HEIGHT} or more")


def _scenes(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scenes = torch.stack([render_scene(HEIGHT, WIDTH, seed).image for seed in range(count)])
    noisy = scenes + 0.02 * torch.randn(scenes.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round() / 255


def scipy_brisque(image: np.ndarray) -> np.ndarray:
    """BRISQUE's 36 features of one RGB picture."""
    grey, features = _grey(image), []
    for scale in range(2):
        coefficients = _coefficients(grey, "constant")
        rho = (coefficients**2).mean() / np.abs(coefficients).mean() ** 2
        features += [SHAPES[np.argmin(np.abs(rho - RHO))], (coefficients**2).mean()]
        for shift in SHIFTS:
            shape, left, right = _asymmetric(coefficients * np.roll(coefficients, shift, (0, 1)))
            scale_factor = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
            mean = (right - left) * gamma(2 / shape) / gamma(1 / shape) * scale_factor
            features += [shape, mean, left**2, right**2]
        if scale == 0:
            grey = _halved(grey)
    return np.array(features)


def scipy_niqe(image: np.ndarray) -> np.ndarray:
    """NIQE's 36 features of every block of one RGB picture."""
    height, width = (side // BLOCK * BLOCK for side in image.shape[:2])
    grey, scales = _grey(image[:height, :width]), []
    for scale in (1, 2):
        coefficients, side = _coefficients(grey, "nearest"), BLOCK // scale
        rows = []
        for top in range(0, coefficients.shape[0], side):
            for left in range(0, coefficients.shape[1], side):
                rows.append(_block(coefficients[top : top + side, left : left + side]))  # noqa: PERF401
        scales.append(np.array(rows))
        if scale == 1:
            grey = _halved(grey)
    return np.concatenate(scales, 1)


def _block(block: np.ndarray) -> list[float]:
    shape, left, right = _asymmetric(block)
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    features = [shape, (left + right) * scale / 2]
    for shift in SHIFTS:
        shape, left, right = _asymmetric(block * np.roll(block, shift, (0, 1)))
        scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
        mean = (right - left) * scale * gamma(2 / shape) / gamma(1 / shape)
        features += [shape, mean, left * scale, right * scale]
    return features


def _asymmetric(samples: np.ndarray) -> tuple[float, float, float]:
    left = np.sqrt((samples[samples < 0] ** 2).mean())
    right = np.sqrt((samples[samples > 0] ** 2).mean())
    ratio = left / right
    target = np.abs(samples).mean() ** 2 / (samples**2).mean()
    target *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    return SHAPES[np.argmin((1 / RHO - target) ** 2)], left, right


def _grey(image: np.ndarray) -> np.ndarray:
    weights = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
    return np.floor(image.astype(np.float64) @ weights + 0.5)


def _coefficients(grey: np.ndarray, mode: str) -> np.ndarray:
    mean = ndimage.correlate(grey, WINDOW, mode=mode)
    square = ndimage.correlate(grey * grey, WINDOW, mode=mode)
    return (grey - mean) / (np.sqrt(np.abs(square - mean * mean)) + 1)


def _halved(grey: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        grey = ndimage.correlate1d(grey, HALVING, axis, mode="reflect", origin=-1)
        grey = grey[::2] if axis == 0 else grey[:, ::2]
    return grey


if __name__ == "__main__":
    main()
