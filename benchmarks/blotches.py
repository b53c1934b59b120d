"""How much a network's skies and dense haze wander away from what the photo shows.

    python benchmarks/blotches.py FOLDER [--model corun-lite ...]

Where a photo is flat (standard deviation of the lightness below 4/255 in 40×40 pixels), haze
removal can only be a smooth function of the photo's lightness: an affine one, to first order, over
a neighbourhood. So over the flat parts of windows of 328×328 pixels the result's lightness is
regressed on the photo's, both averaged over cells of 8×8, and the mean absolute remainder in 1/255
is what the network added: clouds, smoke, veils. A colour cast is told by how many photos come out
bluer than they went in, by more than 0.03 in the mean of blue less red; and by the share of the
cells of a grid of twelve along the long side whose mean has become bluer by as much, or more
magenta by 0.02 in the mean of red and blue less green, if it is blue or magenta then. Cells that
are red in the photo do not count as magenta. FOLDER holds hazy photos; they are reduced to a long
side of 640.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corun.data.images import list_images
from corun.metrics.pictures import as_tensor, prepare, read_picture
from corun.networks.brought import open_network
from corun.networks.outputs import read_output

CELL = 8
CAST = 0.03
MAGENTA = 0.02
RED = 0.05
GRID = 12
FLAT_RADIUS, FLAT_DEVIATION = 2, 4 / 255
FIT_RADIUS = 20
SMALLEST_SHARE = 0.05


def _mean(cells: Tensor, radius: int) -> Tensor:
    """The mean over the window around each cell, cut off at the border."""
    side = 2 * radius + 1
    return F.avg_pool2d(cells, side, stride=1, padding=radius, count_include_pad=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", help="name or weights file; may be repeated")
    parser.add_argument("--side", type=int, default=640)
    options = parser.parse_args()
    photos = [
        as_tensor(prepare(read_picture(path), long_side=options.side))
        for path in list_images(options.folder)
    ]
    for model in options.model or ["corun-lite"]:
        report(model, open_network(model).eval(), photos)


def report(name: str, network: nn.Module, photos: list[Tensor]) -> None:
    """Print the photos made bluer, the mean over those flat in 5 % of their area, and the worst."""
    with torch.inference_mode():
        scenes = [read_output(network(photo), photo).scene.clamp(0, 1) for photo in photos]
    bluer = sum(blueness(J) - blueness(P) > CAST for P, J in zip(photos, scenes, strict=True))
    print(f"{name}: {bluer} of {len(photos)} photos bluer by more than {CAST}", flush=True)
    casts = torch.tensor([tinted_cells(P, J) for P, J in zip(photos, scenes, strict=True)])
    blue, magenta = (f"{share:.1%}" for share in casts.mean(0).tolist())
    print(f"{name}: cells bluer {blue}, more magenta {magenta}", flush=True)
    found = [unexplained(photo, scene) for photo, scene in zip(photos, scenes, strict=True)]
    scores = [score for score, share in found if share >= SMALLEST_SHARE]
    if not scores:
        print(f"{name}: no photo is flat in {SMALLEST_SHARE:.0%} of its area", flush=True)
        return
    mean = sum(scores) / len(scores)
    print(f"{name}: {mean:.2f}/255, worst {max(scores):.2f}, {len(scores)} photos", flush=True)


def blueness(image: Tensor) -> float:
    """The mean of blue less red."""
    return float((image[:, 2] - image[:, 0]).mean())


def tinted_cells(hazy: Tensor, scene: Tensor) -> tuple[float, float]:
    """The shares of cells that have become bluer, and more magenta."""
    side = max(hazy.shape[-2:]) // GRID
    P, J = (F.avg_pool2d(image, side) for image in (hazy, scene))

    def blue(cells: Tensor) -> Tensor:
        return cells[:, 2] - cells[:, 0]

    def magenta(cells: Tensor) -> Tensor:
        return (cells[:, 0] + cells[:, 2]) / 2 - cells[:, 1]

    bluer = blue(J).clamp_min(0) - blue(P).clamp_min(0) > CAST
    redder = magenta(J).clamp_min(0) - magenta(P).clamp_min(0) > MAGENTA
    return float(bluer.float().mean()), float((redder & (blue(P) > -RED)).float().mean())


def unexplained(hazy: Tensor, scene: Tensor) -> tuple[float, float]:
    """The mean |remainder| in 1/255 over the flat cells, and their share of the picture."""
    height, width = (side - side % CELL for side in hazy.shape[-2:])
    # float64, so that a variance of 1e-5 can be told from the rounding of running sums
    P, J = (image[..., :height, :width].double().mean(1, keepdim=True) for image in (hazy, scene))
    p, j, pp = (F.avg_pool2d(x, CELL) for x in (P, J, P * P))
    variance = _mean(pp, FLAT_RADIUS) - _mean(p, FLAT_RADIUS).square()
    flat = (variance < FLAT_DEVIATION**2).double()
    weight = _mean(flat, FIT_RADIUS).clamp_min(1e-6)

    def mean(cells: Tensor) -> Tensor:
        return _mean(flat * cells, FIT_RADIUS) / weight

    covariance = mean(p * j) - mean(p) * mean(j)
    slope = covariance / (mean(p * p) - mean(p).square() + 1e-6)
    remainder = (j - mean(j) - slope * (p - mean(p))).abs() * flat
    return 255 * float(remainder.sum() / flat.sum().clamp_min(1)), float(flat.mean())


if __name__ == "__main__":
    main()
