from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import gamma

from corun.statistics.natural_scene import (
    SignedMoments,
    fit_asymmetric,
    fit_symmetric,
    luminance,
    mean_of,
    normalise,
    scale_of,
    shifted_product,
    signed_moments,
)


def _rgb(*levels: int) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.float32).view(1, 3, 1, 1) / 255


# MATLAB: rgb2gray(uint8(cat(3, r, g, b)))
@pytest.mark.parametrize(
    ("rgb", "grey"),
    [((0, 0, 0), 0), ((255, 255, 255), 255), ((255, 0, 0), 76), ((0, 255, 0), 150),
     ((0, 0, 255), 29), ((10, 200, 30), 124)],
)  # fmt: skip
def test_luminance_is_rounded_as_rgb2gray(rgb: tuple[int, int, int], grey: int) -> None:
    assert float(luminance(_rgb(*rgb))) == grey


def test_luminance_without_rounding_has_a_gradient() -> None:
    image = _rgb(10, 200, 30).requires_grad_()
    luminance(image, rounded=False).sum().backward()
    assert image.grad is not None
    assert image.grad.flatten().tolist() == pytest.approx([76.2287, 149.6960, 29.0753], abs=1e-3)


def test_normalised_luminance_by_hand() -> None:
    # a single bright pixel, far from the border: μ = w₀²·100, E[x²] = w₀²·100²
    grey = torch.zeros(1, 21, 21, dtype=torch.float64)
    grey[0, 10, 10] = 100
    weights = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    centre = (weights[3] / weights.sum()) ** 2
    sigma = np.sqrt(centre * 100**2 - (centre * 100) ** 2)
    found = normalise(grey, border="zero")
    assert float(found.deviation[0, 10, 10]) == pytest.approx(sigma)
    assert float(found.coefficients[0, 10, 10]) == pytest.approx((100 - centre * 100) / (sigma + 1))


def test_a_flat_region_has_no_sign() -> None:
    grey = torch.full((1, 40, 40), 253.0, dtype=torch.float64)
    snapped = normalise(grey, border="replicate").coefficients
    assert torch.count_nonzero(snapped) == 0


def test_products_wrap_around() -> None:
    maps = torch.tensor([[[1.0, 2.0], [3.0, 5.0]]])
    assert shifted_product(maps, (0, 1)).tolist() == [[[2.0, 2.0], [15.0, 15.0]]]
    assert shifted_product(maps, (1, 0)).tolist() == [[[3.0, 10.0], [3.0, 10.0]]]
    assert shifted_product(maps, (1, 1)).tolist() == [[[5.0, 6.0], [6.0, 5.0]]]


def test_moments_against_masks() -> None:
    samples = torch.randn(2, 3, 20, 30, generator=torch.Generator().manual_seed(1))
    samples[0, 0, :5] = 0
    found = signed_moments(samples)
    for i in range(2):
        for j in range(3):
            x = samples[i, j].double().numpy()
            assert float(found.absolute[i, j]) == pytest.approx(np.abs(x).mean(), rel=1e-5)
            assert float(found.square[i, j]) == pytest.approx((x**2).mean(), rel=1e-5)
            assert float(found.left_square[i, j]) == pytest.approx((x[x < 0] ** 2).mean(), rel=1e-5)
            assert float(found.right_square[i, j]) == pytest.approx(
                (x[x > 0] ** 2).mean(), rel=1e-5
            )


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 4.0])
def test_the_shape_of_a_known_distribution(shape: float) -> None:
    # E[|x|^n] = β^n Γ((n+1)/α)/Γ(1/α), here with β = 3
    absolute = torch.tensor(3 * gamma(2 / shape) / gamma(1 / shape), dtype=torch.float64)
    square = torch.tensor(9 * gamma(3 / shape) / gamma(1 / shape), dtype=torch.float64)
    moments = SignedMoments(absolute, square, square, square)
    assert float(fit_symmetric(moments.absolute, moments.square)) == pytest.approx(shape, abs=1e-9)
    fit = fit_asymmetric(moments)
    assert float(fit.shape) == pytest.approx(shape, abs=1e-9)
    assert float(mean_of(fit)) == pytest.approx(0, abs=1e-12)
    assert float(fit.left * scale_of(fit.shape)) == pytest.approx(3)


@pytest.mark.parametrize(("shape", "left", "right"), [(0.8, 1.0, 2.5), (2.0, 0.3, 0.2)])
def test_an_asymmetric_distribution_is_recovered(shape: float, left: float, right: float) -> None:
    """Lasmar's density: scale β_l on the left with weight β_l/(β_l+β_r), β_r on the right."""
    weight = left / (left + right)
    first, second = gamma(2 / shape) / gamma(1 / shape), gamma(3 / shape) / gamma(1 / shape)
    moments = SignedMoments(
        *(
            torch.tensor(value, dtype=torch.float64)
            for value in (
                first * (weight * left + (1 - weight) * right),
                second * (weight * left**2 + (1 - weight) * right**2),
                second * left**2,
                second * right**2,
            )
        )
    )
    fit = fit_asymmetric(moments)
    assert float(fit.shape) == pytest.approx(shape, abs=1e-9)
    assert float(mean_of(fit)) == pytest.approx(first * (right - left), rel=1e-9)


def test_no_distribution_is_nan_and_extremes_are_the_grids_ends() -> None:
    nothing = signed_moments(torch.zeros(1, 8, 8))
    assert fit_symmetric(nothing.absolute, nothing.square).isnan().all()
    assert fit_asymmetric(nothing).shape.isnan().all()
    one_sided = signed_moments(-torch.ones(1, 8, 8))
    assert fit_asymmetric(one_sided).shape.isnan().all()
    coin = signed_moments(torch.ones(1, 8, 8))
    assert float(fit_symmetric(coin.absolute, coin.square)) == pytest.approx(10.0)
