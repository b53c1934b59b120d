"""Make the golden picture that `corun doctor` clears: hazy above, its result below.

    python benchmarks/golden_picture.py

A rendered scene in known haze, and the result of the default model in float32 on the CPU. It goes
with the weights that ship: `benchmarks/release_weights.py` makes it anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import corun
from corun.data.scenes import render_scene
from corun.physics.scattering import add_haze
from corun.physics.transmission import depth_to_transmission

GOLDEN = Path(__file__).resolve().parents[1] / "src" / "corun" / "weights" / "golden.png"
SEED, BETA, AIRLIGHT = 3, 1.8, (0.86, 0.88, 0.91)
SIZE = (96, 128)


def main() -> None:
    scene = render_scene(*SIZE, SEED)
    airlight = torch.tensor(AIRLIGHT)[None, :, None, None]
    hazy = add_haze(scene.image[None], depth_to_transmission(scene.depth[None], BETA), airlight)
    samples = (hazy[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    clear = corun.load(device="cpu", dtype="float32", engine="torch")(
        np.ascontiguousarray(samples)
    ).image
    Image.fromarray(np.concatenate([samples, np.asarray(clear)])).save(GOLDEN, optimize=True)
    print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
