"""Rows of photos, columns of methods, with zoomed insets where it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from corun.errors import ConfigurationError, DataError
from corun.evaluation.figures.figure_files import new_figure
from corun.pictures.colours import read_colours

INSET_COLOURS = ("#ff3b30", "#34c759", "#0a84ff")


@dataclass(frozen=True)
class Place:
    """A square part of a picture, as shares of its size: left and top in [0,1], side of width."""

    left: float
    top: float
    side: float


def parse_place(text: str) -> Place:
    """``LEFT,TOP,SIDE`` in shares of the picture, such as 0.4,0.3,0.15.

    Raises:
        ConfigurationError: not three numbers, or outside the picture.
    """
    try:
        left, top, side = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(f"{text}: a place is LEFT,TOP,SIDE, such as 0.4,0.3,0.15") from (
            error
        )
    if not (0 <= left < 1 and 0 <= top < 1 and 0 < side <= 1):
        raise ConfigurationError(f"{text}: LEFT and TOP are in [0,1), SIDE in (0,1]")
    return Place(left, top, side)


def comparison_grid(
    rows: Sequence[tuple[str, Mapping[str, Path]]],
    methods: Sequence[str],
    *,
    insets: Sequence[Place] | Literal["auto"] = (),
    column_width: float = 1.9,
) -> Any:
    """The figure.

    Args:
        rows: photo and its pictures by method; a method without one leaves its cell empty.
        methods: the columns.
        insets: parts shown enlarged below each picture; "auto" takes the one where the methods
            differ most.
        column_width: inches.

    Raises:
        DataError: nothing to show.
    """
    if not rows or not methods:
        raise DataError("nothing to show: a grid needs photos and methods")
    loaded = [(name, {m: _pixels(paths[m]) for m in methods if m in paths}) for name, paths in rows]
    places = [
        [_most_different(list(pictures.values()))] if insets == "auto" else list(insets)
        for _, pictures in loaded
    ]
    heights = []
    for (_, pictures), own in zip(loaded, places, strict=True):
        height, width = next(iter(pictures.values())).shape[:2] if pictures else (1, 1)
        heights.append(height / width + (1 / len(own) if own else 0))
    figure = new_figure(column_width * len(methods), column_width * sum(heights) + 0.3)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    bands = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for index, ((name, pictures), own) in enumerate(zip(loaded, places, strict=True)):
        _draw_row(bands[index], name, pictures, methods, own, titled=index == 0)
    return figure


def _draw_row(
    band: Any,
    name: str,
    pictures: Mapping[str, np.ndarray],
    methods: Sequence[str],
    places: Sequence[Place],
    *,
    titled: bool,
) -> None:
    count = max(1, len(places))
    any_picture = next(iter(pictures.values()), np.zeros((1, 1, 3)))
    share = any_picture.shape[0] / any_picture.shape[1]
    lines = 2 if places else 1
    grid = band.add_gridspec(
        lines, len(methods) * count, height_ratios=[share, 1 / count] if places else [1]
    )
    for column, method in enumerate(methods):
        axes = band.add_subplot(grid[0, column * count : (column + 1) * count])
        _bare(axes)
        if titled:
            axes.set_title(method, fontsize=9)
        if column == 0:
            axes.set_ylabel(name, fontsize=8)
        picture = pictures.get(method)
        if picture is None:
            axes.text(0.5, 0.5, "no result", ha="center", va="center")
            continue
        axes.imshow(picture, interpolation="nearest")
        for index, place in enumerate(places):
            left, top, side = _pixel_place(place, picture)
            colour = INSET_COLOURS[index % len(INSET_COLOURS)]
            axes.add_patch(_frame(left, top, side, colour))
            inset = band.add_subplot(grid[1, column * count + index])
            _bare(inset)
            inset.imshow(picture[top : top + side, left : left + side], interpolation="lanczos")
            for spine in inset.spines.values():
                spine.set(visible=True, color=colour, linewidth=1.5)


def _most_different(pictures: list[np.ndarray], side: float = 0.2) -> Place:
    """Where the methods disagree most: the square with the largest mean variance between them."""
    shapes = {picture.shape for picture in pictures}
    if len(pictures) < 2 or len(shapes) > 1:
        return Place(0.4, 0.4, side)
    variance = np.stack(pictures).astype(np.float64).var(axis=0).mean(axis=2)
    height, width = variance.shape
    window = max(1, min(round(side * width), height))
    summed = np.pad(variance.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    totals = (
        summed[window:, window:]
        - summed[:-window, window:]
        - summed[window:, :-window]
        + summed[:-window, :-window]
    )
    top, left = np.unravel_index(int(totals.argmax()), totals.shape)
    return Place(float(left) / width, float(top) / height, window / width)


def _pixel_place(place: Place, picture: np.ndarray) -> tuple[int, int, int]:
    """Left, top and side in pixels, inside the picture."""
    height, width = picture.shape[:2]
    side = max(1, min(round(place.side * width), width, height))
    left = min(round(place.left * width), width - side)
    top = min(round(place.top * height), height - side)
    return left, top, side


def _frame(left: int, top: int, side: int, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (left - 0.5, top - 0.5), side, side, fill=False, edgecolor=colour, linewidth=1.2
    )


def _bare(axes: Any) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _pixels(path: Path) -> Float[np.ndarray, "h w 3"]:
    return read_colours(path)
