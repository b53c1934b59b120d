"""The correction of the closing fit: colours towards the network's, by regression in windows.

With T = 1 the physical scene is the photo, and the correction all that is left of the fit.
"""

import itertools

import pytest
import torch
import torch.nn.functional as F

from corun.networks.colour_correction import SCALES, colour_correction
from corun.physics.scattering import add_haze
from corun.physics.window_filters import box_mean
from literal_formulation import LIGHTNESS_AND_COLOUR, local_affine_scene


def test_one_window_is_a_ridge_regression() -> None:
    """Where every window is the whole picture, a and b are one regression's: one a for both colour
    differences, no steeper than that of all three channels. Lightness stays the photo's."""
    torch.manual_seed(0)
    P = 0.2 + 0.5 * torch.rand(2, 3, 8, 8)
    J = 0.1 + 0.7 * P.square() + 0.1 * torch.rand_like(P)
    out = local_affine_scene(P, J, cell=8, epsilon=1e-3)
    p, j, o = (torch.einsum("bcn,kc->bkn", x.flatten(2), LIGHTNESS_AND_COLOUR) for x in (P, J, out))
    p_away, j_away = p - p.mean(-1, keepdim=True), j - j.mean(-1, keepdim=True)

    def slope(channels: slice, ridge: float) -> torch.Tensor:
        covariance = (p_away * j_away)[:, channels].mean(-1).sum(1)
        variance = p_away.square()[:, channels].mean(-1).sum(1)
        return ((covariance + ridge) / (variance + ridge))[:, None, None]

    a = torch.minimum(slope(slice(1, 3), 2.5e-4), slope(slice(0, 3), 1e-3))
    expected = j[:, 1:].mean(-1, keepdim=True) + a * p_away[:, 1:]
    torch.testing.assert_close(o[:, 1:], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(o[:, 0], p[:, 0], atol=1e-5, rtol=0)


def corrections_by_definition(
    X: torch.Tensor, J: torch.Tensor, bound: torch.Tensor, cell: int, epsilon: float, trust: float
) -> torch.Tensor:
    """ā and b̄ by loops over the windows of every scale, of one picture."""
    fields = None
    for level in reversed(range(SCALES)):
        side = cell * 2**level
        rows, columns = (-(-n // side) for n in X.shape[-2:])
        found = torch.zeros(1, 3, rows, columns)
        if fields is not None:
            wider = F.interpolate(fields, scale_factor=2, mode="bilinear", align_corners=False)
        for i, k in itertools.product(range(rows), range(columns)):
            window = (
                0,
                slice(None),
                *(slice(max(n - 2, 0) * side, (n + 3) * side) for n in (i, k)),
            )
            x, j, limit = (y[window].flatten(1) for y in (X, J, bound))
            variance = x.var(1, correction=0)
            covariance = ((x - x.mean(1, keepdim=True)) * (j - j.mean(1, keepdim=True))).mean(1)
            colour = variance[1:].sum()
            a = (covariance[1:].sum() + epsilon / 4) / (colour + epsilon / 4)
            a = min(a, max((covariance.sum() + epsilon) / (variance.sum() + epsilon), 0))
            m = j.mean(1)[1:]
            if fields is not None:
                expected = wider[0, 0, i, k] * x.mean(1)[1:] + wider[0, 1:, i, k]
                ends = torch.stack((m, x.mean(1)[1:]))
                expected = expected.clamp(ends.amin(0), ends.amax(0))
                m = expected + colour / (colour + trust / 16 / 2**level) * (m - expected)
            t = limit.mean(1)
            first = max(m[0], min(t[0], 0) + max(t[3], 0))
            ratio = max(1, first * t[0] / (t[0] ** 2 + (4 / 255) ** 2))
            m = torch.stack((first, max(m[1], min(t[1], 0) * ratio + max(t[2], 0))))
            found[0, :, i, k] = torch.cat((a.view(1), m - a * x.mean(1)[1:]))
        fields = box_mean(found, radius=2)
    return fields


@pytest.mark.parametrize("seed", range(3))
def test_the_correction_is_what_its_description_says(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    X, J = 0.3 * torch.rand(2, 1, 3, 20, 28, generator=generator) - 0.15
    X[..., :10] *= 0.1
    J[..., :14, :] = 0.5 * J[..., :14, :] - 0.8 * X[..., :14, :]  # a negative slope
    bound = 0.05 * torch.randn(1, 4, 20, 28, generator=generator) - 0.01
    settings = {"epsilon": 1e-3, "trust": 0.05}
    torch.testing.assert_close(
        colour_correction(X, J, bound, cell=4, radius=2, **settings),
        corrections_by_definition(X, J, bound, 4, **settings),
        atol=1e-5,
        rtol=0,
    )


def test_hues_keep_their_place_around_the_haze() -> None:
    """Crimson flags on a grey wall, which the network makes orange: what sets them apart from the
    wall stays crimson, and gets as strong as the network wants it."""
    crimson, orange = torch.tensor([0.7, 0.1, 0.25]), torch.tensor([0.75, 0.25, 0.08])
    truth, J = torch.full((1, 3, 64, 64), 0.4), torch.full((1, 3, 64, 64), 0.4)
    flags = (torch.arange(64) // 4) % 4 == 0
    truth[..., flags], J[..., flags] = crimson[:, None, None], orange[:, None, None]
    P = add_haze(truth, torch.full((1, 1, 64, 64), 0.5), torch.full((1, 3, 1, 1), 0.8))
    out = local_affine_scene(P, J, cell=4)
    apart = out[..., flags].mean((0, 2, 3)) - out[..., ~flags].mean((0, 2, 3))
    seen, wanted, turned = (
        LIGHTNESS_AND_COLOUR[1:] @ x for x in (apart, crimson - 0.4, orange - 0.4)
    )
    cosine = F.cosine_similarity
    assert cosine(turned, wanted, 0) < 0.9
    assert cosine(seen, wanted, 0) > 0.999
    assert seen.norm() > 0.7 * turned.norm()


def test_colours_are_not_strengthened_beyond_lightness() -> None:
    """Faint bluish smoke, of which the network makes blue clouds: it gets the slope of all."""
    generator = torch.Generator().manual_seed(8)
    smoke = 0.02 * torch.randn(1, 1, 32, 32, generator=generator)
    colour = 0.002 * torch.randn(1, 1, 32, 32, generator=generator)
    blue = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1)
    P = 0.7 + smoke + colour * blue
    J = 0.6 + 2 * smoke + 8 * colour * blue
    out = local_affine_scene(P, J, cell=32, epsilon=1e-8)
    strengthened = (out[:, 2] - out[:, 0]).std() / (P[:, 2] - P[:, 0]).std()
    assert strengthened.item() == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (1.0, 0.0, -1.0)], ids=["dark", "coloured"])
def test_clouds_that_a_flat_sky_does_not_show_are_removed(tint: tuple[float, ...]) -> None:
    """A flat, slightly noisy sky above textured ground, into which the network paints clouds."""
    generator = torch.Generator().manual_seed(3)
    P = torch.full((1, 3, 256, 256), 0.8)
    P[..., :192, :] += 0.02 * torch.linspace(0, 1, 192)[:, None]
    P[..., :192, :] += 0.001 * torch.randn(1, 3, 192, 256, generator=generator)
    P[..., 192:, :] = 0.4 + 0.2 * torch.rand(1, 3, 64, 256, generator=generator)
    wave = torch.sin(torch.arange(256) * 2 * torch.pi / 40)
    clouds = 0.1 * wave[:, None] * wave[None]
    clouds[192:] = 0
    J = 1.5 * P - 0.4
    smoky = J + clouds * torch.tensor(tint).view(1, 3, 1, 1)

    def leftover(trust: float) -> float:
        T = torch.full((1, 1, 256, 256), 0.67)
        clean, out = (local_affine_scene(P, x, T, cell=4, trust=trust) for x in (J, smoky))
        return (out - clean)[..., 8:128, :].abs().max().item()

    if tint[1] == 0:
        assert leftover(1e-15) > 0.03  # each window's own mean: what the network drifted to stays
    assert leftover(1e-3) < 0.006


def test_colour_that_the_photo_shows_takes_its_own_tint_away() -> None:
    """Two coloured halves in haze of opposite tints: each gets the offset of its own."""
    generator = torch.Generator().manual_seed(6)
    warm = torch.tensor([1.0, 1.0, 0.7]).view(1, 3, 1, 1)
    truth = (0.1 + 0.6 * torch.rand(1, 3, 64, 256, generator=generator)) * warm
    t = torch.full((1, 1, 64, 256), 0.6)
    tint = torch.tensor([0.08, 0.0, -0.08]).view(1, 3, 1, 1)
    left = (torch.arange(256) < 128).float() * 2 - 1
    P = add_haze(truth, t, 0.8 + tint * left)

    def cast(trust: float) -> torch.Tensor:
        away = (local_affine_scene(P, truth, t, cell=4, trust=trust) - truth).mean(2)[0]
        return away[0] - away[2]  # red less blue, by column

    for columns in (slice(16, 112), slice(144, 240)):
        assert cast(5e-2)[columns].mean().abs() < 0.02
        assert cast(1e9)[columns].mean().abs() > 0.04  # the offset of the whole picture alone


def test_a_fog_that_is_grey_in_both_stays_grey_above_warm_fields() -> None:
    """Of the fields the network makes warmer ones, of the fog nothing."""
    generator = torch.Generator().manual_seed(19)
    P = torch.full((1, 3, 256, 128), 0.7)
    warm = torch.tensor([1.0, 0.85, 0.7]).view(1, 3, 1, 1)
    P[..., 128:, :] = 0.5 * warm + 0.2 * torch.rand(1, 3, 128, 128, generator=generator)
    J = P.clone()
    J[..., 128:, :] += torch.tensor([0.1, 0.0, -0.1]).view(3, 1, 1)
    away = (local_affine_scene(P, J, cell=8) - P)[..., :96, :]
    assert away.abs().max() < 2e-3
    below = (local_affine_scene(P, J, cell=8) - P)[..., 192:, :]
    assert below[:, 0].mean() > 0.09


def test_no_window_gets_bluer_or_more_magenta_than_the_photo() -> None:
    """The network's drift towards warm colours and green is followed, towards the others not."""
    generator = torch.Generator().manual_seed(9)
    P = 0.3 + 0.4 * torch.rand(1, 3, 64, 64, generator=generator)
    P -= P.mean((2, 3), keepdim=True) - 0.5
    for drift, followed in (
        ((0.1, 0.0, -0.1), 1.0),
        ((-0.05, 0.1, -0.05), 1.0),
        ((-0.1, 0.0, 0.1), 0.0),
        ((0.05, -0.1, 0.05), 0.0),
    ):
        offset = torch.tensor(drift).view(1, 3, 1, 1)
        for photo in (P, P + torch.tensor([-0.05, 0.0, 0.1]).view(1, 3, 1, 1)):
            away = (local_affine_scene(photo, photo + offset, cell=32) - photo).mean((0, 2, 3))
            torch.testing.assert_close(away, followed * torch.tensor(drift), atol=2e-3, rtol=0)
    green = P + torch.tensor([-0.03, 0.06, -0.03]).view(1, 3, 1, 1)
    away = (local_affine_scene(green, P, cell=32) - P).mean((0, 2, 3))  # it may come to grey
    torch.testing.assert_close(away, torch.zeros(3), atol=2e-3, rtol=0)


def test_what_is_red_in_the_photo_gets_redder_by_its_own_hue() -> None:
    """A crimson wall, of which the network makes a purer red, a more magenta one and one as
    crimson as it was, stays crimson or less; fog with hardly a colour does not become pink."""
    generator = torch.Generator().manual_seed(9)
    P = 0.35 + 0.2 * torch.rand(1, 3, 64, 64, generator=generator)
    P -= P.mean((2, 3), keepdim=True) - 0.45
    crimson = torch.tensor([0.1, -0.06, -0.04])

    def colour(photo: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        scene = P + wanted.view(1, 3, 1, 1)
        mean = local_affine_scene(photo, scene, cell=32).mean((0, 2, 3))
        return mean - mean.mean()

    wall = P + crimson.view(1, 3, 1, 1)
    orange = torch.tensor([0.2, -0.06, -0.14])
    torch.testing.assert_close(colour(wall, orange), orange, atol=4e-3, rtol=0)
    torch.testing.assert_close(colour(wall, 2 * crimson), 2 * crimson, atol=0.01, rtol=0)
    magenta = colour(wall, torch.tensor([0.18, -0.2, 0.02]))
    assert F.cosine_similarity(magenta, crimson, 0) > 0.995
    fog = P + 0.05 * crimson.view(1, 3, 1, 1)
    assert colour(fog, crimson)[1].abs() < 4e-3


def test_any_number_of_cells() -> None:
    for height, width in ((4, 4), (4, 12), (20, 4), (36, 28)):
        P = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        out = local_affine_scene(P, P, cell=4)
        assert out.shape == P.shape
        assert torch.isfinite(out).all()


def test_odd_numbers_of_cells_are_treated_alike_on_all_sides() -> None:
    """75×37 cells halve to 38×19, 19×10, …: the coarse models must stay where they belong."""
    generator = torch.Generator().manual_seed(5)
    rough = torch.rand(1, 3, 6, 9, generator=generator)
    P, J = (F.interpolate(x, size=(148, 300), mode="bicubic") for x in (0.6 + 0.05 * rough, rough))
    out = local_affine_scene(P, J, cell=4)
    turned = local_affine_scene(P.flip(-1), J.flip(-1), cell=4).flip(-1)
    assert (out - P).abs().mean() > 0.02
    assert (out - turned).abs().mean() < 0.004
