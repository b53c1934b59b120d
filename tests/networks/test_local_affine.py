"""The closing fit against a direct regression, and what it is for."""

import math

import pytest
import torch

from corun.data.scenes import render_scene
from corun.networks.local_affine import (
    LEAST_TRANSMISSION,
    LocalAffineModel,
    PhysicalModel,
    apply_local_affine,
    explaining_airlight,
    local_affine_model,
    physical_model,
    smooth_where_flat,
    window_mean,
)
from corun.physics.scattering import add_haze, remove_haze
from literal_formulation import local_affine_scene

LIGHTNESS_AND_COLOUR = (
    torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1, 0, -1], [-1, 2, -1]], dtype=torch.float32)
    / torch.tensor([1, 6**0.5, 18**0.5])[:, None]
)


def uneven_haze(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A scene with what its haze lets through: clear below, dense above; and its photo."""
    truth = 0.1 + 0.8 * render_scene(height, width, 5).image[None]
    T = torch.linspace(0.2, 0.9, height).view(1, 1, height, 1).expand(1, 1, height, width)
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
    model = physical_model(p, j, T, noise=noise)
    T = model.transmission(p[:, :1])
    X = torch.cat([model.scene(p[:, c : c + 1], T, c) for c in range(3)], 1)
    return torch.einsum("ck,bkhw->bchw", 3 * opponent.T, X), T


def test_without_haze_the_physical_scene_is_the_photo() -> None:
    P = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    X, T = physical_scene(P, 0.5 * P, torch.ones(1, 1, 16, 16), 2e-5)
    torch.testing.assert_close(T, torch.ones_like(T))
    torch.testing.assert_close(X, P, atol=1e-5, rtol=0)


def test_the_physical_scene_is_the_scattering_model_solved() -> None:
    truth, T, P = uneven_haze(48, 64)
    X, T_used = physical_scene(P, truth, T, 1e-12)
    torch.testing.assert_close(T_used, T.contiguous(), atol=0.06, rtol=0)
    A = explaining_airlight(P, truth, T)
    torch.testing.assert_close(X, remove_haze(P, T_used, A), atol=1e-3, rtol=0)
    assert (X - truth).abs().mean() < 0.03


def test_transmission_without_a_reason_in_the_photo_is_smoothed() -> None:
    """The grid of the priors on T: it goes where the photo is flat and stays where it is not."""
    generator = torch.Generator().manual_seed(12)
    P = torch.full((1, 3, 96, 192), 0.1)  # opponent channels: a lightness and two colours
    P[..., 96:] += 0.2 * torch.rand(1, 3, 96, 96, generator=generator)
    T = 0.4 + 0.05 * torch.sign(torch.sin(torch.arange(192) * torch.pi / 4 + 0.1))
    T = T.expand(1, 1, 96, 192)
    smooth = smooth_where_flat(P, T)
    assert smooth[..., 20:60].std() < 0.1 * T[..., 20:60].std()
    assert smooth[..., 130:].std() > 0.9 * T[..., 130:].std()


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_outlines_of_large_photos_have_no_rim(factor: int) -> None:
    """A dark figure in fog, its outline between two pixels of the reduced photo of which the model
    is made. With 1/T or T enlarged as they are, more than a quarter of its rim comes out black."""
    truth = torch.full((1, 3, 96, 128), 0.75)
    T = torch.full((1, 1, 96, 128), 0.2)
    truth[..., 30:80, 50:77], T[..., 30:80, 50:77] = 0.3, 0.95
    size, between = (96 * factor, 128 * factor), (factor // 2, factor // 2)
    full, T_full = (
        torch.nn.functional.interpolate(x, size=size).roll(between, (2, 3)) for x in (truth, T)
    )
    P = add_haze(full, T_full, torch.full((1, 3, 1, 1), 0.8))
    small = torch.nn.functional.interpolate(P, size=(96, 128), mode="area")
    out = apply_local_affine(local_affine_model(small, truth, T, cell=16, noise=0.0), P)
    rim = (T_full > 0.5) & (window_mean(T_full, factor) < 0.949)
    assert (out.mean(1, keepdim=True)[rim] < 0.2).float().mean() < 0.15


def test_noise_is_not_divided_by_the_transmission_but_detail_and_tone_are() -> None:
    generator = torch.Generator().manual_seed(2)
    P = 0.7 + 5e-4 * torch.randn(1, 3, 64, 128, generator=generator)
    P[..., 64:] += 0.05 * torch.randn(1, 3, 64, 64, generator=generator)
    T = torch.full((1, 1, 64, 128), 0.25)
    X, _ = physical_scene(P, remove_haze(P, T, torch.full((1, 3, 1, 1), 0.8)), T, 2e-5)
    assert X[..., 8:48].std() < 1.3 * P[..., 8:48].std()
    assert X[..., 80:].std() > 3.8 * P[..., 80:].std()
    tone = 0.8 - 0.1 / 0.25
    assert X[..., 8:48].mean().item() == pytest.approx(tone, abs=2e-3)


def test_the_physical_scene_amplifies_nothing_more_than_ten_times() -> None:
    P = 0.5 + 0.1 * torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    X, T = physical_scene(P, P, torch.full((1, 1, 32, 32), 1e-9), 0.0)
    assert T.min().item() == pytest.approx(LEAST_TRANSMISSION)
    assert X.std() / P.std() == pytest.approx(10, rel=1e-3)


def smoky_fog() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """P, T and J: a dark figure before fog, around which the network sees dark smoke."""
    generator = torch.Generator().manual_seed(11)
    truth = torch.full((1, 3, 128, 192), 0.75)
    T = torch.full((1, 1, 128, 192), 0.2)
    truth[..., 40:, 80:112] = 0.2 + 0.2 * torch.rand(1, 3, 88, 32, generator=generator)
    T[..., 40:, 80:112] = 0.95
    P = add_haze(truth, T, torch.full((1, 3, 1, 1), 0.8))
    y, x = torch.arange(128.0)[:, None] - 84, torch.arange(192.0) - 96
    smoke = 0.3 * torch.exp(-(y.square() + x.square()) / (2 * 40.0**2))
    smoke = torch.where(T[0, 0] < 0.5, smoke, torch.zeros(()))
    return P, T, truth - smoke


def test_fog_around_a_figure_stays_fog() -> None:
    """Smoke that the photo does not show and T does not explain is spread to nothing."""
    P, T, J = smoky_fog()
    fog = T[0, 0] < 0.5

    def unevenness(scene: torch.Tensor) -> float:
        return scene[0, :, fog].std().item()

    wide, narrow = (unevenness(local_affine_scene(P, J, T, cell=c)) for c in (16, 4))
    assert wide < 0.25 * unevenness(J)
    assert wide < 0.6 * narrow


def test_true_transmission_and_scene_give_the_scene() -> None:
    """Where T changes within the windows, which no a and b per window could follow."""
    truth, T, P = uneven_haze(128, 160)
    near = (torch.arange(160) // 20) % 2 == 0
    T = torch.where(near, T, 0.5 * T)
    P = add_haze(truth, T, torch.full((1, 3, 1, 1), 0.85))
    exact, blind = (local_affine_scene(P, truth, t, cell=16, noise=0.0) for t in (T, None))
    assert (exact - truth).abs().mean() < 0.4 * (blind - truth).abs().mean()


def test_one_window_is_a_ridge_regression() -> None:
    """Where every window is the whole picture, a and b are one regression's: one a for lightness,
    one for both colour differences, no steeper than that of all three."""
    torch.manual_seed(0)
    P = torch.rand(2, 3, 8, 8)
    J = 0.1 + 0.7 * P.square() + 0.1 * torch.rand_like(P)  # nothing as dark as the shadows
    out = local_affine_scene(P, J, cell=8, epsilon=1e-3)
    p, j, o = (torch.einsum("bcn,kc->bkn", x.flatten(2), LIGHTNESS_AND_COLOUR) for x in (P, J, out))
    p_away, j_away = p - p.mean(-1, keepdim=True), j - j.mean(-1, keepdim=True)

    def slope(channels: slice, ridge: float) -> torch.Tensor:
        covariance = (p_away * j_away)[:, channels].mean(-1).sum(1)
        variance = p_away.square()[:, channels].mean(-1).sum(1)
        return ((covariance + ridge) / (variance + ridge))[:, None, None]

    of_all = slope(slice(0, 3), 1e-3)
    for channels, a in (
        (slice(0, 1), slope(slice(0, 1), 1e-3)),
        (slice(1, 3), torch.minimum(slope(slice(1, 3), 2.5e-4), of_all)),
    ):
        expected = j[:, channels].mean(-1, keepdim=True) + a * p_away[:, channels]
        torch.testing.assert_close(o[:, channels], expected, atol=1e-5, rtol=0)


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
    cosine = torch.nn.functional.cosine_similarity
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


def test_exact_haze_removal_passes_through_unchanged() -> None:
    """J = (P − A(1−t))/t is affine in P where t and A are constant; above the shadows."""
    torch.manual_seed(0)
    J = 0.05 + 0.95 * torch.rand(1, 3, 32, 48)
    P = add_haze(
        J, torch.full((1, 1, 32, 48), 0.4), torch.tensor([0.8, 0.85, 0.9]).view(1, 3, 1, 1)
    )
    out = local_affine_scene(P, J, cell=4, epsilon=1e-7)
    torch.testing.assert_close(out, J, atol=1e-3, rtol=0)


def test_faint_noise_stays_as_it_is() -> None:
    """What counts as noise is neither strengthened with the contrast nor smeared."""
    generator = torch.Generator().manual_seed(9)
    noise = 1e-3 * torch.randn(1, 3, 64, 64, generator=generator)
    P = 0.7 + noise
    out = local_affine_scene(P, 5 * P - 2.9, cell=4, epsilon=1e-4)
    kept = (out - out.mean((2, 3), keepdim=True)).std() / noise.std()
    assert 0.9 < kept.item() < 1.2


def test_texture_that_the_photo_does_not_show_is_removed() -> None:
    torch.manual_seed(0)
    P = torch.full((1, 3, 64, 64), 0.8)
    invented = 0.7 + 0.05 * torch.randn(1, 3, 64, 64)
    out = local_affine_scene(P, invented, cell=4, epsilon=1e-4)
    assert out.std() < 0.1 * invented.std()
    assert out.mean().item() == pytest.approx(0.7, abs=0.005)


def test_detail_that_the_scene_lost_comes_back() -> None:
    truth = render_scene(64, 64, 1).image[None]
    P = truth * 0.5 + 0.5
    blurred = torch.nn.functional.avg_pool2d(truth, 3, 1, 1, count_include_pad=False)
    out = local_affine_scene(P, blurred, cell=4, epsilon=1e-5)
    assert (out - truth).square().mean() < 0.5 * (blurred - truth).square().mean()


def sky_over_ground() -> tuple[torch.Tensor, torch.Tensor]:
    """A hazy photo: flat, slightly noisy sky above textured ground; and its affine dehazing."""
    generator = torch.Generator().manual_seed(3)
    P = torch.full((1, 3, 256, 256), 0.8)
    P[..., :192, :] += 0.02 * torch.linspace(0, 1, 192)[:, None]
    P[..., :192, :] += 0.001 * torch.randn(1, 3, 192, 256, generator=generator)
    P[..., 192:, :] = 0.4 + 0.2 * torch.rand(1, 3, 64, 256, generator=generator)
    return P, 1.5 * P - 0.4


def smoke() -> torch.Tensor:
    """Clouds with a period of 40 pixels in the sky: (1,1,256,256)."""
    wave = torch.sin(torch.arange(256) * 2 * torch.pi / 40)
    clouds = 0.1 * wave[:, None] * wave[None]
    clouds[192:] = 0
    return clouds[None, None]


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (1.0, 0.0, -1.0)], ids=["dark", "coloured"])
def test_clouds_that_a_flat_sky_does_not_show_are_removed(tint: tuple[float, ...]) -> None:
    P, J = sky_over_ground()
    smoky = J + smoke() * torch.tensor(tint).view(1, 3, 1, 1)

    def leftover(trust: float) -> float:
        clean = local_affine_scene(P, J, cell=4, trust=trust)
        difference = local_affine_scene(P, smoky, cell=4, trust=trust) - clean
        return difference[..., 8:128, :].abs().max().item()

    assert leftover(1e-15) > 0.03  # each window's own mean: what the network drifted to stays
    assert leftover(1e-3) < 0.006


def test_contrast_that_the_photo_shows_keeps_its_own_model() -> None:
    """Two textured halves of different haze are each dehazed by their own a and b."""
    generator = torch.Generator().manual_seed(4)
    truth = torch.rand(1, 3, 64, 128, generator=generator)
    t = torch.full((1, 1, 64, 128), 0.8)
    t[..., 64:] = 0.4
    P = add_haze(truth, t, torch.full((1, 3, 1, 1), 0.9))
    out = local_affine_scene(P, truth, cell=4, trust=1e-3)
    away = torch.cat((out[..., :40] - truth[..., :40], out[..., 88:] - truth[..., 88:]), -1)
    assert away.abs().mean() < 0.01


def test_colour_that_the_photo_shows_takes_its_own_tint_away() -> None:
    """Two coloured halves in haze of opposite tints: each gets the offset of its own."""
    generator = torch.Generator().manual_seed(6)
    truth = torch.rand(1, 3, 64, 256, generator=generator)
    t = torch.full((1, 1, 64, 256), 0.6)
    tint = torch.tensor([0.08, 0.0, -0.08]).view(1, 3, 1, 1)
    left = (torch.arange(256) < 128).float() * 2 - 1
    out = local_affine_scene(add_haze(truth, t, 0.8 + tint * left), truth, cell=4)
    cast = (out - truth).mean(2)[0, 0] - (out - truth).mean(2)[0, 2]  # red less blue, by column
    assert cast[16:112].mean().abs() < 0.02
    assert cast[144:240].mean().abs() < 0.02


def test_white_stays_white() -> None:
    """A clipped cloud in bluish haze gets neither the yellow that takes the blue away nor the dark
    of the network; what is hardly darker than the range is the model's."""
    P = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(7)) * 0.5
    P[..., :24, 20:44] = 1.0
    P[..., 40:, 20:44] = 0.89
    J = 0.9 * P - torch.tensor([0.0, 0.02, 0.1]).view(1, 3, 1, 1)
    out = local_affine_scene(P, J, cell=4)
    assert torch.equal(out[..., :24, 20:44], torch.ones(1, 3, 24, 24))
    torch.testing.assert_close(out[..., 44:, 24:40], J[..., 44:, 24:40], atol=0.02, rtol=0)


