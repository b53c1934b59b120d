"""T as an affine function of lightness: by its definition, and what it is for."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from corun.networks.transmission_fit import transmission_by_lightness
from corun.physics.scattering import add_haze
from corun.physics.window_filters import box_mean

TEXTURED, FLAT = 1.0, 0.0


def fitted(
    L: torch.Tensor,
    T: torch.Tensor,
    texture: float | torch.Tensor,
    A: float,
    J: torch.Tensor | None = None,
) -> torch.Tensor:
    """ᾱ and β̄ at every pixel; the default for J says of T what T says."""
    share = torch.as_tensor(texture).expand_as(L)
    J = A + (L - A) / T if J is None else J
    fields = transmission_by_lightness(L, T, J, share, torch.full((1, 1, 1, 1), A))
    return F.interpolate(fields, size=L.shape[-2:], mode="bilinear", align_corners=False)


def followed(
    L: torch.Tensor, T: torch.Tensor, texture: float | torch.Tensor = TEXTURED, A: float = 0.8
) -> torch.Tensor:
    alpha, beta = fitted(L, T, texture, A).chunk(2, 1)
    return alpha * L + beta


def fit_by_definition(
    L: torch.Tensor, T: torch.Tensor, J: torch.Tensor, texture: torch.Tensor, A: float
) -> torch.Tensor:
    """ᾱ and β̄ by loops over the windows of every scale."""
    fields = None
    T = T.clamp(min=0.1)
    T_slope = torch.maximum(T, ((A - L) / (A - J).clamp(min=0.03)).clamp(0, 1))
    for level in reversed(range(7)):
        side = 8 * 2**level
        rows, columns = (-(-n // side) for n in L.shape[-2:])
        found = torch.zeros(1, 2, rows, columns, dtype=L.dtype)
        if fields is not None:
            wider = F.interpolate(fields, scale_factor=2, mode="bilinear", align_corners=False)
        for i, k in itertools.product(range(rows), range(columns)):
            window = (0, 0, *(slice(max(n - 2, 0) * side, (n + 3) * side) for n in (i, k)))
            x, t, s, w = (y[window].flatten() for y in (L, T, T_slope, texture + 0.02))
            mean, m = (w * x).sum() / w.sum(), (w * t).sum() / w.sum()
            covariance, variance = ((w * (x - mean) * (y - mean)).sum() / w.sum() for y in (s, x))
            slope = covariance / (variance + 3e-4)
            if fields is not None:
                share = w.mean() / (w.mean() + 1.2 / 2**level)
                expected = (wider[0, 0, i, k] * mean + wider[0, 1, i, k]).clamp(0.1, 1)
                higher = w.mean() / (w.mean() + 0.6 / 2**level)
                m = expected + (higher if m > expected else share) * (m - expected)
                slope = wider[0, 0, i, k] + share * (slope - wider[0, 0, i, k])
            away = A - mean if abs(A - mean) > 1e-3 else torch.tensor(1e-3).copysign(A - mean)
            if m + slope * away < 0.1:
                slope = (0.1 - m) / away
            found[0, :, i, k] = torch.stack((slope, m - slope * mean))
        fields = box_mean(found, radius=2)
    return fields


@pytest.mark.parametrize(("A", "tone"), [(0.2, 2.5), (0.5, -3.0), (0.9, 2.5)])
def test_the_fit_is_what_its_description_says(A: float, tone: float) -> None:
    generator = torch.Generator().manual_seed(int(10 * A))
    L, T, J, texture = torch.rand(4, 1, 1, 92, 139, generator=generator).double()
    L[..., :20] = 0.5 + 0.1 * L[..., :20]
    T = 0.5 * T + 0.5 * (1 - L)
    T[..., :16, 40:] *= 0.05
    L[..., 44:, :48], texture[..., 44:, :48] = tone, 0  # where m' leaves [0.1, 1]
    torch.testing.assert_close(
        transmission_by_lightness(L, T, J, texture, torch.full((1, 1, 1, 1), A, dtype=L.dtype)),
        fit_by_definition(L, T, J, texture, A),
        atol=1e-9,
        rtol=0,
    )


def test_a_transmission_that_is_high_around_a_figure_too_is_high_on_it_only() -> None:
    """Else the fog around it would be taken away less than farther off, and the figure glow."""
    generator = torch.Generator().manual_seed(11)
    J = torch.full((1, 1, 128, 192), 0.75)
    T = torch.full((1, 1, 128, 192), 0.2)
    J[..., 40:, 80:112] = 0.2 + 0.2 * torch.rand(88, 32, generator=generator)
    T[..., 40:, 80:112] = 0.95
    L = 0.8 + T * (J - 0.8)
    spread = F.max_pool2d(T, 17, 1, 8)
    around = (spread > 0.9) & (T < 0.9)
    T_followed = followed(L, spread)
    assert spread[around].min() > 0.9
    assert T_followed[around].mean() < 0.6
    assert T_followed[T > 0.9].mean() > 0.85


def test_transmission_without_a_reason_in_the_photo_is_smoothed() -> None:
    """The grid of the priors on T."""
    L = 0.5 + 0.2 * torch.rand(1, 1, 96, 192, generator=torch.Generator().manual_seed(12))
    T = 0.4 + 0.05 * torch.sign(torch.sin(torch.arange(192) * torch.pi / 4 + 0.1))
    T = T.expand(1, 1, 96, 192)
    assert (followed(L, T) - T.mean()).square().mean().sqrt() < 0.1 * T.std()


def road() -> tuple[torch.Tensor, torch.Tensor]:
    """A road without texture, dark everywhere, that leads into fog: its photo, and a network's T,
    too low in the middle distance."""
    distance = torch.linspace(2, 0, 192).view(1, 1, 192, 1).expand(1, 1, 192, 192)
    T = torch.exp(-distance)
    P = add_haze(torch.full((1, 3, 192, 192), 0.3), T, torch.full((1, 3, 1, 1), 0.8))
    guess = T * (1 - 0.5 * torch.exp(-(((distance - 0.8) / 0.25) ** 2)))
    return P[:, :1], guess


def test_a_road_without_texture_has_no_dark_patch() -> None:
    L, guess = road()

    def scene(T: torch.Tensor) -> torch.Tensor:
        return (0.8 + (L - 0.8) / T)[0, 0, :, 96]

    assert scene(guess).min() < -0.15  # of 0.3
    assert scene(followed(L, guess, TEXTURED)).min() < 0.1  # there the network is believed
    smooth = scene(followed(L, guess, FLAT))
    assert (smooth.diff() < 0).all()  # as in the photo, brighter the farther
    assert smooth.min() > 0.12


def test_what_has_texture_decides_for_what_has_none() -> None:
    """Trees with a T that follows from their lightness, and asphalt among them of the same
    lightness of which the network has made something else."""
    L = 0.3 + 0.3 * torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(15))
    asphalt = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    asphalt[..., 24:72, 36:60] = True
    T = torch.where(asphalt, 0.2, 1 - L)
    away = (followed(L, T, (~asphalt).float()) - (1 - L)).abs()
    assert away[asphalt].mean() < 0.02
    believed = (followed(L, T, TEXTURED) - (1 - L)).abs()
    assert believed[asphalt].mean() > 0.06


def test_texture_in_a_narrow_window_is_followed_there() -> None:
    """Two halves that look alike and do not have the same T, as wide windows have it, 0.6. What
    the network has lower is hardly believed where there is no texture, what it has higher more."""
    L = 0.4 + 0.2 * torch.rand(1, 1, 64, 256, generator=torch.Generator().manual_seed(13))
    T = torch.where(torch.arange(256) < 128, 0.4, 0.8).expand(1, 1, 64, 256)
    left, right = (..., slice(0, 64)), (..., slice(192, None))
    textured, flat = followed(L, T, TEXTURED), followed(L, T, FLAT)
    assert textured[right].mean() - textured[left].mean() > 0.35
    assert flat[left].mean() > 0.57
    assert 0.62 < flat[right].mean() < 0.66


def test_a_dark_thing_before_fog_gets_the_transmission_that_the_scene_implies() -> None:
    """A bather whose T the network has blurred away, and whose scene it has nearly right."""
    L = 0.76 + 0.01 * torch.rand(1, 1, 96, 128, generator=torch.Generator().manual_seed(19))
    J, T = torch.full((2, 1, 1, 96, 128), 0.7)
    L[..., 44:60, 60:64], J[..., 44:60, 60:64] = 0.45, 0.35
    T[:] = 0.3
    bather = (..., slice(46, 58), slice(61, 63))
    plain, implied = (
        (lambda fields: fields[:, :1] * L + fields[:, 1:])(fitted(L, T, TEXTURED, 0.8, scene))
        for scene in (0.8 + (L - 0.8) / T, J)
    )
    assert (0.8 + (L - 0.8) / plain)[bather].max() < -0.2
    scene = (0.8 + (L - 0.8) / implied)[bather]
    assert 0.2 < scene.mean() < 0.4
    assert (implied - T)[L > 0.7].abs().mean() < 0.03  # the fog keeps its own


@pytest.mark.parametrize("A", [0.3, 0.55, 0.9])
def test_brighter_stays_brighter(A: float) -> None:
    """A + (L − A)/T by L has the derivative (ᾱ·A + β̄)/T², whatever the network says."""
    generator = torch.Generator().manual_seed(14)
    L = torch.rand(1, 1, 96, 128, generator=generator)
    for T in (1 - L, L, (A - L).abs(), torch.rand(L.shape, generator=generator)):
        T = T.clamp(0.05, 1)
        alpha, beta = fitted(L, T, TEXTURED, A).chunk(2, 1)
        assert (alpha * A + beta).min() > 0.1 - 1e-5
    steep = (1.25 - 1.5 * L).clamp(0.05, 1)
    alpha, beta = fitted(L, steep, TEXTURED, A).chunk(2, 1)
    if A == 0.9:
        torch.testing.assert_close(alpha * A + beta, torch.full_like(alpha, 0.1))
    else:
        assert alpha.mean() < -1.1


def test_a_small_dark_figure_before_the_densest_fog_is_not_taken_for_fog() -> None:
    """There T is hardly more than 0 on average."""
    L = torch.full((1, 1, 96, 128), 0.79)
    T = torch.full((1, 1, 96, 128), 0.04)
    L[..., 40:60, 56:64], T[..., 40:60, 56:64] = 0.395, 0.9
    T_followed = followed(L, T, TEXTURED)
    assert T_followed[L < 0.5].mean() > 0.5
    assert T_followed[L > 0.5].mean() < 0.16


def test_any_size() -> None:
    for height, width in ((1, 1), (7, 9), (8, 40), (33, 17)):
        L = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(1))
        T_followed = followed(L, 1 - 0.5 * L)
        assert T_followed.shape == L.shape
        torch.testing.assert_close(T_followed, 1 - 0.5 * L, atol=0.05, rtol=0)
