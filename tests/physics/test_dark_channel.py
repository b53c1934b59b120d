"""The classical baseline against known truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.physics.dark_channel import (
    airlight_from_dark_channel,
    dark_channel,
    dark_channel_prior,
)
from corun.physics.scattering import add_haze

AIRLIGHT = np.array([0.82, 0.86, 0.90], np.float32)


def _arrays(rendered_haze: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    """(b,h,w,c) of hazy, scene, depth, t and airlight."""
    return [value.permute(0, 2, 3, 1).contiguous().numpy() for value in rendered_haze]


def test_clear_scenes_have_a_darker_dark_channel_than_hazy_ones(
    rendered_haze: tuple[torch.Tensor, ...],
) -> None:
    """The prior itself (He et al. 2009, section 3), away from the sky."""
    hazy, scene, depth, _, _ = _arrays(rendered_haze)
    for one in range(len(hazy)):
        land = depth[one, :, :, 0] < 1
        clear = dark_channel(scene[one])[land].mean()
        assert clear < 0.75 * dark_channel(hazy[one])[land].mean()


def test_error_falls_where_haze_hides_the_land(rendered_haze: tuple[torch.Tensor, ...]) -> None:
    """Below t = 0.7 the baseline brings the picture nearer to the truth, by 40 % on average.

    The sky is left out: the prior does not hold there, as its authors say.
    """
    ratios = []
    for hazy, scene, depth, t in zip(*_arrays(rendered_haze)[:4], strict=True):
        restored = dark_channel_prior(hazy).scene.clip(0, 1)
        veiled = ((depth < 1) & (t < 0.7))[:, :, 0]
        before, after = (np.abs(picture - scene)[veiled].mean() for picture in (hazy, restored))
        ratios.append(after / before)
    assert max(ratios) < 0.85
    assert np.mean(ratios) < 0.6


def test_result_explains_the_hazy_picture() -> None:
    hazy = np.random.default_rng(0).random((40, 50, 3))
    result = dark_channel_prior(hazy, radius=5)
    again = add_haze(result.scene, result.transmission[:, :, None], result.airlight)
    np.testing.assert_allclose(again, hazy, atol=1e-12)


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
    hazy = np.random.default_rng(seed).random((height, width, 3), np.float32)
    result = dark_channel_prior(hazy, omega=omega)
    assert result.scene.shape == hazy.shape
    assert np.isfinite(result.scene).all()
    assert result.transmission.min() >= np.float32(0.1)
    assert result.transmission.max() <= 1
    assert {part.dtype for part in result} == {np.dtype(np.float32)}
    if omega == 0:
        np.testing.assert_allclose(result.scene, hazy, atol=1e-5)


def test_black_and_white_pictures_survive() -> None:
    black = np.zeros((9, 9, 3), np.float32)
    assert np.array_equal(dark_channel_prior(black).scene, black)
    white = np.ones((9, 9, 3), np.float32)
    np.testing.assert_allclose(dark_channel_prior(white).scene, white, atol=1e-6)


def test_a_known_airlight_is_recovered(rendered_haze: tuple[torch.Tensor, ...]) -> None:
    """Thick haze that is brighter than the land: errors in units of the full range 1."""
    hazy = _arrays(rendered_haze)[0]
    errors = [np.abs(airlight_from_dark_channel(one) - AIRLIGHT).max() for one in hazy]
    assert max(errors) < 0.01


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 53)], ids=str)
def test_a_picture_of_haze_alone_is_its_airlight(size: tuple[int, int]) -> None:
    hazy = np.broadcast_to(AIRLIGHT, (*size, 3)).copy()
    np.testing.assert_allclose(airlight_from_dark_channel(hazy), AIRLIGHT, atol=1e-6)


def test_a_small_white_object_does_not_fool_the_dark_channel() -> None:
    hazy = np.full((60, 60, 3), 0.1, np.float32)
    hazy[:20] = 0.7  # the sky
    hazy[40:45, 40:45] = 1.0  # a white car, smaller than the patch
    np.testing.assert_allclose(airlight_from_dark_channel(hazy), 0.7, atol=1e-6)


def test_impossible_arguments_are_refused() -> None:
    hazy = np.random.default_rng(0).random((8, 8, 3))
    with pytest.raises(ValueError, match="omega"):
        dark_channel_prior(hazy, omega=1.2)
    with pytest.raises(ValueError, match="fraction"):
        airlight_from_dark_channel(hazy, fraction=0.0)
