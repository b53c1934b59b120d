"""What camera and file add after the haze, by its definition."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from corun.data.camera import (
    CameraConfig,
    add_camera_noise,
    compress_jpeg,
    live_earlier_life,
    log_uniform,
)


def flat(value: float, side: int = 128) -> np.ndarray:
    return np.full((side, side, 3), value, np.float32)


def textured(height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(1).random((7, 9, 3), np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


@pytest.mark.parametrize("level", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("denoised", [0.0, 1.0])
def test_noise_grows_with_the_light_and_keeps_its_strength_when_smooth(
    level: float, denoised: float
) -> None:
    config = CameraConfig(
        noise_sigma=(4.0, 4.0), denoised_probability=denoised, blotch_probability=0.0
    )
    spreads, neighbours = [], []
    for seed in range(8):
        noise = add_camera_noise(flat(level), config, np.random.default_rng(seed)) - level
        spreads.append(noise.std() * 255)
        neighbours.append(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1])
    assert np.mean(spreads) == pytest.approx(4 * np.sqrt(0.4 + 0.6 * level), rel=0.1)
    assert (np.mean(neighbours) > 0.2) == bool(denoised)


def test_noise_is_between_colour_and_grey() -> None:
    config = CameraConfig(denoised_probability=0.0, blotch_probability=0.0)
    correlations = []
    for seed in range(30):
        noise = add_camera_noise(flat(0.5, 48), config, np.random.default_rng(seed)) - 0.5
        correlations.append(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1])
    assert min(correlations) < 0.2
    assert max(correlations) > 0.8


def test_blotches_are_coarse() -> None:
    config = CameraConfig(
        noise_sigma=(1e-6, 1e-6),
        blotch_probability=1.0,
        blotch_sigma=(1.5, 1.5),
        blotch_size=(16, 16),
    )
    noise = add_camera_noise(flat(0.5), config, np.random.default_rng(0)) - 0.5
    cells = noise.reshape(32, 4, 32, 4, 3).mean((1, 3))
    assert 0.5 < noise.std() * 255 < 2
    assert cells.std() > 0.95 * noise.std()


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_jpeg_is_a_real_codec(quality: int) -> None:
    picture = textured(64, 96)
    ours = compress_jpeg(picture, quality)
    stream = io.BytesIO()
    Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    real = np.asarray(Image.open(stream)).astype(np.float32) / 255
    damage = np.square(real - picture).mean()
    assert np.square(ours - real).mean() < 0.5 * damage


@pytest.mark.parametrize("offset", [(0, 0), (3, 0), (0, 7), (15, 15)])
def test_the_grid_of_blocks_moves_and_the_picture_does_not(offset: tuple[int, int]) -> None:
    picture = textured(45, 31)
    compressed = compress_jpeg(picture, 95, offset)
    assert compressed.shape == picture.shape
    assert np.abs(compressed - picture).mean() < 0.04
    rough = compress_jpeg(picture, 5, offset)
    rows = np.abs(np.diff(rough.mean((1, 2))))
    if offset[0]:
        assert not np.array_equal(rough, compress_jpeg(picture, 5))
    assert rows.max() > 0


def test_an_earlier_life_keeps_size_place_and_brightness() -> None:
    picture = textured(40, 50)
    config = CameraConfig(earlier_scale=(1.4, 1.4), earlier_quality=(60, 60))
    lived = live_earlier_life(picture, config, np.random.default_rng(0))
    assert lived.shape == picture.shape
    difference = np.abs(lived - picture).mean()
    assert 0.001 < difference < 0.03
    moved = np.abs(np.roll(lived, 1, 1) - picture)[:, 1:].mean()
    assert difference < moved


def test_log_uniform_has_as_much_below_the_geometric_mean_as_above() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([log_uniform(rng, (0.3, 6.0)) for _ in range(2000)])
    assert drawn.min() >= 0.3
    assert drawn.max() <= 6
    assert (drawn < np.sqrt(1.8)).mean() == pytest.approx(0.5, abs=0.05)
