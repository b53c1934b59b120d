from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.special import gamma

from corun.data.scenes import render_scene
from corun.errors import WeightsError
from corun.judges.niqe import (
    embedded_statistics,
    load_pristine_statistics,
    niqe,
    niqe_features,
)
from corun.metrics.pictures import as_tensor, read_picture

SHAPES = np.arange(0.2, 10.001, 0.001)
RECIPROCAL = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


def _literal_features(block: np.ndarray) -> list[float]:
    """The paper's Section II, sample by sample, for one block of coefficients."""

    def aggd(x: np.ndarray) -> tuple[float, float, float]:
        left, right = np.sqrt((x[x < 0] ** 2).mean()), np.sqrt((x[x > 0] ** 2).mean())
        ratio = left / right
        target = np.abs(x).mean() ** 2 / (x**2).mean()
        target *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
        shape = SHAPES[np.argmin((RECIPROCAL - target) ** 2)]
        scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
        return shape, left * scale, right * scale

    shape, left, right = aggd(block)
    features = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = aggd(block * np.roll(block, shift, (0, 1)))
        mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)
        features += [shape, mean, left, right]
    return features


def _literal_coefficients(grey: np.ndarray) -> np.ndarray:
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = ndimage.correlate(grey, window, mode="nearest")
    square = ndimage.correlate(grey * grey, window, mode="nearest")
    return (grey - mean) / (np.sqrt(np.abs(square - mean**2)) + 1)


def _noisy_scene(height: int, width: int, seed: int = 3) -> torch.Tensor:
    scene = render_scene(height, width, seed).image[None]
    noise = 0.03 * torch.randn(scene.shape, generator=torch.Generator().manual_seed(seed))
    return ((scene + noise).clamp(0, 1) * 255).round() / 255


def test_features_against_a_literal_computation() -> None:
    picture = _noisy_scene(200, 300)
    found = niqe_features(picture)
    assert found.shape == (1, 6, 36)
    weights = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
    levels = (picture[0].permute(1, 2, 0).double().numpy() * 255).round()
    coefficients = _literal_coefficients(np.floor(levels @ weights + 0.5)[:192, :288])
    literal = _literal_features(coefficients[96:192, 192:288])
    # one step of the grid of shapes, where the two round to different sides
    np.testing.assert_allclose(found[0, 5, :18].numpy(), literal, atol=2e-3)


def test_the_distance_against_numpy() -> None:
    picture = _noisy_scene(200, 300)
    pristine = embedded_statistics()
    features = niqe_features(picture)[0].numpy()
    pooled = (pristine.covariance.numpy() + np.cov(features.T)) / 2
    difference = pristine.mean.numpy() - features.mean(0)
    expected = np.sqrt(difference @ np.linalg.pinv(pooled) @ difference)
    assert float(niqe(picture, pristine)) == pytest.approx(expected, rel=1e-9)


def test_a_batch_scores_as_its_pictures() -> None:
    pictures = torch.cat([_noisy_scene(100, 200, seed) for seed in (1, 2)])
    pristine = embedded_statistics()
    alone = torch.cat([niqe(picture[None], pristine) for picture in pictures])
    torch.testing.assert_close(niqe(pictures, pristine), alone, rtol=1e-5, atol=1e-5)


def test_noise_and_blur_are_worse() -> None:
    clear, pristine = _noisy_scene(192, 288), embedded_statistics()
    noise = 0.25 * torch.randn(clear.shape, generator=torch.Generator().manual_seed(0))
    assert float(niqe((clear + noise).clamp(0, 1), pristine)) > float(niqe(clear, pristine)) + 1


def test_published_statistics_order_real_photos(shared: Path) -> None:
    """The release of BRISQUE gives testimage1 97 (noise) and testimage2 32; NIQE must agree."""
    pristine = load_pristine_statistics(shared / "metrics" / "niqe_pris_params.npz")
    names = ("test_image1.png", "testimage2.bmp", "testimage1.bmp")
    scores = [
        float(niqe(as_tensor(read_picture(shared / "fixtures" / name)), pristine)) for name in names
    ]
    assert scores == sorted(scores)
    # ours, recorded so that a change of the number is seen
    assert scores == pytest.approx([2.3315, 5.9752, 55.558], rel=1e-3)


def test_the_embedded_statistics_resemble_the_published(shared: Path) -> None:
    published = load_pristine_statistics(shared / "metrics" / "niqe_pris_params.npz")
    apart = embedded_statistics().mean - published.mean
    deviation = published.covariance.diagonal().sqrt()
    assert float((apart / deviation).abs().max()) < 1.5


def test_flat_blocks_are_left_out() -> None:
    picture = _noisy_scene(192, 288)
    picture[..., :112, :112] = 0.5  # beyond the block, as far as the windows see
    features = niqe_features(picture)
    assert features[0, 0].isnan().any()
    assert torch.isfinite(niqe(picture, embedded_statistics())).all()
    assert niqe(torch.full((1, 3, 192, 288), 0.5), embedded_statistics()).isnan().all()


def test_too_small_is_an_error() -> None:
    with pytest.raises(ValueError, match="two blocks of 96×96 pixels, got 191×100"):
        niqe(torch.rand(1, 3, 100, 191), embedded_statistics())
    with pytest.raises(ValueError, match="at least 96×96"):
        niqe_features(torch.rand(1, 3, 95, 191))


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.npz: no such file; NIQE needs"):
        load_pristine_statistics(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(WeightsError, match="not NIQE's statistics"):
        load_pristine_statistics(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(WeightsError, match="not NIQE's statistics"):
        load_pristine_statistics(tmp_path / "other.npz")
    np.savez(tmp_path / "small.npz", mu_pris_param=np.zeros((1, 4)), cov_pris_param=np.eye(4))
    with pytest.raises(WeightsError, match="36 features"):
        load_pristine_statistics(tmp_path / "small.npz")
