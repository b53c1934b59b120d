"""The ablation table of Colabator: each row adapts corun-lite with one recipe and is scored.

    python benchmarks/colabator_ablation.py --shared ../shared --out runs/ablation --seeds 1 2
    python benchmarks/colabator_ablation.py --shared ../shared --out runs/ablation --score-only

A row whose weights exist is not trained again, one that was interrupted is resumed, and one that
was scored is not scored again (other settings need another ``--out``), so rows and seeds can be
shared out among processes with the same ``--out``; a last call with all of them makes the
table. Every row is scored on ``data/real/val`` and ``data/fattal`` (FADE, BRISQUE, embedded Q
and D, mean brightness, crushed fraction) and on synthetic haze over ``data/clean/val`` (PSNR).
The table, printed as Markdown and written beside the runs, has the mean over the seeds, and half
the distance between the outermost of them where there are several.
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
    "everything, pre-training terms kept": (
        "adaptation.colour=2.5",
        "adaptation.structure=0.375",
        "adaptation.gradient=1.25",
        "adaptation.contrastive_synthetic=0.25",
        "adaptation.contrastive_range=[0.05,0.25]",
        "adaptation.contrastive_shrink=2",
        "adaptation.contrastive_parts=2",
        "adaptation.vgg_layers=[relu1_2,relu2_2,relu3_1]",
        "adaptation.vgg_layer_weights=[0.1,0.2,0.7]",
    ),
}
"""What each row changes in the recipe; the first adapts nothing."""
Scores = dict[str, dict[str, float]]
"""Of one network: set of photos, then score."""
COLUMNS = ("FADE", "BRISQUE", "Q", "D", "brightness", "crushed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--start", default="corun-lite", help="the pre-trained network")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--score-only", action="store_true")
    parser.add_argument("--long-side", type=int, default=640)
    parser.add_argument("--photos", type=int, default=0, help="of each set; 0 for all")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE for every recipe")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scorer = Scorer(options.shared, options.long_side, options.photos)
    results: dict[str, list[Scores]] = {}
    for row in options.rows:
        # What is not adapted has no seed.
        for seed in options.seeds if ROWS[row] is not None else options.seeds[:1]:
            found = scores_of(row, seed, options, scorer)
            if found is None:
                print(f"{row}, seed {seed}: no weights yet, left out")
                continue
            results.setdefault(row, []).append(found)
            print(f"{row}, seed {seed}: {json.dumps(found)}", flush=True)
    table = as_table(results)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "ablation.md").write_text(table, encoding="utf-8")
    print(table)


def scores_of(row: str, seed: int, options: argparse.Namespace, scorer: Scorer) -> Scores | None:
    """Trains and scores one row with one seed, as far as that is not done.

    Returns:
        Its scores by set of photos; None where only scores are wanted and there are no weights.
    """
    data, changes = options.shared / "data", ROWS[row]
    folder = options.out / row.replace(", ", "-").replace(" ", "-")
    if changes is not None:
        folder /= f"seed-{seed}"
    weights = options.start if changes is None else str(folder / "weights.safetensors")
    done = folder / "scores.json"
    settings = {
        name: getattr(options, name) for name in ("start", "long_side", "photos", "overrides")
    }
    if done.exists():
        found = json.loads(done.read_text(encoding="utf-8"))
        if found["settings"] != settings:
            raise SystemExit(f"{done}: of {found['settings']}; give another --out")
        return found["scores"]
    if changes is not None and not Path(weights).exists():
        if options.score_only:
            return None
        colabator.run(
            RECIPE,
            [
                f"run.folder={folder}",
                f"run.seed={seed}",
                f"network.name={options.start}",
                f"synthetic.clean={data / 'clean' / 'train'}",
                f"synthetic.depth={data / 'depth' / 'train'}",
                f"real.folder={data / 'real' / 'train'}",
                f"validation.clean={data / 'clean' / 'val'}",
                f"validation.depth={data / 'depth' / 'val'}",
                f"validation.real={data / 'real' / 'val'}",
                f"adaptation.vgg={options.shared / 'weights' / 'vgg19_relu3_1.pth'}",
                *changes,
                *options.overrides,
            ],
        )
    network = open_network(weights).eval()
    scores = {name: scorer(network, data / name) for name in ("real/val", "fattal")}
    synthetic = ValidationConfig(
        clean=data / "clean" / "val", depth=data / "depth" / "val", side=256
    )
    scores["clean/val"] = known_scores(network, validation_sets(synthetic))
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = done.with_suffix(".part")
    text = json.dumps({"settings": settings, "scores": scores}, indent=1)
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(done)
    return scores


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


def as_table(results: dict[str, list[Scores]]) -> str:
    """The rows as Markdown, one table for each set of photos: the mean over the seeds, ± half of
    the distance between the outermost where there are several."""

    def cell(values: list[float], digits: int) -> str:
        spread = f" ± {(max(values) - min(values)) / 2:.{digits}f}" if len(values) > 1 else ""
        return f"{np.mean(values):.{digits}f}{spread}"

    lines = []
    for name in ("real/val", "fattal"):
        lines += [f"\n{name}\n", "| row | " + " | ".join(COLUMNS) + " | PSNR clean/val |"]
        lines.append("|---|" + "---|" * (len(COLUMNS) + 1))
        for row, seeds in results.items():
            cells = [cell([one[name][column] for one in seeds], 3) for column in COLUMNS]
            cells.append(cell([one["clean/val"].get("PSNR", float("nan")) for one in seeds], 2))
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
