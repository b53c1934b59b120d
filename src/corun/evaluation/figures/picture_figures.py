"""What a network sees and does in one picture: stages, haze density, detections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corun.errors import ConfigurationError, DataError, MissingExtraError
from corun.evaluation.figures.figure_files import new_figure
from corun.metrics.detection import Detections
from corun.networks.corun import CORUN

SHOWN_SCORE = 0.3
"""Detections below this confidence are not drawn."""


LEAST = 16
"""Height and width that FADE needs."""


def stages_figure(network: CORUN, hazy: Float[Tensor, "1 3 h w"]) -> Any:
    """J and T of every stage, before and after their priors, beside the photo and the result.

    Args:
        network: in evaluation mode.
        hazy: P, RGB, sRGB-encoded, [0,1].
    """
    if not isinstance(network, CORUN):
        raise ConfigurationError(f"{type(network).__name__}: only CORUN has stages to show")
    with torch.no_grad():
        unfolding = network.unfold(hazy)
    stages = unfolding.stages
    share = hazy.shape[-2] / hazy.shape[-1]
    count = len(stages)
    figure = new_figure(2.0 * (count + 1), 2.0 * 4 * share + 0.6)
    axes = figure.subplots(4, count + 1, squeeze=False)
    for row in axes:
        for cell in row:
            cell.set_axis_off()
    axes[0, 0].set_axis_on()
    _show(axes[0, 0], hazy[0], "P")
    axes[3, 0].set_axis_on()
    _show(axes[3, 0], unfolding.output.scene[0], "J")
    for index, stage in enumerate(stages, 1):
        parts = (
            (f"T̂ {index}", stage.transmission_hat),
            (f"T {index}", stage.transmission),
            (f"Ĵ {index}", stage.scene_hat),
            (f"J {index}", stage.scene),
        )
        for row, (title, tensor) in enumerate(parts):
            axes[row, index].set_axis_on()
            _show(axes[row, index], tensor[0], title)
    return figure


def density_figure(pictures: Mapping[str, Float[np.ndarray, "h w 3"]]) -> Any:
    """Pictures above their FADE density maps, on one colour scale.

    Args:
        pictures: title → RGB in [0,1].

    Raises:
        DataError: a picture is too small.
        MissingExtraError: fade-python is not installed.
    """
    try:
        import pyfade
    except ImportError as error:
        raise MissingExtraError("fade-python", "metrics") from error
    maps, scores = {}, {}
    for title, picture in pictures.items():
        height, width = picture.shape[:2]
        if min(height, width) < LEAST:
            raise DataError(
                f"{title}: is {width}×{height}, and FADE needs at least {LEAST}×{LEAST} pixels"
            )
        levels = np.round(picture * 255).astype(np.uint8)
        score, density = pyfade.fade(levels, return_map=True)
        maps[title], scores[title] = np.asarray(density), float(score)
    height, width = next(iter(pictures.values())).shape[:2]
    figure = new_figure(2.4 * len(pictures) + 0.5, 4.8 * height / width + 0.6)
    axes = figure.subplots(2, len(pictures), squeeze=False)
    top = max(float(np.percentile(density, 99)) for density in maps.values())
    drawn = None
    for column, (title, picture) in enumerate(pictures.items()):
        axes[0, column].imshow(picture)
        axes[0, column].set_title(title)
        drawn = axes[1, column].imshow(maps[title], vmin=0, vmax=top, cmap="viridis")
        axes[1, column].set_title(f"FADE {scores[title]:.3f}")
        for row in (0, 1):
            axes[row, column].set(xticks=[], yticks=[])
    if drawn is not None:
        figure.colorbar(drawn, ax=list(axes[1]), shrink=0.8, label="haze density")
    return figure


def detection_figure(
    pictures: Mapping[str, Float[np.ndarray, "h w 3"]], found: Mapping[str, Detections]
) -> Any:
    """Pictures with what was detected in each, side by side.

    Args:
        pictures: title → RGB in [0,1].
        found: title → detections in its pixels.
    """
    from matplotlib.patches import Rectangle

    height, width = next(iter(pictures.values())).shape[:2]
    figure = new_figure(4.0 * len(pictures), 4.0 * height / width + 0.4)
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for cell, (title, picture) in zip(axes, pictures.items(), strict=True):
        cell.imshow(picture)
        cell.set(xticks=[], yticks=[])
        detections = found[title]
        sure = detections.scores >= SHOWN_SCORE
        cell.set_title(f"{title}: {int(sure.sum())} found")
        for index in np.flatnonzero(sure):
            x, y, right, bottom = detections.boxes[index]
            label = detections.labels[index]
            colour = f"C{sum(label.encode()) % 10}"  # a class keeps its colour between pictures
            cell.add_patch(Rectangle((x, y), right - x, bottom - y, fill=False, edgecolor=colour))
            cell.text(
                x,
                y,
                f"{label} {detections.scores[index]:.2f}",
                fontsize=6,
                color="white",
                va="bottom",
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5},
            )
    return figure


def _show(axes: Any, image: Tensor, title: str) -> None:
    levels = image.detach().cpu().float().clamp(0, 1).permute(1, 2, 0).numpy()
    if levels.shape[2] == 1:
        axes.imshow(levels[..., 0], cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(levels)
    axes.set_title(title, fontsize=8)
    axes.set(xticks=[], yticks=[])
