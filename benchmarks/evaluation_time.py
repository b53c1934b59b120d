"""What `corun evaluate` spends on a folder of photos beyond FADE.

    python benchmarks/evaluation_time.py [--photos 100] [--jobs 2] \\
        --brisque-model allmodel --brisque-range allrange

Rendered hazy scenes of 640×480 are scored as a folder of results, each time into a fresh output
folder: by FADE alone, and by FADE, BRISQUE, NIQE and the guards together. Both commands run in
turn, in this run; printed are their wall times and the ratio. The evaluation is bounded by FADE
where the ratio stays below 2.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from corun.data.scenes import render_scene
from corun.physics.scattering import add_haze
from corun.physics.transmission import depth_to_transmission

GUARDS = ("brightness", "contrast", "colourfulness", "crushed", "clipped", "hue-shift")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--brisque-model", type=Path, required=True)
    parser.add_argument("--brisque-range", type=Path, required=True)
    options = parser.parse_args()
    weights = [
        *("--weights", f"brisque_model={options.brisque_model.resolve()}"),
        *("--weights", f"brisque_range={options.brisque_range.resolve()}"),
    ]
    seconds: dict[str, list[float]] = {"FADE": [], "everything": []}
    metrics = {
        "FADE": "fade",
        "everything": ",".join(("fade", "brisque", "niqe-embedded", *GUARDS)),
    }
    with tempfile.TemporaryDirectory() as folder:
        photos = render(Path(folder) / "photos", options.photos)
        for _ in range(options.rounds):
            for name, chosen in metrics.items():
                out = Path(folder) / "out"
                command = [sys.executable, "-m", "corun", "evaluate", "-m", "input"]
                command += ["-d", f"scenes:folder={photos}", "-o", str(out), "--metrics", chosen]
                command += ["--jobs", str(options.jobs), *weights]
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - start)
                shutil.rmtree(out)
    fade, everything = (statistics.median(seconds[name]) for name in ("FADE", "everything"))
    print(
        f"{options.photos} photos, {options.jobs} process(es): FADE {fade:.1f} s, "
        f"FADE, BRISQUE, NIQE and guards {everything:.1f} s: ×{everything / fade:.2f}"
    )


def render(folder: Path, count: int) -> Path:
    """Hazy scenes as PNG."""
    folder.mkdir()
    for seed in range(count):
        scene = render_scene(480, 640, seed)
        transmission = depth_to_transmission(scene.depth[None], 0.3 + 0.01 * (seed % 100))
        hazy = add_haze(scene.image[None], transmission, torch.tensor(0.8))[0].clamp(0, 1)
        levels = (hazy * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(levels).save(folder / f"{seed:03d}.png")
    return folder


if __name__ == "__main__":
    main()
