"""Airlight estimators on pictures whose airlight is known."""

from __future__ import annotations

import pytest
import torch

from corun.physics.airlight import airlight_from_dark_channel
from corun.physics.full_size_step import fit_airlight
from corun.physics.scattering import add_haze

AIRLIGHT = torch.tensor([0.82, 0.86, 0.90]).view(1, 3, 1, 1)


def _errors(estimate: torch.Tensor) -> torch.Tensor:
    """(b,): the largest error of the three channels."""
    return (estimate - AIRLIGHT).abs().amax(dim=(1, 2, 3))


def test_estimators_recover_a_known_airlight(
    rendered_haze: tuple[torch.Tensor, ...],
) -> None:
    hazy, scene, _, t, airlight = rendered_haze
    assert torch.equal(airlight, AIRLIGHT)
    # Thick haze that is brighter than the land: errors in units of the full range 1.
    assert _errors(airlight_from_dark_channel(hazy)).max() < 0.01
    assert _errors(fit_airlight(hazy, scene, t)).max() < 0.01


def test_dim_haze_among_white_walls(rendered_haze: tuple[torch.Tensor, ...]) -> None:
    """Grey haze darker than sunlit walls misleads every estimator that seeks brightness."""
    _, scene, _, t, _ = rendered_haze
    estimate = airlight_from_dark_channel(add_haze(scene, t, AIRLIGHT * 0.75))
    assert float((estimate - AIRLIGHT * 0.75).abs().amax(dim=(1, 2, 3)).mean()) < 0.12


def test_a_picture_of_haze_alone_is_its_airlight() -> None:
    for size in ((1, 1), (1, 40), (37, 53)):
        hazy = AIRLIGHT.expand(1, 3, *size)
        torch.testing.assert_close(airlight_from_dark_channel(hazy), AIRLIGHT)


def test_images_of_a_batch_do_not_mix(rendered_haze: tuple[torch.Tensor, ...]) -> None:
    hazy = rendered_haze[0][:4]
    together = airlight_from_dark_channel(hazy)
    one_by_one = torch.cat([airlight_from_dark_channel(picture[None]) for picture in hazy])
    torch.testing.assert_close(together, one_by_one)


def test_a_small_white_object_does_not_fool_the_dark_channel() -> None:
    hazy = torch.full((1, 3, 60, 60), 0.1)
    hazy[..., :20, :] = 0.7  # the sky
    hazy[..., 40:45, 40:45] = 1.0  # a white car, smaller than the patch
    estimate = airlight_from_dark_channel(hazy)
    torch.testing.assert_close(estimate, torch.full((1, 3, 1, 1), 0.7))


def test_impossible_arguments_are_refused() -> None:
    hazy = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match="fraction"):
        airlight_from_dark_channel(hazy, fraction=0.0)
