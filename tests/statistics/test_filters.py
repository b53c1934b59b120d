from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from corun.statistics.filters import gaussian_window, halve, halving_window, smooth

# Keys' kernel with a = −½ at ¼, ¾, 1¼ and 1¾, worked out by hand; halved, they sum to ½
KEYS = (111 / 128, 29 / 128, -9 / 128, -3 / 128)


def _picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(height, width, generator=generator, dtype=torch.float64) * 255


@pytest.mark.parametrize(("border", "mode"), [("zero", "constant"), ("replicate", "nearest")])
@pytest.mark.parametrize("size", [(5, 9), (64, 65), (130, 67)])
def test_smoothing_is_scipys_correlation(border: str, mode: str, size: tuple[int, int]) -> None:
    picture = _picture(*size)
    window = np.array(gaussian_window())
    expected = ndimage.correlate(picture.numpy(), np.outer(window, window), mode=mode)
    found = smooth(picture[None], gaussian_window(), border)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-11)


def test_the_gaussian_is_normalised_and_symmetric() -> None:
    window = gaussian_window()
    assert math.isclose(sum(window), 1, abs_tol=1e-15)
    assert window == window[::-1]
    assert math.isclose(window[2] / window[3], math.exp(-0.5 / (7 / 6) ** 2), rel_tol=1e-12)


def test_the_halving_window_is_keys_kernel_stretched_by_two() -> None:
    expected = [KEYS[k] / 2 for k in (3, 2, 1, 0, 0, 1, 2, 3)]
    assert halving_window() == pytest.approx(expected, abs=1e-15)


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 150), width=st.integers(1, 150))
def test_halving_mirrors_the_border_and_rounds_the_size_up(height: int, width: int) -> None:
    picture = _picture(height, width, seed=height * 1000 + width)
    found = halve(picture[None])[0]
    assert found.shape == ((height + 1) // 2, (width + 1) // 2)
    row, column = found.shape[0] - 1, found.shape[1] // 2
    window, total = halving_window(), 0.0

    def mirrored(index: int, size: int) -> int:
        index %= 2 * size
        return index if index < size else 2 * size - 1 - index

    for i, down in enumerate(window):
        for j, right in enumerate(window):
            y, x = mirrored(2 * row - 3 + i, height), mirrored(2 * column - 3 + j, width)
            total += down * right * float(picture[y, x])
    assert float(found[row, column]) == pytest.approx(total, abs=1e-9)


def test_halving_keeps_a_constant_and_a_ramp() -> None:
    constant = halve(torch.full((1, 70, 71), 7.0, dtype=torch.float64))
    torch.testing.assert_close(constant, torch.full_like(constant, 7.0))
    ramp = torch.arange(100, dtype=torch.float64).expand(1, 10, 100)
    expected = torch.arange(3, 47, dtype=torch.float64) * 2 + 0.5
    torch.testing.assert_close(halve(ramp)[0, 2, 3:-3], expected)


def test_a_gradient_flows_through() -> None:
    picture = _picture(20, 24)[None].requires_grad_()
    smooth(halve(picture), gaussian_window(), "replicate").sum().backward()
    assert picture.grad is not None
    # every weight is used once in four pixels: the gradients sum to the number of outputs
    assert float(picture.grad.sum()) == pytest.approx(10 * 12)
