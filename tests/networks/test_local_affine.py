"""The closing fit: the scattering model solved, with the outlines and the detail of the photo."""

import pytest
import torch
import torch.nn.functional as F

from corun.data.scenes import render_scene
from corun.networks.local_affine import (
    PhysicalModel,
    apply_local_affine,
    explaining_airlight,
    local_affine_model,
    nearest_cleared,
    physical_model,
)
from corun.networks.photo_detail import Detail, share_of_texture
from corun.physics.scattering import add_haze, remove_haze
from corun.physics.window_filters import window_mean
from literal_formulation import LIGHTNESS_AND_COLOUR, local_affine_scene

WARM = torch.tensor([1.0, 1.0, 0.8]).view(1, 3, 1, 1)


def uneven_haze(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A scene with what its haze lets through: clear below, dense above; and its photo."""
    truth = 0.1 + 0.6 * render_scene(height, width, 5).image[None]
    T = torch.linspace(0.5, 0.9, height).view(1, 1, height, 1).expand(1, 1, height, width)
    return truth, T, add_haze(truth, T, torch.tensor([0.8, 0.85, 0.9]).view(1, 3, 1, 1))


def test_the_airlight_is_that_which_explains_the_photo() -> None:
    truth, T, P = uneven_haze(64, 96)
    expected = torch.tensor([0.8, 0.85, 0.9]).view(1, 3, 1, 1)
    torch.testing.assert_close(explaining_airlight(P, truth, T), expected, atol=1e-5, rtol=0)


def physical_scene(
    P: torch.Tensor, J: torch.Tensor, T: torch.Tensor, noise: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """X in RGB, and the T that made it."""
    opponent = LIGHTNESS_AND_COLOUR
    p, j = (torch.einsum("kc,bchw->bkhw", opponent, x) for x in (P, J))
    model = physical_model(p, j, T, share_of_texture(p[:, :1]), noise=noise)
    lightness, T = model.lightness(p[:, :1])
    X = torch.cat([lightness, *(model.colour(p[:, c : c + 1], T, c) for c in (1, 2))], 1)
    return torch.einsum("ck,bkhw->bchw", 3 * opponent.T, X), T


def test_without_haze_the_physical_scene_is_the_photo() -> None:
    P = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    X, T = physical_scene(P, 0.5 * P, torch.ones(1, 1, 16, 16), 2e-5)
    torch.testing.assert_close(T, torch.ones_like(T))
    torch.testing.assert_close(X, P, atol=1e-5, rtol=0)


def test_the_physical_scene_is_the_scattering_model_solved() -> None:
    truth, T, P = uneven_haze(256, 256)
    X, T_used = physical_scene(P, truth, T, 1e-12)
    inside = (..., slice(64, -64), slice(None))  # where no window is cut off
    assert (T_used - T)[inside].abs().mean() < 0.03
    A = explaining_airlight(P, truth, T)
    torch.testing.assert_close(X, remove_haze(P, T_used, A), atol=1e-3, rtol=0)
    assert (X - truth)[inside].abs().mean() < 0.03


def figure_in_fog() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """P, J and T of a dark figure before fog."""
    generator = torch.Generator().manual_seed(11)
    truth = torch.full((1, 3, 128, 192), 0.75)
    T = torch.full((1, 1, 128, 192), 0.2)
    truth[..., 40:, 80:112] = 0.2 + 0.2 * torch.rand(1, 3, 88, 32, generator=generator)
    T[..., 40:, 80:112] = 0.95
    return add_haze(truth, T, torch.full((1, 3, 1, 1), 0.8)), truth, T


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_outlines_of_large_photos_have_no_rim(factor: int) -> None:
    """A dark figure in fog, its outline between two pixels of the reduced photo of which the model
    is made. With 1/T or T enlarged as they are, more than a quarter of its rim comes out black."""
    truth = torch.full((1, 3, 96, 128), 0.75)
    T = torch.full((1, 1, 96, 128), 0.2)
    truth[..., 30:80, 50:77], T[..., 30:80, 50:77] = 0.3, 0.95
    size, between = (96 * factor, 128 * factor), (factor // 2, factor // 2)
    full, T_full = (F.interpolate(x, size=size).roll(between, (2, 3)) for x in (truth, T))
    P = add_haze(full, T_full, torch.full((1, 3, 1, 1), 0.8))
    small = F.interpolate(P, size=(96, 128), mode="area")
    out = apply_local_affine(local_affine_model(small, truth, T, cell=16, noise=0.0), P)
    rim = (T_full > 0.5) & (window_mean(T_full, radius=factor) < 0.949)
    assert (out.mean(1, keepdim=True)[rim] < 0.2).float().mean() < 0.15


def test_grain_on_a_road_into_fog_is_not_turned_round() -> None:
    """T depends on the tone below the grain, not on the grain."""
    T = torch.linspace(0.9, 0.15, 192).view(1, 1, 192, 1).expand(1, 1, 192, 192)
    even = add_haze(torch.full((1, 3, 192, 192), 0.3), T, torch.full((1, 3, 1, 1), 0.8))
    grain = 1e-3 * torch.randn(1, 1, 192, 192, generator=torch.Generator().manual_seed(17))
    J = torch.full((1, 3, 192, 192), 0.3)
    smooth, _ = physical_scene(even, J, T, 1.5e-5)
    grainy, _ = physical_scene(even + grain, J, T, 1.5e-5)
    for rows in (slice(24, 64), slice(80, 120), slice(136, 168)):
        away = (grainy - smooth)[:, :1, rows]
        gain = (away * grain[:, :, rows]).mean() / grain[:, :, rows].square().mean()
        assert 0.4 < gain < 2


def test_texture_and_the_airlight_reach_the_fit_of_the_transmission() -> None:
    """Asphalt among trees of the same lightness, of which the network has made something else; and
    a T so steep that brighter would come out darker, with this A only."""
    generator = torch.Generator().manual_seed(18)
    P = (0.3 + 0.2 * torch.rand(1, 1, 96, 96, generator=generator)).expand(1, 3, 96, 96).clone()
    asphalt = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    asphalt[..., 30:66, 30:66] = True
    P = torch.where(asphalt, torch.full_like(P, 0.4), P)
    T = torch.where(asphalt, 0.25, 0.6).float()
    J = remove_haze(P, T, torch.full((1, 3, 1, 1), 0.8))
    _, followed = physical_scene(P, J, T, 0.0)
    middle = (..., slice(40, 56), slice(40, 56))
    assert followed[middle].mean() > 0.52  # with all pixels alike 0.49

    opponent = LIGHTNESS_AND_COLOUR
    L = torch.linspace(0.2, 0.7, 96).view(1, 1, 1, 96).expand(1, 1, 96, 96)
    T = (1.2 - 1.5 * L).clamp_min(0.1)
    P = L.expand(1, 3, 96, 96)
    J = remove_haze(P, T, torch.full((1, 3, 1, 1), 0.9))
    p, j = (torch.einsum("kc,bchw->bkhw", opponent, x) for x in (P, J))
    model = physical_model(p, j, T, torch.ones(1, 1, 96, 96), noise=0.0)
    A = model.airlight[:, :1]
    alpha, beta = model.guide.chunk(2, 1)
    assert A.item() == pytest.approx(0.9, abs=1e-3)
    torch.testing.assert_close((alpha * A + beta).min(), torch.tensor(0.1), atol=2e-3, rtol=0)


def all_of_it(height: int, width: int) -> Detail:
    """Every detail more than noise, and none blurred."""
    nothing = torch.zeros(1, 3, height, width)
    return Detail(nothing + 1, nothing, nothing[:, :2])


def tone_curve(T: float) -> tuple[torch.Tensor, torch.Tensor]:
    """L from 0 to 1, and X of it for A = 0.5 and this T."""
    L = torch.linspace(0, 1, 501).view(1, 1, 1, -1)
    guide = torch.zeros(1, 2, 1, 501)
    guide[:, 1] = T
    airlight = torch.tensor([0.5, 0.0, 0.0]).view(1, 3, 1, 1)
    model = PhysicalModel(guide, all_of_it(1, 501), airlight)
    return L[0, 0, 0], model.lightness(L)[0][0, 0, 0]


def test_what_is_brighter_than_the_airlight_is_amplified_less() -> None:
    """Ten times far below A, 1/0.55 far above it; brighter stays brighter on the way, and contrast
    is hardly more than ten times anywhere."""
    L, X = tone_curve(0.01)
    slope = X.diff() / L.diff()
    assert 12 < slope.max() < 13
    assert slope[L[1:] > 0.52].max() < 3
    assert slope[0].item() == pytest.approx(10, rel=1e-2)
    assert slope[-1].item() == pytest.approx(1 / 0.55, rel=1e-2)
    assert (slope > 0).all()


def test_colours_are_not_amplified_where_haze_leaves_nothing_of_them() -> None:
    colour = torch.linspace(-0.1, 0.1, 21).view(1, 1, 1, -1)
    model = PhysicalModel(torch.zeros(1, 2, 1, 21), all_of_it(1, 21), torch.zeros(1, 3, 1, 1))
    for T, slope in ((0.2, 1 / 0.5), (0.8, 1 / 0.8)):
        X = model.colour(colour, torch.full_like(colour, T), 1)
        torch.testing.assert_close(X, slope * colour)


def test_a_high_transmission_holds_on_either_side_of_the_airlight() -> None:
    L, X = tone_curve(0.8)
    torch.testing.assert_close(X, 0.5 + (L - 0.5) / 0.8)


def test_the_exponent_takes_away_more_haze() -> None:
    truth, T, P = uneven_haze(96, 128)
    plain, stronger = (
        local_affine_scene(P, truth, t, cell=16, exponent=e)
        for t, e in ((T.square(), 1.0), (T, 2.0))
    )
    torch.testing.assert_close(plain, stronger)
    assert stronger.std() > 1.1 * local_affine_scene(P, truth, T, cell=16).std()


def test_the_clearest_region_is_made_clearer_and_fog_stays_fog() -> None:
    T = torch.linspace(0.1, 0.8, 200).view(1, 1, 200, 1).expand(1, 1, 200, 100).contiguous()
    clearest = T[..., -21:, :].mean()  # windows are cut off at the border
    torch.testing.assert_close(nearest_cleared(T, 0.5), (T / clearest.sqrt()).clamp(max=1))
    whole = nearest_cleared(T, 1.0)
    assert whole.amax() == 1
    torch.testing.assert_close(whole, (T / clearest).clamp(max=1))
    torch.testing.assert_close(nearest_cleared(0.2 * T, 1.0), 0.2 * T / 0.6)
    assert torch.equal(nearest_cleared(T, 0.0), T)
    both = nearest_cleared(torch.cat((T, 0.2 * T)), 0.5)  # each picture by itself
    torch.testing.assert_close(both[1:], nearest_cleared(0.2 * T, 0.5))


def colours(image: torch.Tensor) -> torch.Tensor:
    """The two colour differences, averaged over the picture."""
    return torch.einsum("bchw,kc->k", image, LIGHTNESS_AND_COLOUR[1:]) / image[0, 0].numel()


def test_of_blue_things_keep_what_the_haze_lets_through_and_a_sky_half_as_much_again() -> None:
    """Violet haze in front of grey rock, and a sky, smooth but for the noise of a camera, of both
    of which the network makes a deeper blue."""
    generator = torch.Generator().manual_seed(4)
    violet = torch.tensor([0.6, 0.55, 0.8]).view(1, 3, 1, 1)
    T = torch.full((1, 1, 64, 64), 0.5)
    noise = torch.rand(1, 1, 64, 64, generator=generator).expand(1, 3, 64, 64)
    sky = torch.tensor([0.45, 0.5, 0.6]).view(1, 3, 1, 1) + 0.01 * noise
    for photo, kept in ((add_haze(0.2 + 0.4 * noise, T, violet), 0.5), (sky, 1.5)):
        grey = photo.mean(1, keepdim=True)
        out = local_affine_scene(photo, grey + 2 * (photo - grey), T, cell=8)
        expected = kept * colours(photo).clamp(max=0)
        torch.testing.assert_close(colours(out).clamp(max=0), expected, atol=2e-3, rtol=0.03)


def test_a_greenish_fog_keeps_its_green() -> None:
    """Of which the network makes grey; what is green and has texture may come to grey."""
    noise = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(4))
    green = torch.tensor([0.5, 0.56, 0.5]).view(1, 3, 1, 1)
    T = torch.full((1, 1, 64, 64), 0.9)
    for contrast, kept in ((0.005, 1.0), (0.4, 0.0)):
        photo = green + contrast * (noise - 0.5)
        grey = photo.mean(1, keepdim=True).expand(1, 3, 64, 64)
        out = local_affine_scene(photo, grey, T, cell=8)
        expected = kept * colours(photo)[1]
        assert colours(out)[1].item() == pytest.approx(expected.item(), abs=2e-3)


@pytest.mark.parametrize(("T", "kept"), [(0.4, 0.6), (0.9, 1.0)])
def test_warm_light_keeps_its_warmth(T: float, kept: float) -> None:
    """Of which the network makes a cold grey."""
    noise = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(4))
    photo = torch.tensor([0.6, 0.55, 0.5]).view(1, 3, 1, 1) + 0.1 * (noise - 0.5)
    grey, T_map = photo.mean(1, keepdim=True), torch.full((1, 1, 64, 64), T)
    J = remove_haze(grey.expand(1, 3, 64, 64), T_map, torch.full((1, 3, 1, 1), 0.7))
    out = local_affine_scene(photo, J - 0.5 * (photo - grey), T_map, cell=8)
    expected = kept * colours(photo)[0]
    assert colours(out)[0].item() == pytest.approx(expected.item(), abs=2e-3)


def test_the_colours_of_fog_are_not_amplified_and_those_seen_through_haze_are() -> None:
    """Tints that run across a bank of dense fog, across a thin one and across dense haze."""
    noise = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(4)) - 0.5
    tint = torch.tensor([0.02, 0.0, -0.02]).view(1, 3, 1, 1) * torch.linspace(-1, 1, 128)
    for contrast, T, gain in ((0.0, 0.1, 1.0), (0.0, 0.5, 2.0), (0.3, 0.1, 2.0)):
        P = 0.6 + tint + contrast * noise
        T_map = torch.full((1, 1, 128, 128), T)
        J = remove_haze(P, T_map, torch.full((1, 3, 1, 1), 0.8))
        X, _ = physical_scene(P, J, T_map, 1e-9)
        left, right = (slice(32, 48), slice(80, 96))
        warmer = [(x[:, 0] - x[:, 2])[..., 32:96, :] for x in (P, X)]
        across = [(w[..., right].mean() - w[..., left].mean()).item() for w in warmer]
        assert across[1] / across[0] == pytest.approx(gain, rel=0.1)


def test_neither_colour_difference_of_fog_is_amplified() -> None:
    """A greenish tint that runs across it."""
    tint = torch.tensor([-0.01, 0.02, -0.01]).view(1, 3, 1, 1) * torch.linspace(-1, 1, 128)
    P = (0.6 + tint).expand(1, 3, 128, 128)
    T = torch.full((1, 1, 128, 128), 0.1)
    X, _ = physical_scene(P, remove_haze(P, T, torch.full((1, 3, 1, 1), 0.8)), T, 1e-9)
    greener = [(x[:, 1] - x[:, 0])[..., 32:96, :] for x in (P, X)]
    across = [(w[..., 80:96].mean() - w[..., 32:48].mean()).item() for w in greener]
    assert across[1] / across[0] == pytest.approx(1, rel=0.1)


def test_the_scene_of_the_network_reaches_the_fit_of_the_transmission() -> None:
    """A figure before fog to which the network gives the T around it, and the right scene."""
    P, truth, T = figure_in_fog()
    fogs = torch.full_like(T, 0.5)
    blind = remove_haze(P, fogs, torch.full((1, 3, 1, 1), 0.8))
    figure = (..., slice(60, 120), slice(88, 104))
    means = [physical_scene(P, J, fogs, 0.0)[1][figure].mean().item() for J in (blind, truth)]
    assert means[0] == pytest.approx(0.5, abs=0.02)
    assert means[1] > 0.57


def test_fog_around_a_figure_stays_fog() -> None:
    """Dark smoke that the network paints around it and the photo does not show."""
    P, truth, T = figure_in_fog()
    y, x = torch.arange(128.0)[:, None] - 84, torch.arange(192.0) - 96
    smoke = 0.3 * torch.exp(-(y.square() + x.square()) / (2 * 40.0**2))
    fog = T[0, 0] < 0.5
    out = local_affine_scene(P, truth - torch.where(fog, smoke, torch.zeros(())), T, cell=4)
    assert out[0, :, fog].std() < 0.25 * smoke[fog].std()


def test_texture_that_the_photo_does_not_show_is_removed() -> None:
    torch.manual_seed(0)
    P = torch.full((1, 3, 64, 64), 0.8)
    invented = 0.7 + 0.05 * torch.randn(1, 3, 64, 64)
    out = local_affine_scene(P, invented, torch.full((1, 1, 64, 64), 0.5), cell=4)
    assert out.std() < 0.1 * invented.std()
    assert out.mean().item() == pytest.approx(0.7, abs=0.005)


def test_detail_that_the_scene_lost_comes_back() -> None:
    truth = (0.1 + 0.7 * render_scene(64, 64, 1).image[None]) * WARM
    T = torch.full((1, 1, 64, 64), 0.5)
    P = add_haze(truth, T, torch.full((1, 3, 1, 1), 0.95))
    blurred = window_mean(truth, radius=1)
    out = local_affine_scene(P, blurred, T, cell=4)
    assert (out - truth).square().mean() < 0.2 * (blurred - truth).square().mean()


def test_exact_haze_removal_passes_through_unchanged() -> None:
    torch.manual_seed(0)
    J = (0.11 + 0.65 * torch.rand(1, 3, 32, 48)) * WARM
    T = torch.full((1, 1, 32, 48), 0.6)
    P = add_haze(J, T, torch.tensor([0.8, 0.85, 0.9]).view(1, 3, 1, 1))
    out = local_affine_scene(P, J, T, cell=4, epsilon=1e-7, noise=0.0)
    torch.testing.assert_close(out, J, atol=1e-3, rtol=0)


def test_white_stays_white() -> None:
    """A clipped cloud in bluish haze does not get the yellow that takes the blue away; what is
    hardly darker than the range is the model's, its highlights compressed."""
    P = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(7)) * 0.5
    P[..., :24, 20:44] = 1.0
    P[..., 40:, 20:44] = 0.89
    T = torch.full((1, 1, 64, 64), 0.8)
    J = remove_haze(P, T, torch.tensor([0.6, 0.7, 0.8]).view(1, 3, 1, 1))
    out = local_affine_scene(P, J, T, cell=4)
    assert torch.equal(out[..., :24, 20:44], torch.ones(1, 3, 24, 24))
    patch = (..., slice(44, None), slice(24, 40))
    largest = J[patch].amax(1, keepdim=True)
    below = 1 - 0.18 * torch.exp((1 - largest) / 0.18 - 1)
    below = below.clamp_min(0.89)
    grey = J[patch].mean(1, keepdim=True)
    kept = (1 - 0.18 * torch.exp((1 - grey) / 0.18 - 1) + grey * below / largest) / 2
    model = kept + (J[patch] - grey) * (below - kept) / (largest - grey)
    torch.testing.assert_close(out[patch], model, atol=5e-3, rtol=0)
    assert (out - P)[patch][:, 0].mean() > 0.02


def test_pictures_of_a_batch_are_fitted_each_by_itself() -> None:
    generator = torch.Generator().manual_seed(6)
    P, J = torch.rand(2, 3, 3, 32, 48, generator=generator)
    P[1] = 0.6 + 0.01 * P[1]
    T = 0.2 + 0.8 * torch.rand(3, 1, 32, 48, generator=generator)
    together = local_affine_scene(P, J, T, cell=16)
    alone = torch.cat(
        [
            local_affine_scene(*x, cell=16)
            for x in zip(*(y.split(1) for y in (P, J, T)), strict=True)
        ]
    )
    torch.testing.assert_close(together, alone)


def test_gradients_are_finite_on_flat_pictures() -> None:
    P = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    J = torch.full((1, 3, 16, 16), 0.4, requires_grad=True)
    for noise in (0.0, 2e-5):
        for value in (1.0, 0.3):
            T = torch.full((1, 1, 16, 16), value, requires_grad=True)
            local_affine_scene(P, J, T, cell=4, noise=noise).square().sum().backward()
            assert torch.isfinite(P.grad).all()
            assert torch.isfinite(J.grad).all()
            assert torch.isfinite(T.grad).all()
