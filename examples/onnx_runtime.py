"""Clear a photo with ONNX Runtime alone: no torch, no corun.

    corun export corun-lite -o lite.onnx
    python examples/onnx_runtime.py lite.onnx hazy.jpg clear.png

Needs onnxruntime, numpy and pillow. The graph takes pictures of any size.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(graph: Path, source: Path, target: Path) -> None:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    with Image.open(source) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    hazy = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255  # (1,3,H,W), RGB, [0,1]
    scene, transmission, airlight = session.run(
        ["scene", "transmission", "airlight"], {"hazy": hazy}
    )
    clear = (scene[0].transpose(1, 2, 0) * 255).round().astype(np.uint8)
    Image.fromarray(clear).save(target)
    colour = ", ".join(f"{value:.2f}" for value in airlight.ravel())
    print(f"{target}: mean transmission {transmission.mean():.2f}, airlight {colour}")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
