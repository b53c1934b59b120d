"""Rendered films with known truth: the clear film is as calm as the truth, and nearer to it.

The truth is the clear scene as the same camera would have filmed it, its noise included. Local
brightness is the mean over 16×16 pixels; its change is from frame to frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import pytest

from corun.data.scenes import Camera, render
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import load
from corun.dehazing.video.clearing import Clearing
from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.dehazing.video.source import Film, Moment, Reader, read_film
from video_films import make_film

SIZE = (240, 320)
NOISE = 3.0
AIRLIGHT = np.float32([0.85, 0.87, 0.90])
PICTURE = Path(__file__).resolve().parents[3] / "docs" / "images" / "video.png"
UPDATE = "CORUN_UPDATE_PICTURES"


class Rendered(NamedTuple):
    """A film in haze and the same without: uint8, and the noiseless truth in [0,255]."""

    hazy: list[np.ndarray]
    truth: list[np.ndarray]
    scene: list[np.ndarray]


def noisy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(picture.shape, np.float32) * np.sqrt(0.4 + 0.6 * picture)
    return np.clip(np.rint(255 * picture + NOISE * noise), 0, 255).astype(np.uint8)


def filmed(views: Iterator[tuple[np.ndarray, np.ndarray]], seed: int) -> Rendered:
    """Pairs of scene and transmission, through the haze and a camera with noise."""
    rng = np.random.default_rng(seed)
    film = Rendered([], [], [])
    for clean, T in views:
        film.hazy.append(noisy(clean * T[..., None] + AIRLIGHT * (1 - T[..., None]), rng))
        film.truth.append(noisy(clean, rng))
        film.scene.append(clean * 255)
    return film


def drifting(seed: int, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A still camera; patches of haze drift by half a pixel a frame."""
    scene = render(seed, *SIZE)
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)
    rng = np.random.default_rng(seed)
    patches = rng.standard_normal((SIZE[0], 3 * SIZE[1]), np.float32)
    patches = cv2.GaussianBlur(patches, (0, 0), SIZE[0] / 8)
    patches /= patches.std()
    for number in range(frames):
        patch = cv2.remap(patches, x + 0.5 * number, y, cv2.INTER_LINEAR)
        yield scene.clean, np.exp(-2 * np.clip(1 + 0.3 * patch, 0.2, 3) * scene.depth)


def panning(seed: int, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The camera turns to the right, by about a pixel a frame."""
    for number in range(frames):
        scene = render(seed, *SIZE, Camera(yaw=0.004 * number))
        yield scene.clean, np.exp(-2 * scene.depth)


def brightness(frames: list[np.ndarray]) -> np.ndarray:
    grey = np.stack(frames).astype(np.float32) @ np.float32([0.299, 0.587, 0.114])
    return grey.reshape(len(frames), SIZE[0] // 16, 16, SIZE[1] // 16, 16).mean((2, 4))


def change(frames: list[np.ndarray]) -> float:
    return float(np.abs(np.diff(brightness(frames), axis=0)).mean())


def contrast(frames: list[np.ndarray]) -> float:
    cells = brightness(frames)
    return float(np.abs(np.diff(cells, axis=1)).mean() + np.abs(np.diff(cells, axis=2)).mean())


def error(frames: list[np.ndarray], film: Rendered) -> float:
    """Root mean square, in 1/255."""
    return float(np.sqrt(np.square(np.stack(frames) - np.stack(film.scene)).mean()))


@pytest.fixture(scope="module")
def dehazer() -> Dehazer:
    return load("corun-lite", device="cpu")


def measured(dehazer: Dehazer, film: Rendered, facts: Film) -> tuple[list, list]:
    """The steady result, and that of each frame alone."""
    moments = [Moment(n, n, 1, rgb) for n, rgb in enumerate(film.hazy)]
    steady = [clear for _, clear in Clearing(dehazer, facts).of_file(moments, 0)]
    alone = [dehazer.apply(rgb, dehazer.maps([rgb])[0]) for rgb in film.hazy]
    return steady, alone


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Film:
    return read_film(make_film(tmp_path_factory.mktemp("film") / "film.mp4"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["drifting", "panning"])
def test_the_clear_film_is_as_calm_as_the_truth(dehazer: Dehazer, facts: Film, kind: str) -> None:
    changes, single, contrasts, errors = [], [], [], []
    for seed in (1, 2, 5):
        views = drifting(seed, 24) if kind == "drifting" else panning(seed, 24)
        film = filmed(views, seed)
        steady, alone = measured(dehazer, film, facts)
        print(f"{kind} {seed}: error {error(steady, film):.3f}, alone {error(alone, film):.3f}")
        errors.append((error(steady, film), error(alone, film)))
        changes.append(change(steady) / change(film.truth))
        single.append(change(alone) / change(film.truth))
        contrasts.append(contrast(steady) / contrast(film.truth))
    assert np.mean(errors, axis=0)[0] < np.mean(errors, axis=0)[1]
    ratio, before, excess = (float(np.mean(values)) for values in (changes, single, contrasts))
    print(f"{kind}: {ratio:.3f} of the truth's change, {before:.3f} frame by frame, ", end="")
    print(f"contrast {excess:.3f} of the truth's")
    # A clear film of more contrast than the truth changes more by as much: that is the network's.
    assert ratio <= 1.1 * max(1.0, excess)
    assert ratio < 0.75 * before


@pytest.mark.slow
def test_the_picture_of_the_documentation(dehazer: Dehazer, tmp_path: Path) -> None:
    """docs/images/video.png is what `--side-by-side` makes of a rendered pan, at three times."""
    hazy = tmp_path / "hazy.mp4"
    film = filmed(panning(5, 25), 5)
    make_film(
        hazy,
        stamps=[3600 * n for n in range(25)],
        pictures=film.hazy,
        size=SIZE,
        options={"crf": "12"},
    )
    both = tmp_path / "both.mp4"
    dehaze_video(hazy, both, dehazer, VideoOptions(side_by_side=True))
    shown = [moment.rgb for moment in Reader(both, read_film(both)).moments()]
    strip = np.concatenate([shown[n] for n in (0, 12, 24)], axis=0)
    if os.environ.get(UPDATE):
        coded = cv2.imencode(".png", strip[..., ::-1])[1]
        PICTURE.write_bytes(coded.tobytes())
    kept = cv2.imread(str(PICTURE))[..., ::-1]
    assert kept.shape == strip.shape == (3 * SIZE[0], 2 * SIZE[1], 3)
    half = SIZE[1]
    assert np.abs(kept[:, :half].astype(int) - strip[:, :half]).mean() < 3
    # The clear half follows the weights, and gets darker and richer than the haze with any of them.
    for picture in (kept, strip):
        assert picture[:, half:].std() > picture[:, :half].std() + 5
    with av.open(str(both)) as container:
        assert container.streams.video[0].average_rate == Fraction(25)
