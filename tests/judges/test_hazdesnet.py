from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from corun.data.scenes import render_scene
from corun.errors import WeightsError
from corun.judges.hazdesnet import HazDesNet, HazDesNetDensity, load_hazdesnet
from corun.metrics.pictures import as_tensor
from corun.metrics.registry import load_metric


def _keras_file(path: Path, seed: int = 0, first_side: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {
        "conv2d_1/kernel:0": rng.normal(0, 0.002, (first_side, first_side, 3, 24)),
        "conv2d_1/bias:0": rng.normal(0, 0.1, 24),
        "conv2d_2/kernel:0": rng.normal(0, 0.2, (1, 1, 24, 24)),
        "conv2d_2/bias:0": rng.normal(0, 0.1, 24),
        "batch_normalization_1/gamma:0": rng.uniform(0.5, 1.5, 24),
        "batch_normalization_1/beta:0": rng.normal(0, 0.1, 24),
        "batch_normalization_1/moving_mean:0": rng.normal(0, 0.1, 24),
        "batch_normalization_1/moving_variance:0": rng.uniform(0.5, 1.5, 24),
        "conv2d_3/kernel:0": rng.normal(0, 0.04, (5, 5, 24, 48)),
        "conv2d_3/bias:0": rng.normal(0, 0.1, 48),
        "conv2d_4/kernel:0": rng.normal(0, 0.02, (6, 6, 96, 1)),
        "conv2d_4/bias:0": rng.normal(0, 0.1, 1),
    }
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            layer = name.split("/")[0]
            file[f"{layer}/{name}"] = array.astype(np.float32)
    return arrays


def _convolve(maps: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(h,w,in) and (kh,kw,in,out), as Keras: a correlation without padding."""
    windows = sliding_window_view(maps, kernel.shape[:2], (0, 1))  # h w in kh kw
    return np.einsum("hwcij,ijco->hwo", windows, kernel) + bias


def test_the_network_against_a_literal_computation(tmp_path: Path) -> None:
    arrays = _keras_file(tmp_path / "weights.hdf5")
    network = load_hazdesnet(tmp_path / "weights.hdf5")
    picture = torch.rand(1, 3, 33, 40, generator=torch.Generator().manual_seed(0))
    bgr = picture[0].permute(1, 2, 0).double().numpy()[..., ::-1] * 255
    x = _convolve(bgr, arrays["conv2d_1/kernel:0"], arrays["conv2d_1/bias:0"])
    x = _convolve(x, arrays["conv2d_2/kernel:0"], arrays["conv2d_2/bias:0"])
    height, width = x.shape[0] // 2, x.shape[1] // 2
    x = x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 24).max((1, 3))
    norm = {k: arrays[f"batch_normalization_1/{k}:0"] for k in ("gamma", "beta")}
    mean = arrays["batch_normalization_1/moving_mean:0"]
    variance = arrays["batch_normalization_1/moving_variance:0"]
    x = (x - mean) / np.sqrt(variance + 1e-3) * norm["gamma"] + norm["beta"]
    x = _convolve(x, arrays["conv2d_3/kernel:0"], arrays["conv2d_3/bias:0"])
    windows = sliding_window_view(x, (5, 5), (0, 1))
    x = np.concatenate((windows.max((-1, -2)), windows.mean((-1, -2))), -1)
    x = _convolve(x, arrays["conv2d_4/kernel:0"], arrays["conv2d_4/bias:0"])
    expected = 1 / (1 + np.exp(-x[..., 0]))
    found = network(picture)[0, 0]
    assert found.shape == ((33 - 4) // 2 - 13, (40 - 4) // 2 - 13)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_a_gradient_reaches_the_picture(tmp_path: Path) -> None:
    _keras_file(tmp_path / "weights.hdf5")
    picture = torch.rand(1, 3, 40, 40).requires_grad_()
    load_hazdesnet(tmp_path / "weights.hdf5")(picture).mean().backward()
    assert picture.grad is not None
    assert float(picture.grad.abs().sum()) > 0


def test_small_pictures_are_refused_and_the_smallest_is_not() -> None:
    network = HazDesNet().eval()
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match="32×32 pixels, got 40×31"):
        network(torch.rand(1, 3, 31, 40))


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none: no such file; .*JiaheZhang/HazDesNet"):
        load_hazdesnet(tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(WeightsError, match="not HazDesNet's Keras weights"):
        load_hazdesnet(tmp_path / "text")
    with h5py.File(tmp_path / "empty", "w"):
        pass
    with pytest.raises(WeightsError, match="not HazDesNet's Keras weights"):
        load_hazdesnet(tmp_path / "empty")
    _keras_file(tmp_path / "other", first_side=3)
    with pytest.raises(WeightsError, match="other shapes"):
        load_hazdesnet(tmp_path / "other")


def test_the_metric_is_the_judges_density(tmp_path: Path) -> None:
    _keras_file(tmp_path / "weights.hdf5")
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    metric = load_metric("hazdesnet", {"hazdesnet": tmp_path / "weights.hdf5"})
    judge = HazDesNetDensity(load_hazdesnet(tmp_path / "weights.hdf5"))
    expected = float(judge.overall(as_tensor(picture)))
    assert metric.score(picture, None) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="at least 32×32"):
        metric.score(picture[:20], None)


def test_hazdesnet_scores_haze(shared: Path) -> None:
    network = load_hazdesnet(shared / "metrics" / "hazdesnet.hdf5")
    scene = render_scene(96, 128, 2).image
    hazes = torch.stack([scene * (1 - haze) + 0.9 * haze for haze in (0, 0.4, 0.8)])
    clear, some, much = network.mean_density(hazes).tolist()
    assert 0 < clear < some < much < 1
