"""The ablation table of Colabator: each row adapts corun-lite with one recipe and is scored.

    python benchmarks/colabator_ablation.py --shared ../shared --out runs/ablation [--rows ...]
    python benchmarks/colabator_ablation.py --shared ../shared --out runs/ablation --score-only

A row whose weights exist is not trained again, and one that was interrupted is resumed. Every row
is scored on ``data/real/val`` and ``data/fattal`` (FADE, BRISQUE, embedded Q and D, mean
brightness, crushed fraction) and on synthetic haze over ``data/clean/val`` (PSNR). The table is
printed as Markdown and written beside the runs with the numbers of every row as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from corun.data.images import list_images
from corun.judges.density_net import embedded_density
from corun.judges.natural_scene import embedded_quality
from corun.metrics.guards import crushed_fraction
from corun.metrics.pictures import prepare, read_picture
from corun.metrics.registry import load_metric
from corun.networks.brought import open_network
from corun.networks.outputs import read_output
from corun.training import colabator
from corun.training.validation import ValidationConfig, known_scores, validation_sets

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "lite-3-colabator.yaml"
ROWS: dict[str, tuple[str, ...] | None] = {
    "pre-trained only": None,
    "mean teacher, no pool": ("adaptation.weights=uniform", "adaptation.use_pool=false"),
    "pool, no trusted weights": ("adaptation.weights=uniform",),
    "everything": (),
    "inverted weights": ("adaptation.weights=inverted",),
}
"""What each row changes in the recipe; the first adapts nothing."""
COLUMNS = ("FADE", "BRISQUE", "Q", "D", "brightness", "crushed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--start", default="corun-lite", help="the pre-trained network")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--score-only", action="store_true")
    parser.add_argument("--long-side", type=int, default=640)
    parser.add_argument("--photos", type=int, default=0, help="of each set; 0 for all")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE for every recipe")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = options.shared / "data"
    results: dict[str, dict[str, dict[str, float]]] = {}
    scorer = Scorer(options.shared, options.long_side, options.photos)
    for row in options.rows:
        changes, folder = ROWS[row], options.out / row.replace(", ", "-").replace(" ", "-")
        weights = options.start if changes is None else str(folder / "weights.safetensors")
        if changes is not None and not Path(weights).exists():
            if options.score_only:
                print(f"{row}: no weights yet, left out")
                continue
            colabator.run(
                RECIPE,
                [
                    f"run.folder={folder}",
                    f"network.name={options.start}",
                    f"synthetic.clean={data / 'clean' / 'train'}",
                    f"synthetic.depth={data / 'depth' / 'train'}",
                    f"real.folder={data / 'real' / 'train'}",
                    f"validation.clean={data / 'clean' / 'val'}",
                    f"validation.depth={data / 'depth' / 'val'}",
                    f"validation.real={data / 'real' / 'val'}",
                    *changes,
                    *options.overrides,
                ],
            )
        network = open_network(weights).eval()
        results[row] = {name: scorer(network, data / name) for name in ("real/val", "fattal")}
        synthetic = ValidationConfig(
            clean=data / "clean" / "val", depth=data / "depth" / "val", side=256
        )
        results[row]["clean/val"] = known_scores(network, validation_sets(synthetic))
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(results, indent=1)
        (options.out / "ablation.json").write_text(text + "\n", encoding="utf-8")
        print(f"{row}: {json.dumps(results[row])}", flush=True)
    table = as_table(results)
    (options.out / "ablation.md").write_text(table, encoding="utf-8")
    print(table)


class Scorer:
    """Scores the dehazed photos of a folder, at 8 bits as they would be saved.

    Args:
        shared: where the metrics' published files lie.
        long_side: photos larger than this are reduced to it, pixels.
        photos: how many of each folder; 0 for all.
    """

    def __init__(self, shared: Path, long_side: int, photos: int) -> None:
        self.long_side, self.photos = long_side, photos
        files = {
            "brisque_model": shared / "metrics" / "brisque_allmodel",
            "brisque_range": shared / "metrics" / "brisque_allrange",
        }
        self.metrics: dict[str, Callable[[np.ndarray, np.ndarray | None], float]] = {
            "FADE": load_metric("fade", files).score,
            "BRISQUE": load_metric("brisque", files).score,
        }
        self.density, self.quality = embedded_density(), embedded_quality()

    @torch.no_grad()
    def __call__(self, network: nn.Module, folder: Path) -> dict[str, float]:
        totals: dict[str, list[float]] = {name: [] for name in COLUMNS}
        paths = list_images(folder)
        step = max(1, len(paths) // self.photos) if self.photos else 1
        for path in paths[::step]:
            photo = prepare(read_picture(path), long_side=self.long_side)
            hazy = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
            scene = read_output(network(hazy), hazy).scene.float().clamp(0, 1)
            levels = (scene[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            saved = torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 255
            for name, score in self.metrics.items():
                totals[name].append(score(levels, None))
            totals["Q"].append(float(self.quality.score(saved, 32).overall))
            totals["D"].append(float(self.density.score(saved, 32).overall))
            totals["brightness"].append(float(saved.mean()))
            totals["crushed"].append(float(crushed_fraction(saved)))
        return {name: float(np.nanmean(values)) for name, values in totals.items()}


def as_table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """The rows as Markdown, one table for each set of photos."""
    lines = []
    for name in ("real/val", "fattal"):
        lines += [f"\n{name}\n", "| row | " + " | ".join(COLUMNS) + " | PSNR clean/val |"]
        lines.append("|---|" + "---|" * (len(COLUMNS) + 1))
        for row, scores in results.items():
            numbers = [f"{scores[name][column]:.3f}" for column in COLUMNS]
            psnr = scores["clean/val"].get("PSNR", float("nan"))
            lines.append(f"| {row} | " + " | ".join(numbers) + f" | {psnr:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
