"""`corun demo`: a rendered scene, haze with known transmission and airlight, and its removal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from corun.apps import options
from corun.errors import ImageFileError, escaped


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the pictures.")
    ] = Path("corun-demo"),
    model: options.Model = "corun-lite",
    seed: Annotated[int, typer.Option(min=0, help="Which scene.")] = 0,
    density: Annotated[
        float, typer.Option(min=0.0, help="Density of the haze, beta in t = exp(-2 beta d).")
    ] = 2.5,
    width: Annotated[int, typer.Option(min=1, help="Pixels.")] = 640,
    height: Annotated[int, typer.Option(min=1, help="Pixels.")] = 400,
    device: options.Device = "auto",
    trust: options.Trust = False,
    overwrite: options.Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Render a hazy scene, dehaze it, and compare with the known truth; needs no photo.

    Writes hazy.png, dehazed.png, truth.png, transmission.png (the estimate) and
    before_after.png: hazy | dehazed | truth.
    """
    from corun.dehazing.loading import load
    from corun.dehazing.rendered_demo import run_demo

    names = ("hazy", "dehazed", "truth", "transmission", "before_after")
    existing = [path for name in names if (path := output / f"{name}.png").exists()]
    if existing and not overwrite:
        raise ImageFileError(f"{existing[0]}: exists already; add --overwrite or choose -o")
    dehazer = load(model, device=device, trust=trust)
    result = run_demo(dehazer, output, seed=seed, density=density, size=(height, width))
    if as_json:
        numbers = result._asdict()
        for name, value in numbers.items():  # equal pictures: infinite, which JSON cannot say
            if isinstance(value, float) and not math.isfinite(value):
                numbers[name] = None
        print(json.dumps(numbers))
        return
    print(f"hazy    against the truth: PSNR {result.hazy_psnr:.2f} dB")
    print(f"dehazed against the truth: PSNR {result.dehazed_psnr:.2f} dB  ({dehazer.name})")
    if result.transmission_error is not None:
        print(f"mean error of the transmission: {result.transmission_error:.3f}")
    print(escaped(f"pictures: {output / 'before_after.png'}"))
