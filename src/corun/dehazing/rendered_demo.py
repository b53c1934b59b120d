"""A demonstration with the truth at hand: rendered scene, known haze, dehazed, compared."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from corun.data.scenes import render
from corun.dehazing.dehazed import Dehazed
from corun.dehazing.dehazer import Dehazer
from corun.errors import ImageFileError, system_errors_as
from corun.physics.scattering import add_haze
from corun.shapes import Float

AIRLIGHT = (0.92, 0.94, 0.96)
"""A of the demonstration's haze, RGB in [0,1]: a bright, slightly bluish sky."""

GAP = 8
"""White columns between the pictures of the comparison."""


class DemoResult(NamedTuple):
    """How near the dehazed scene came to the truth.

    Attributes:
        model: what dehazed it.
        hazy_psnr: of the hazy picture against the truth, dB, peak 1; ∞ if equal.
        dehazed_psnr: of the dehazed picture against the truth, dB, peak 1.
        transmission_error: mean |t − t_true|, unitless, None if the model estimates none.
    """

    model: str
    hazy_psnr: float
    dehazed_psnr: float
    transmission_error: float | None


def run_demo(
    dehazer: Dehazer, folder: Path, *, seed: int, density: float, size: tuple[int, int]
) -> DemoResult:
    """Renders, hazes, dehazes, writes the pictures and measures.

    Args:
        dehazer: what is demonstrated.
        folder: where hazy.png, dehazed.png, truth.png, transmission.png and before_after.png go;
            it is made, and what is there is replaced.
        seed: which scene.
        density: β in t = exp(−2·β·d), d the rendered depth in [0,1].
        size: height and width, pixels.

    Raises:
        ImageFileError: the folder or a picture cannot be written.
    """
    scene = render(seed, *size)
    truth = scene.clean
    t_true = np.exp(-2 * np.float32(density) * scene.depth)
    hazy = add_haze(truth, t_true[:, :, None], np.array(AIRLIGHT, np.float32))
    result = dehazer(hazy)
    clear, t = result.image, result.transmission
    with system_errors_as(ImageFileError, f"{folder}: cannot be made", "choose another -o"):
        folder.mkdir(parents=True, exist_ok=True)
    pictures = {"hazy": _image(hazy), "dehazed": _image(clear), "truth": _image(truth)}
    pictures["before_after"] = _side_by_side([pictures[n] for n in ("hazy", "dehazed", "truth")])
    for name, picture in pictures.items():
        Dehazed(picture, None, None).save(folder / f"{name}.png", overwrite=True)
    transmission_error = None
    if t is not None:
        result.save_transmission(folder / "transmission.png", overwrite=True)
        transmission_error = float(np.abs(t - t_true).mean())
    before, after = (_psnr(picture, truth) for picture in (hazy, clear))
    return DemoResult(dehazer.name, before, after, transmission_error)


def _psnr(picture: Float[np.ndarray, "h w 3"], truth: Float[np.ndarray, "h w 3"]) -> float:
    """Peak signal-to-noise ratio, peak 1, dB; ∞ for equal pictures."""
    error = float(np.mean((picture.astype(np.float64) - truth) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def _image(picture: Float[np.ndarray, "h w 3"]) -> Image.Image:
    return Image.fromarray(np.rint(picture.clip(0, 1) * 255).astype(np.uint8))


def _side_by_side(pictures: list[Image.Image]) -> Image.Image:
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    canvas = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width + GAP
    return canvas
