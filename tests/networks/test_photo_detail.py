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


def test_colours_are_told_from_noise_together_and_by_a_quarter_of_it() -> None:
    """For the lightness the detail of all three counts, for either difference that of both."""
    signs = torch.sign(torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(10)))
    P = 0.5 + 0.01 * torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1) * signs
    P[..., :48, :] = 0.5  # quiet, so that the rest is no grain
    share = detail_above_noise(P, torch.ones(1, 1, 96, 96), noise=1e-4).share
    for channel, expected in enumerate((5 / (5 + 1), 5 / (5 + 1 / 4), 5 / (5 + 1 / 4))):
        inside = share[:, channel, 64:-16, 16:-16].mean().item()
        assert inside == pytest.approx(expected, abs=0.01)


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


def checks(height: int, width: int, strength: float) -> torch.Tensor:
    """The finest pattern below a quiet half, which tells that it is no grain."""
    rows = torch.arange(height).view(1, 1, height, 1)
    pattern = torch.where((rows + torch.arange(width)) % 2 == 0, strength, -strength)
    return torch.where(rows < height // 2, 0.0, pattern)


def test_what_haze_blurs_is_sharpened_as_if_it_had_come_through_more_haze() -> None:
    """By T/(1 + k·(1 − T)), and the less the stronger it is; without haze nothing."""
    pattern = checks(128, 96, 0.02)
    inside = (..., slice(80, -16), slice(16, -16))
    for T, k in ((0.5, 1.0), (0.5, 0.0), (0.25, 0.5), (1.0, 2.0)):
        P = (0.6 + pattern).expand(1, 3, 128, 96)
        X = lightness_of_scene(P, torch.full((1, 1, 128, 96), T), 1e-7, k)
        faint = 3e-3 / ((0.02 / T) ** 2 + 3e-3)
        expected = (1 + k * faint * (1 - T)) / T
        assert (X[inside].std() / pattern[inside].std()).item() == pytest.approx(expected, rel=2e-2)


@pytest.mark.parametrize("sigma", [1e-3, 4 / 255, 12 / 255])
def test_noise_is_not_sharpened(sigma: float) -> None:
    """However strong, if it is everywhere; nor is lightness for the noise of colours."""
    noise = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(6))
    T = torch.full((1, 1, 64, 96), 0.5)
    for part in (sigma * noise, sigma * (noise - 0.95 * noise.mean(1, keepdim=True))):
        plain, sharper = (lightness_of_scene(0.6 + part, T, 1.5e-5, k) for k in (0.0, 5.0))
        assert sharper.std() < 1.16 * plain.std()


@pytest.mark.parametrize(
    ("step", "T", "most"), [(0.6, 0.5, 0.03), (0.15, 0.5, 0.3), (0.15, 0.3, 0.2)]
)
def test_outlines_get_hardly_a_rim(step: float, T: float, most: float) -> None:
    """Of the step in the scene; one that is faint there too is sharpened as detail is."""
    noise = 4e-3 * torch.randn(1, 1, 64, 96, generator=torch.Generator().manual_seed(6))
    edge = torch.where(torch.arange(96) < 48, 0.75 - step, 0.75).view(1, 1, 1, 96) + noise
    T_map = torch.full((1, 1, 64, 96), T)
    X = lightness_of_scene(edge.expand(1, 3, 64, 96), T_map, 1.5e-5, 5.0)[..., 8:-8, :]
    over = X[..., 48:53].mean((0, 1, 2)).max() - X[..., 64:80].mean()
    under = X[..., 16:32].mean() - X[..., 43:48].mean((0, 1, 2)).min()
    assert max(over, under) < most * step / T


def test_sharpening_moves_no_tones_inside_and_hardly_any_at_the_border() -> None:
    """There windows are cut off, and a gradient would be detail."""
    L = 0.3 + 3e-3 * torch.arange(96) + checks(96, 96, 0.02)
    _, _, blurred = detail_above_noise(
        opponent(L.expand(1, 3, 96, 96)), torch.ones(1, 1, 96, 96), noise=1e-7, deblurring=5.0
    )
    D = blurred[:, :1] * L + blurred[:, 1:]
    textured = D[..., 56:-8, 8:-8]
    assert textured.std() > 0.02
    assert textured.mean().abs() < 5e-4
    assert D[..., 48:, :2].mean().abs() < 0.15 * textured.std()
    assert D[..., 48:, -2:].mean().abs() < 0.15 * textured.std()


def test_grain_of_a_large_photo_that_its_model_has_not_seen_is_not_sharpened() -> None:
    """It is averaged out where the photo is reduced; the detail that is left is sharpened."""
    T = torch.full((1, 1, 96, 96), 0.5)
    small = 0.6 + checks(96, 96, 0.02)
    p, j = (opponent(x.expand(1, 3, 96, 96)) for x in (small, (small - 0.8) / 0.5 + 0.8))
    model = physical_model(p, j, T, share_of_texture(p[:, :1]), noise=1e-7, deblurring=5.0)
    plain = model._replace(detail=model.detail._replace(blurred=0 * p[:, :2]))
    grain = 0.01 * torch.randn(1, 1, 384, 384, generator=torch.Generator().manual_seed(9))
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    inside = (..., slice(224, -32), slice(32, -32))
    gains, details = [], []
    for m in (plain, model):
        without, with_grain = (m.lightness(x)[0] for x in (large, large + grain))
        gains.append((with_grain - without)[inside].std() / grain[inside].std())
        details.append(without[inside].std())
    assert gains[1] < 1.25 * gains[0]
    assert details[1] > 1.2 * details[0]


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
