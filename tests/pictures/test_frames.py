"""A uniform frame is told from a sky, on any sides and in any colour."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corun.pictures.colours import read_colours
from corun.pictures.frames import inside_frame


def scene(height: int = 60, width: int = 80) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 0.1, (height, width, 3))
    return np.clip(0.6 + noise, 0, 1).astype(np.float32)


def framed(
    picture: np.ndarray, sides: tuple[int, int, int, int], colour: tuple[float, ...]
) -> np.ndarray:
    top, bottom, left, right = sides
    height, width = picture.shape[:2]
    result = np.empty((height + top + bottom, width + left + right, 3), np.float32)
    result[:] = colour
    result[top : top + height, left : left + width] = picture
    return result


@pytest.mark.parametrize("colour", [(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (0.8, 0.1, 0.2)])
@pytest.mark.parametrize(
    "sides", [(20, 20, 0, 0), (0, 0, 9, 30), (7, 0, 0, 0), (0, 2, 0, 0), (0, 0, 0, 5), (3, 4, 5, 6)]
)
def test_a_frame_is_found(sides: tuple[int, int, int, int], colour: tuple[float, ...]) -> None:
    top, _, left, _ = sides
    rows, columns = slice(top, top + 60), slice(left, left + 80)
    assert inside_frame(framed(scene(), sides, colour)) == (rows, columns)


def test_frames_in_frames_are_found() -> None:
    inner = framed(scene(), (4, 4, 4, 4), (1, 1, 1))
    assert inside_frame(framed(inner, (20, 20, 0, 0), (0, 0, 0))) == (slice(24, 84), slice(4, 84))


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_a_frame_of_a_jpeg_is_found_up_to_a_block(quality: int) -> None:
    picture = framed(scene(), (20, 20, 0, 0), (0, 0, 0))
    with io.BytesIO() as file:
        Image.fromarray((picture * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
        read = np.asarray(Image.open(file)).astype(np.float32) / 255
    inside = inside_frame(read)
    assert inside is not None
    assert 12 <= inside[0].start <= 20
    assert 80 <= inside[0].stop <= 88


def sky_over_roofs() -> np.ndarray:
    picture = np.ones((60, 80, 3), np.float32)
    picture[40:] = scene(20)
    for column in (10, 40, 70):
        picture[20:40, column : column + 6] = 0.3
    return picture


def horizon() -> np.ndarray:
    """A foggy sky that darkens towards the ground."""
    shade = np.concatenate([np.full(30, 0.8), np.linspace(0.8, 0.5, 60)]).astype(np.float32)
    return np.broadcast_to(shade[:, None, None], (90, 80, 3))


@pytest.mark.parametrize(
    "picture",
    [
        scene(),
        sky_over_roofs(),
        horizon(),
        np.zeros((40, 50, 3), np.float32),
        framed(scene(), (1, 1, 0, 0), (0, 0, 0)),
        framed(scene(12, 80), (20, 20, 0, 0), (0, 0, 0)),
    ],
    ids=["noise", "roofs", "horizon", "uniform", "a line", "a strip"],
)
def test_what_is_no_frame_stays(picture: np.ndarray) -> None:
    assert inside_frame(picture) is None


def test_the_case(shared: Path) -> None:
    picture = read_colours(shared / "cases" / "letterbox_black.png")
    assert inside_frame(picture) == (slice(40, 240), slice(0, 320))
    assert inside_frame(read_colours(shared / "cases" / "base320.png")) is None
