"""Haze density without a reference: FADE and HazDesNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from corun.errors import MissingExtraError
from corun.networks.hazdesnet import load_hazdesnet


def fade(picture: UInt8[np.ndarray, "h w 3"]) -> float:
    """Fog Aware Density Evaluator: how foggy a picture looks.

    D = D_f/(1 + D_ff), the Mahalanobis-like distances of 12 statistics of 8×8 patches from those of
    fog-free and of foggy photos (Choi, You and Bovik, "Referenceless Prediction of Perceptual Fog
    Density and Perceptual Image Defogging", TIP 2015). Lower is clearer; ≥ 0, usually 0.1 to 5.
    It rewards darkening and over-saturation: never report it alone.

    Computed by the package ``fade-python``, which agrees with the authors' MATLAB code to 1e-3.

    Args:
        picture: RGB, sRGB-encoded, 0–255, at least 8×8 pixels.

    Raises:
        MissingExtraError: fade-python is not installed.
        ValueError: the picture is smaller than a patch.
    """
    return float(_fade_array()(picture))


def fade_map(picture: UInt8[np.ndarray, "h w 3"]) -> tuple[float, Float[np.ndarray, "ph pw"]]:
    """FADE and its map of densities, one value per patch of 8×8 pixels.

    Args:
        picture: RGB, sRGB-encoded, 0–255.

    Returns:
        The picture's score, and the patches' densities, ≥ 0, (⌊h/8⌋, ⌊w/8⌋). The score is the ratio
        of mean distances, not the mean of the map.
    """
    score, density = _fade_array()(picture, return_map=True)
    return float(score), np.asarray(density, dtype=np.float64)


def hazdesnet_scorer(weights: Path) -> Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b"]]:
    """A function that scores pictures with HazDesNet: the mean of its density map.

    In (0,1), lower is clearer. RGB, [0,1], at least 32×32 pixels.

    Raises:
        WeightsError: the file is missing or not HazDesNet's.
        MissingExtraError: h5py is not installed.
    """
    network = load_hazdesnet(weights)

    def score(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b"]:
        with torch.inference_mode():
            density: Tensor = network(pictures.float())
            return density.mean((1, 2, 3), dtype=torch.float64)

    return score


def _fade_array() -> Callable[..., Any]:
    try:
        from pyfade import fade_array
    except ImportError as error:
        raise MissingExtraError("fade-python", "metrics") from error
    function: Callable[..., Any] = fade_array
    return function
