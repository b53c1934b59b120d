"""The classical baseline against known truth."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.physics.dark_channel import dark_channel, dark_channel_prior
from corun.physics.scattering import add_haze


def test_clear_scenes_have_a_darker_dark_channel_than_hazy_ones(
    rendered_haze: tuple[torch.Tensor, ...],
) -> None:
    """The prior itself (He et al. 2009, section 3), away from the sky."""
    hazy, scene, depth, _, _ = rendered_haze
    for one in range(len(hazy)):
        land = depth[one : one + 1] < 1
        clear = dark_channel(scene[one : one + 1])[land].mean()
        assert clear < 0.75 * dark_channel(hazy[one : one + 1])[land].mean()


def test_error_falls_where_haze_hides_the_land(rendered_haze: tuple[torch.Tensor, ...]) -> None:
    """Below t = 0.7 the baseline brings the picture nearer to the truth, by 40 % on average.

    The sky is left out: the prior does not hold there, as its authors say.
    """
    hazy, scene, depth, t, _ = rendered_haze
    restored = dark_channel_prior(hazy).scene.clamp(0, 1)
    veiled = ((depth < 1) & (t < 0.7)).float()
    before, after = (
        ((picture - scene).abs().mean(1, keepdim=True) * veiled).sum((1, 2, 3))
        / veiled.sum((1, 2, 3))
        for picture in (hazy, restored)
    )
    ratio = after / before
    assert ratio.max() < 0.85
    assert ratio.mean() < 0.6


def test_result_explains_the_hazy_picture() -> None:
    hazy = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0)).double()
    result = dark_channel_prior(hazy, radius=5)
    again = add_haze(result.scene, result.transmission, result.airlight)
    torch.testing.assert_close(again, hazy)


@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    omega=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_any_size_gives_finite_numbers_and_t_in_range(
    seed: int, height: int, width: int, omega: float
) -> None:
    hazy = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    result = dark_channel_prior(hazy, omega=omega)
    assert result.scene.shape == hazy.shape
    assert result.scene.isfinite().all()
    assert (result.transmission >= 0.1).all()
    assert (result.transmission <= 1).all()
    if omega == 0:
        torch.testing.assert_close(result.scene, hazy, atol=1e-5, rtol=0)


def test_black_and_white_pictures_survive() -> None:
    black = torch.zeros(1, 3, 9, 9)
    assert torch.equal(dark_channel_prior(black).scene, black)
    white = torch.ones(1, 3, 9, 9)
    torch.testing.assert_close(dark_channel_prior(white).scene, white)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    result = dark_channel_prior(torch.rand(1, 3, 12, 12).to(dtype))
    assert {part.dtype for part in result} == {dtype}


def test_omega_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="omega"):
        dark_channel_prior(torch.rand(1, 3, 4, 4), omega=1.2)
