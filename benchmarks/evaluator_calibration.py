"""How well the embedded density agrees with FADE, and both embedded judges with known haze.

    python benchmarks/evaluator_calibration.py --shared ../shared

Prints Spearman's correlation of D with FADE over the real photos (long side 480), and for each
scene of the sweeps that of D and Q with the haze level (none to β = 2.8, airlight 0.85).
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from corun.data.images import list_images, read_depth, read_rgb
from corun.data.scenes import render_scene
from corun.judges.density_net import embedded_density
from corun.judges.natural_scene import embedded_quality
from corun.physics.scattering import add_haze
from corun.physics.transmission import depth_to_transmission

BETAS = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 2.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--train-photos", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = options.shared / "data"
    for name in ("real/val", "fattal", "real/train"):
        paths = list_images(data / name)
        agreement(name, paths[: options.train_photos] if name == "real/train" else paths)
    photos = list_images(data / "clean" / "val")
    sweeps("clean/val", [with_depth(path, data / "depth" / "val") for path in photos])
    rendered = [render_scene(224, 288, seed) for seed in range(12)]
    sweeps("rendered", [(scene.image, scene.depth) for scene in rendered])


def agreement(name: str, paths: list[Path]) -> None:
    from pyfade import fade
    from scipy.stats import spearmanr

    density = embedded_density()
    ours, theirs = [], []
    for path in paths:
        image = read_rgb(path)[None]
        factor = 480 / max(image.shape[-2:])
        if factor < 1:
            image = F.interpolate(image, scale_factor=factor, mode="area")
        ours.append(float(density.score(image, 32).overall))
        theirs.append(float(fade((image[0] * 255).round().byte().permute(1, 2, 0).numpy())))
    print(f"{name}: {len(paths)} photos, Spearman of D with FADE {spearmanr(ours, theirs)[0]:.3f}")


def with_depth(path: Path, folder: Path) -> tuple[Tensor, Tensor]:
    """A photo and its depth at the photo's size, central 256 pixels at most."""
    image = read_rgb(path)
    (depth_path,) = folder.glob(f"{path.stem}.*")
    depth = read_depth(depth_path)[None] / 255
    depth = F.interpolate(depth, image.shape[-2:], mode="bilinear")[0]
    return image[:, :256, :256], depth[:, :256, :256]


def sweeps(name: str, scenes: list[tuple[Tensor, Tensor]]) -> None:
    from scipy.stats import spearmanr

    density, quality = embedded_density(), embedded_quality()
    airlight = torch.full((1, 3, 1, 1), 0.85)
    found: dict[str, list[float]] = {"D": [], "Q": []}
    for image, depth in scenes:
        hazes = torch.cat(
            [add_haze(image[None], depth_to_transmission(depth[None], b), airlight) for b in BETAS]
        ).clamp(0, 1)
        for key, evaluator in (("D", density), ("Q", quality)):
            scores = evaluator.score(hazes, 32).overall.tolist()
            found[key].append(float(spearmanr(BETAS, scores)[0]))
    for key, values in found.items():
        mean = statistics.mean(values)
        print(
            f"{name}: {len(scenes)} scenes, Spearman of {key} with haze: mean {mean:.3f}, "
            f"range {min(values):.3f} to {max(values):.3f}"
        )


if __name__ == "__main__":
    main()