def test_a_vignette_is_hardly_deepened() -> None:
    """A sky gets darker towards the corners in the photo alone. The slope of the whole picture
    would multiply that; wide windows see enough contrast to follow the network's own mean."""
    generator = torch.Generator().manual_seed(3)
    P = 0.8 + 0.001 * torch.randn(1, 3, 384, 512, generator=generator)
    P[..., 320:, :] = 0.4 + 0.2 * torch.rand(1, 3, 64, 512, generator=generator)
    J = 1.5 * P - 0.4
    y, x = torch.linspace(0, 1, 384)[:, None], torch.linspace(0, 1, 512)
    vignette = 0.06 * ((x - 0.6).square() + (y - 0.6).square()) / 0.72
    plain, darker = (
        local_affine_scene(photo, J, cell=16)[..., :64, :64].mean() for photo in (P, P - vignette)
    )
    assert (plain - darker) < 0.4 * 1.5 * vignette[:64, :64].mean()


def test_shadows_are_compressed_not_cut_off() -> None:
    """Where the model falls below black, tones keep their order, and none is brighter than P."""
    P = torch.linspace(0.0, 0.4, 64).expand(1, 3, 8, 64).contiguous()
    fields = torch.zeros(1, 6, 2, 16)
    fields[:, 0], fields[:, 3] = 2.0, -0.3  # lightness: J = 2·P − 0.3, colours: 0
    guide = torch.zeros(1, 2, 8, 64)
    guide[:, 1] = 1.0  # T = 1
    nothing = torch.zeros(1, 3, 8, 64)
    physical = PhysicalModel(guide, nothing, nothing, torch.zeros(1, 3, 1, 1))
    model = LocalAffineModel(physical, fields)
    out = apply_local_affine(model, P)[0, 0, 0]
    plain = 2 * P[0, 0, 0] - 0.3
    assert (out > 0)[1:].all()
    assert (out.diff() > 0).all()
    assert (out <= P[0, 0, 0] + 1e-6)[plain < 0.04].all()
    torch.testing.assert_close(out[plain >= 0.04], plain[plain >= 0.04])
    row = int((plain - 0.02).abs().argmin())
    assert out[row].item() == pytest.approx(0.04 * math.exp(plain[row].item() / 0.04 - 1), abs=1e-6)
    # Black in the photo, a letterbox say, stays as black as it is.
    black = apply_local_affine(model, torch.zeros(1, 3, 8, 8))
    assert torch.equal(black, torch.zeros_like(black))


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
    P, J = (
        torch.nn.functional.interpolate(x, size=(148, 300), mode="bicubic")
        for x in (0.6 + 0.05 * rough, rough)
    )
    out = local_affine_scene(P, J, cell=4)
    turned = local_affine_scene(P.flip(-1), J.flip(-1), cell=4).flip(-1)
    assert (out - turned).abs().mean() < 0.004


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


def test_window_mean_is_cut_off_at_the_border() -> None:
    cells = torch.arange(4.0).view(1, 1, 1, 4)
    assert window_mean(cells, 1).flatten().tolist() == [0.5, 1.0, 2.0, 2.5]
