"""Put haze of known density on a rendered scene, remove it, and compare: no photo needed.

python examples/known_haze.py [MODEL]
"""

from __future__ import annotations

import sys

import torch

import corun
from corun.data.scenes import render_scene
from corun.metrics.full_reference import psnr
from corun.physics.scattering import add_haze, remove_haze
from corun.physics.transmission import depth_to_transmission


def main(model: str = "corun-lite", height: int = 256, width: int = 384) -> None:
    scene = render_scene(height, width, seed=3)
    truth = scene.image[None]
    airlight = torch.tensor([0.9, 0.93, 0.95])[None, :, None, None]
    dehazer = corun.load(model)
    print("beta   hazy  dehazed  with known t and A   PSNR in dB")
    for beta in (0.5, 1.5, 2.5):
        transmission = depth_to_transmission(scene.depth[None], beta)
        hazy = add_haze(truth, transmission, airlight)
        clear = dehazer(hazy).image
        inverted = remove_haze(hazy, transmission, airlight)
        scores = (float(psnr(picture, truth)) for picture in (hazy, clear, inverted))
        print("{:4.1f}  {:5.2f}  {:7.2f}  {:18.2f}".format(beta, *scores))


if __name__ == "__main__":
    main(*sys.argv[1:2])
