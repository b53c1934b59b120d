"""Detail is told from noise, and sharpened where haze has blurred it."""

import math

import pytest
import torch

from corun.networks.local_affine import physical_model
from corun.networks.photo_detail import detail_above_noise, share_of_texture
from corun.physics.scattering import remove_haze
from corun.physics.window_filters import window_mean
from literal_formulation import LIGHTNESS_AND_COLOUR

A = torch.full((1, 3, 1, 1), 0.8)


def opponent(image: torch.Tensor) -> torch.Tensor:
    return torch.einsum("kc,bchw->bkhw", LIGHTNESS_AND_COLOUR, image)


def lightness_of_scene(
    P: torch.Tensor, T: torch.Tensor, noise: float, deblurring: float = 0.0
) -> torch.Tensor:
    """X's, for haze that the network knows exactly."""
    p, j = opponent(P), opponent(remove_haze(P, T, A))
    texture = share_of_texture(p[:, :1])
    model = physical_model(p, j, T, texture, noise=noise, deblurring=deblurring)
    return model.lightness(p[:, :1])[0]


def test_noise_is_not_divided_by_the_transmission_but_detail_and_tone_are() -> None:
    generator = torch.Generator().manual_seed(2)
    P = 0.6 + 5e-4 * torch.randn(1, 3, 64, 128, generator=generator)
    P[..., 64:] += 0.02 * torch.randn(1, 1, 64, 64, generator=generator)
    X = lightness_of_scene(P, torch.full((1, 1, 64, 128), 0.5), 2e-5)
    L = P.mean(1, keepdim=True)
    assert X[..., 8:48].std() < 1.3 * L[..., 8:48].std()
    assert X[..., 80:].std() > 1.9 * L[..., 80:].std()
    assert X[..., 8:48].mean().item() == pytest.approx(0.8 - 0.2 / 0.5, abs=2e-3)


def test_noise_on_a_smooth_gradient_stays_noise() -> None:
    """The glow around a lamp: of the plain variance the gradient's would be the largest part."""
    noise = 2e-3 * torch.randn(1, 1, 64, 96, generator=torch.Generator().manual_seed(3))
    glow = 0.4 + 0.3 * torch.linspace(0, 1, 96).view(1, 1, 1, 96)
    photo, T = opponent((glow + noise).expand(1, 3, 64, 96)), torch.ones(1, 1, 64, 96)
    share = detail_above_noise(photo, T, noise=1.5e-5).share
    assert share[:, 0, 8:-8, 16:-16].max() < 0.3
    plain = window_mean(glow.square(), radius=4) - window_mean(glow, radius=4).square()
    assert (plain / (plain + 1.5e-5))[..., 16:-16].min() > 0.75


def test_grain_is_told_from_detail_of_the_same_strength() -> None:
    """Fog that a grainy film has taken, and fog with soft detail instead of grain; ν is too small
    for the grain, and grows with it as far as four times."""
    generator = torch.Generator().manual_seed(5)
    grain = 0.006 * torch.randn(1, 1, 64, 64, generator=generator)
    column = torch.arange(64) * 2 * math.pi / 10
    detail = 0.006 * 2**0.5 * torch.sin(column).expand(1, 1, 64, 64)
    T = torch.full((1, 1, 64, 64), 0.25)

    def amplified(fog: torch.Tensor) -> float:
        X = lightness_of_scene((0.6 + fog).expand(1, 3, 64, 64), T, 1e-5)
        return ((X.std() - fog.std()) / (3 * fog.std())).item()  # 1: as the model says

    assert amplified(detail) > 0.65
    assert 0.4 < amplified(grain) < 0.55  # v/(v + 4·ν) is 0.47
    assert 0.2 < amplified(0.3 * grain) < 0.3  # fainter than ν: v/(v + ν) is 0.24
    assert 0.25 < amplified(0.6 * grain) < 0.3  # ν = 2.5·v: 0.29
    strip = grain.clone()
    strip[..., :12, :] = -0.6  # a letterbox has no grain, and does not hide that of the photo
    P = (0.6 + strip).expand(1, 3, 64, 64)
    X = lightness_of_scene(P, T, 1e-5)
    assert X[..., 30:, :].std() < (1 + 3 * 0.6) * P[..., 30:, :].std()
    assert abs(amplified(detail + 0.05 * grain) - amplified(detail)) < 0.05


