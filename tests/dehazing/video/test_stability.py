"""Maps over time: calm where the world is, never late, nothing of another scene in them."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from corun.dehazing.maps import FrameMaps
from corun.dehazing.video.motion import motion_between, small_picture
from corun.dehazing.video.stability import Look, steadied

GRID = (30, 40)
COVERED = (120, 160)


def texture(seed: int, height: int = 120, width: int = 400) -> np.ndarray:
    """RGB, [0,1], of random soft shapes of several sizes."""
    rng = np.random.default_rng(seed)
    total = sum(
        cv2.resize(rng.random((height // size, width // size, 3)), (width, height), interpolation=2)
        for size in (4, 8, 16)
    )
    return np.asarray(total / 3)


def frame(seed: int, shift: int = 0, noise: float = 0.0, light: float = 1.0) -> np.ndarray:
    """A view of the texture, uint8, (120,160,3)."""
    view = texture(seed)[:, shift : shift + 160] * light
    view = view + noise * np.random.default_rng(seed + shift).standard_normal(view.shape)
    return np.clip(np.rint(view * 255), 0, 255).astype(np.uint8)


def maps_of(gain: float | np.ndarray, offset: float | np.ndarray) -> FrameMaps:
    coefficients = np.empty((*GRID, 4), np.float32)
    coefficients[..., 0] = gain
    coefficients[..., 1:] = np.asarray(offset)[..., None] if np.ndim(offset) else offset
    return FrameMaps(coefficients, np.ones(GRID, np.float32), np.ones(3, np.float32), COVERED)


def looks_of(pictures: list[np.ndarray], maps: list[FrameMaps | None]) -> list[Look[int]]:
    small = [small_picture(picture, GRID, COVERED) for picture in pictures]
    motions = [None, *(motion_between(a, b) for a, b in itertools.pairwise(small))]
    return [
        Look(number, s, m, own)
        for number, (s, m, own) in enumerate(zip(small, motions, maps, strict=True))
    ]


def steady(looks: list[Look[int]], reach: int = 4, ahead: int | None = None) -> list[np.ndarray]:
    found = list(steadied(looks, behind=reach, ahead=reach if ahead is None else ahead))
    assert [payload for payload, _ in found] == list(range(len(looks)))
    return [maps.coefficients for _, maps in found]


def scene(look: Look[int], coefficients: np.ndarray) -> np.ndarray:
    """J at cells."""
    return coefficients[..., 1:] + coefficients[..., :1] * look.small.cells


def test_flicker_of_a_still_scene_goes() -> None:
    rng = np.random.default_rng(0)
    pictures = [frame(1, noise=0.01) for _ in range(20)]
    noisy = [maps_of(2 + rng.normal(0, 0.1, GRID), -0.5 + rng.normal(0, 0.1)) for _ in pictures]
    looks = looks_of(pictures, list(noisy))
    result = steady(looks)

    def unrest(coefficients: list[np.ndarray]) -> float:
        scenes = [scene(look, c) for look, c in zip(looks, coefficients, strict=True)]
        return float(np.abs(np.diff(scenes[4:-4], axis=0)).mean())

    assert unrest(result) < unrest([maps.coefficients for maps in noisy]) / 6


def test_what_changes_steadily_is_neither_early_nor_late() -> None:
    pictures = [frame(1)] * 15
    looks = looks_of(pictures, [maps_of(2.0, 0.01 * number) for number in range(15)])
    result = steady(looks)
    for number in range(4, 11):
        expected = looks[number].maps.coefficients  # type: ignore[union-attr]
        assert np.abs(result[number] - expected).max() < 1e-4


def test_maps_follow_the_motion() -> None:
    """A pan over a scene that is known everywhere: the mean is sharp, not smeared."""
    rng = np.random.default_rng(3)
    pictures = [frame(1, 6 * number) for number in range(13)]
    maps = [maps_of(2.0, -0.5 + rng.normal(0, 0.1, GRID)) for _ in pictures]
    looks = looks_of(pictures, list(maps))
    inner = np.s_[3:-3, 8:-8]
    truth = 2 * looks[6].small.cells - 0.5
    scenes = [scene(look, own.coefficients) for look, own in zip(looks, maps, strict=True)]
    error = np.abs(scene(looks[6], steady(looks)[6]) - truth)[inner].mean()
    assert error < 0.6 * np.abs(scenes[6] - truth)[inner].mean()
    assert error < 0.6 * np.abs(np.mean(scenes[2:11], axis=0) - truth)[inner].mean()


def test_a_frame_unlike_its_neighbours_shows_nothing_of_their_scene() -> None:
    """Lightning in a frame that the network did not look at: the haze goes, the flash stays."""
    flash = np.minimum(frame(1).astype(int) + 70, 255).astype(np.uint8)
    pictures = [frame(1)] * 3 + [flash] + [frame(1)] * 3
    maps: list[FrameMaps | None] = [maps_of(1.5, -0.2)] * 3 + [None] + [maps_of(1.5, -0.2)] * 3
    looks = looks_of(pictures, maps)
    for look in looks[1:]:
        look.motion = look.motion._replace(cut=False)  # type: ignore[union-attr]
    result = scene(looks[3], steady(looks)[3])
    assert np.abs(result - (1.5 * looks[3].small.cells - 0.2)).mean() < 0.01


@pytest.mark.parametrize("ahead", [0, 4])
def test_a_cut_shows_no_ghost(ahead: int) -> None:
    """The frames of a scene get the very maps that they get without the other scene."""
    rng = np.random.default_rng(5)
    first = [frame(1, 2 * n, noise=0.01) for n in range(7)]
    second = [frame(20, 2 * n, noise=0.01, light=0.9) for n in range(7)]
    maps = [maps_of(2 + rng.normal(0, 0.2, GRID), rng.normal(0, 0.2)) for _ in range(14)]
    together = looks_of(first + second, list(maps))
    assert [look.begins for look in together] == [n in (0, 7) for n in range(14)]
    joint = steady(together, ahead=ahead)
    alone = steady(looks_of(second, list(maps[7:])), ahead=ahead)
    before = steady(looks_of(first, list(maps[:7])), ahead=ahead)
    for one, other in zip(joint, [*before, *alone], strict=True):
        assert np.array_equal(one, other)


def test_noise_drifting_light_and_motion_are_no_cuts() -> None:
    pictures = [frame(1, 5 * n, noise=0.03, light=1 - 0.02 * n) for n in range(12)]
    looks = looks_of(pictures, [maps_of(1.0, 0.0)] * 12)
    assert not any(look.begins for look in looks[1:])


def test_where_the_picture_does_not_follow_the_frame_stands_for_itself() -> None:
    """A lamp goes on: its corner is not averaged with the dark before it."""
    dark, lit = frame(1), frame(1).copy()
    lit[12:72, 12:72] = np.minimum(lit[12:72, 12:72].astype(int) + 100, 255).astype(np.uint8)
    maps = [maps_of(1.0, 0.0)] * 4 + [maps_of(1.0, 0.5)] * 4
    looks = looks_of([dark] * 4 + [lit] * 4, list(maps))
    assert not looks[4].begins
    result = steady(looks)
    lamp = np.s_[9:12, 9:12]
    assert np.abs(scene(looks[4], result[4])[lamp] - looks[4].small.cells[lamp] - 0.5).max() < 0.02
    assert np.abs(scene(looks[3], result[3])[lamp] - looks[3].small.cells[lamp]).max() < 0.02


def test_a_frame_without_maps_gets_its_neighbours() -> None:
    pictures = [frame(1, 2 * n) for n in range(9)]
    maps: list[FrameMaps | None] = [maps_of(2.0, -0.3) if n % 2 == 0 else None for n in range(9)]
    for coefficients in steady(looks_of(pictures, maps)):
        assert np.abs(coefficients[3:-3, 3:-3, 0] - 2).max() < 1e-4
        assert np.isfinite(coefficients).all()


def test_sixteen_bits_and_eight_are_the_same_picture() -> None:
    eight = frame(1)
    deep = small_picture(eight.astype(np.uint16) * 257, GRID, COVERED)
    small = small_picture(eight, GRID, COVERED)
    assert np.abs(deep.cells - small.cells).max() < 0.004
    assert np.abs(deep.grey.astype(int) - small.grey).max() <= 6


def test_padding_is_what_the_network_sees() -> None:
    """Where the network pads by reflection, so do the cells."""
    picture = frame(1)[:113, :157]
    padded = np.pad(picture, ((0, 7), (0, 3), (0, 0)), mode="reflect")
    one, other = (small_picture(p, GRID, COVERED) for p in (picture, padded))
    assert np.array_equal(one.cells, other.cells)
