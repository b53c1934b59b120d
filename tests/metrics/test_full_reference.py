from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn.functional import avg_pool2d

from corun.metrics.colour import srgb_to_lab
from corun.metrics.full_reference import ciede2000, delta_e_2000, ms_ssim, psnr, ssim

# Sharma, Wu and Dalal (2005), Table 1: L a b, L a b, ΔE₀₀; the pairs at the formula's corners
SHARMA = [
    (50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425),
    (50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0000),
    (50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0009, 7.1792),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0011, 7.2195),
    (50.0, -0.001, 2.49, 50.0, 0.0009, -2.49, 4.8045),
    (50.0, -0.001, 2.49, 50.0, 0.0011, -2.49, 4.7461),
    (50.0, 2.5, 0.0, 50.0, 0.0, -2.5, 4.3065),
    (50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492),
    (50.0, 2.5, 0.0, 50.0, 3.1736, 0.5854, 1.0000),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (22.7233, 20.0904, -46.694, 23.0331, 14.973, -42.5619, 2.0373),
    (90.8027, -2.0831, 1.441, 91.1528, -1.6435, 0.0447, 1.4441),
    (2.0776, 0.0795, -1.135, 0.9033, -0.0636, -0.5514, 0.9082),
]


def _pair(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.rand(1, 3, height, width, generator=generator)
    target = avg_pool2d(smooth, 5, 1, 2)
    noise = 0.05 * torch.randn(target.shape, generator=generator)
    result = (target * 0.9 + noise).clamp(0, 1)
    return tuple((x * 255).round() / 255 for x in (result, target))  # type: ignore[return-value]


def _bytes(picture: torch.Tensor) -> np.ndarray:
    return (picture[0].permute(1, 2, 0) * 255).round().byte().numpy()


def test_psnr_by_hand_and_by_skimage() -> None:
    black, grey = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.1)
    assert float(psnr(grey, black)) == pytest.approx(20, abs=1e-6)
    result, target = _pair(30, 40)
    expected = peak_signal_noise_ratio(_bytes(target), _bytes(result), data_range=255)
    assert float(psnr(result, target)) == pytest.approx(expected, abs=1e-4)
    assert float(psnr(target, target)) == math.inf


def test_ssim_is_skimages() -> None:
    result, target = _pair(67, 80)
    expected = structural_similarity(
        _bytes(target), _bytes(result), channel_axis=2, data_range=255,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert float(ssim(result, target)) == pytest.approx(expected, abs=1e-6)
    assert float(ssim(target, target)) == pytest.approx(1)


def test_ssim_of_constants_by_hand() -> None:
    # no variance: (2·μ_x·μ_y + C₁)/(μ_x² + μ_y² + C₁)
    dark, light = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    expected = (2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4)
    assert float(ssim(dark, light)) == pytest.approx(expected, rel=1e-5)


def test_ms_ssim_against_its_definition() -> None:
    """skimage's SSIM map split into its terms is not public: rebuild the terms with scipy."""
    from scipy.ndimage import gaussian_filter

    result, target = _pair(180, 200)
    expected = []
    for channel in range(3):
        x, y = (image[0, channel].double().numpy() for image in (result, target))
        product = 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            if scale:
                rows, columns = x.shape[0] // 2, x.shape[1] // 2
                x, y = (
                    image[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean((1, 3))
                    for image in (x, y)
                )

            def mean(image: np.ndarray) -> np.ndarray:
                return gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]

            structure = 2 * (mean(x * y) - mean(x) * mean(y)) + 9e-4
            structure /= mean(x * x) - mean(x) ** 2 + mean(y * y) - mean(y) ** 2 + 9e-4
            if scale == 4:
                structure *= 2 * mean(x) * mean(y) + 1e-4
                structure /= mean(x) ** 2 + mean(y) ** 2 + 1e-4
            product *= structure.mean() ** weight
        expected.append(product)
    assert float(ms_ssim(result, target)) == pytest.approx(np.mean(expected), abs=1e-9)
    assert float(ms_ssim(target, target)) == pytest.approx(1)


def test_lab_is_skimages() -> None:
    result, _ = _pair(8, 9)
    expected = rgb2lab(_bytes(result))
    found = srgb_to_lab(result)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("row", SHARMA)
def test_ciede2000_of_sharmas_pairs(row: tuple[float, ...]) -> None:
    first, second = (
        torch.tensor(row[k : k + 3], dtype=torch.float64).view(1, 3, 1, 1) for k in (0, 3)
    )
    assert float(delta_e_2000(first, second)) == pytest.approx(row[6], abs=1e-4)
    assert float(delta_e_2000(second, first)) == pytest.approx(row[6], abs=1e-4)


def test_ciede2000_is_skimages() -> None:
    result, target = _pair(20, 30)
    expected = deltaE_ciede2000(rgb2lab(_bytes(target)), rgb2lab(_bytes(result))).mean()
    assert float(ciede2000(result, target)) == pytest.approx(expected, rel=1e-4)
    assert float(ciede2000(target, target)) == 0


Compared = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@pytest.mark.parametrize("function", [psnr, ssim, ciede2000])
def test_batches_and_sizes(function: Compared) -> None:
    one, two = _pair(24, 30, 1), _pair(24, 30, 2)
    together = function(torch.cat((one[0], two[0])), torch.cat((one[1], two[1])))
    torch.testing.assert_close(together, torch.cat((function(*one), function(*two))))
    with pytest.raises(ValueError, match="differ in size"):
        function(one[0], one[1][..., 1:])


def test_windows_must_fit() -> None:
    small, medium = torch.rand(1, 3, 10, 40), torch.rand(1, 3, 175, 200)
    with pytest.raises(ValueError, match="11×11 pixels, got 40×10"):
        ssim(small, small)
    with pytest.raises(ValueError, match="176×176"):
        ms_ssim(medium, medium)