def test_what_haze_blurs_is_sharpened_as_if_it_had_come_through_more_haze() -> None:
    """By T/(1 + k·(1 − T)), and the less the stronger it is; without haze nothing."""
    rows = torch.arange(64).view(1, 1, 64, 1)
    checks = torch.where((rows + torch.arange(96)) % 2 == 0, 0.02, -0.02)
    P = (0.6 + checks).expand(1, 3, 64, 96)
    inside = (..., slice(16, -16), slice(16, -16))
    for T, k in ((0.5, 1.0), (0.5, 0.0), (0.25, 0.5), (1.0, 2.0)):
        X = lightness_of_scene(P, torch.full((1, 1, 64, 96), T), 1e-7, k)
        faint = 3e-3 / ((0.02 / T) ** 2 + 3e-3)
        expected = (1 + k * faint * (1 - T)) / T
        assert (X[inside].std() / checks[inside].std()).item() == pytest.approx(expected, rel=1e-2)


def test_neither_noise_nor_outlines_are_sharpened() -> None:
    generator = torch.Generator().manual_seed(6)
    noise = 1e-3 * torch.randn(1, 1, 64, 96, generator=generator)
    step = torch.where(torch.arange(96) < 48, 0.15, 0.75).view(1, 1, 1, 96).expand(1, 1, 64, 96)
    T = torch.full((1, 1, 64, 96), 0.5)
    for P, most in ((0.6 + noise, 1.02), (step, 1.15)):
        plain, sharper = (
            lightness_of_scene(P.expand(1, 3, 64, 96), T, 1.5e-5, k) for k in (0.0, 5.0)
        )
        spread = [(x.amax() - x.amin()).item() for x in (plain, sharper)]
        assert spread[1] < most * spread[0]


def test_the_mean_is_not_changed_by_sharpening() -> None:
    generator = torch.Generator().manual_seed(7)
    P = 0.5 + 0.02 * torch.randn(1, 1, 96, 96, generator=generator).expand(1, 3, 96, 96)
    _, _, blurred = detail_above_noise(
        opponent(P), torch.ones(1, 1, 96, 96), noise=1e-6, deblurring=5.0
    )
    L = P.mean(1, keepdim=True)
    D = blurred[:, :1] * L + blurred[:, 1:]
    assert D.std() > 0.5 * L.std()
    assert abs(D[..., 8:-8, 8:-8].mean().item()) < 5e-4


def test_brighter_stays_brighter_with_sharpening() -> None:
    """Before fog, where T falls steeply with lightness, weak detail is not turned round."""
    columns = torch.linspace(0.25, 0.78, 192).view(1, 1, 1, 192).expand(1, 1, 96, 192)
    T = (1.15 - 1.3 * columns).clamp(0.15, 0.9)
    rows = torch.arange(96).view(1, 1, 96, 1) % 4 - 1.5
    P = columns + 0.004 * rows
    p, j = (opponent(x.expand(1, 3, 96, 192)) for x in (P, (P - 0.8) / T + 0.8))
    model = physical_model(p, j, T, torch.ones_like(T), noise=1e-7, deblurring=5.0)
    X, _ = model.lightness(p[:, :1])
    plain, _ = model._replace(detail=model.detail._replace(blurred=0 * p[:, :2])).lightness(
        p[:, :1]
    )
    across = [(x.mul(rows).mean(2) / rows.square().mean())[..., 16:-16] for x in (plain, X)]
    assert (across[1] >= across[0] - 1e-4).all()
    assert (across[1] > 0).all()


def test_noise_beside_an_outline_stays_noise() -> None:
    """A tower in fog, of a JPEG: without the say of the windows it is in a speckled fringe."""
    noise = 3e-3 * torch.randn(1, 1, 64, 96, generator=torch.Generator().manual_seed(8))
    tower = torch.where(torch.arange(96) < 48, 0.55, 0.7).view(1, 1, 1, 96)
    T = torch.full((1, 1, 64, 96), 0.3)
    P = (tower + noise).expand(1, 3, 64, 96)
    detail = detail_above_noise(opponent(P), T, noise=1.5e-5)
    assert detail.share[:, 0, 8:-8, 47:49].min() > 0.95
    assert detail.share[:, 0, 8:-8, 52:58].mean() < 0.5  # all windows alike: 0.64
    # The outline itself is not blurred by that.
    model = detail.share[:, :1] * tower + detail.rest[:, :1] - tower
    assert model[..., 8:-8, 8:-8].abs().max() < 0.1 * 0.15
