"""The closing fit against a direct regression, and what it is for."""

import pytest
import torch

from corun.data.scenes import render_scene
from corun.networks.local_affine import local_affine_scene, window_mean
from corun.physics.scattering import add_haze


def test_one_window_is_a_ridge_regression() -> None:
    """Where every window is the whole picture, a and b are one regression's."""
    torch.manual_seed(0)
    P = torch.rand(2, 3, 8, 8)
    J = 0.7 * P.square() + 0.1 * torch.rand_like(P)
    out = local_affine_scene(P, J, cell=8, epsilon=1e-3)
    p, j = P.flatten(2), J.flatten(2)
    mean_p, mean_j = p.mean(-1, keepdim=True), j.mean(-1, keepdim=True)
    covariance = ((p - mean_p) * (j - mean_j)).mean(-1, keepdim=True)
    a = covariance / ((p - mean_p).square().mean(-1, keepdim=True) + 1e-3)
    expected = (mean_j + a * (p - mean_p)).view_as(P)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


def test_exact_haze_removal_passes_through_unchanged() -> None:
    """J = (P − A(1−t))/t is affine in P where t and A are constant."""
    torch.manual_seed(0)
    J = torch.rand(1, 3, 32, 48)
    P = add_haze(
        J, torch.full((1, 1, 32, 48), 0.4), torch.tensor([0.8, 0.85, 0.9]).view(1, 3, 1, 1)
    )
    out = local_affine_scene(P, J, cell=4, epsilon=1e-7)
    torch.testing.assert_close(out, J, atol=1e-3, rtol=0)


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


def test_gradients_are_finite_on_flat_pictures() -> None:
    P = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    J = torch.full((1, 3, 16, 16), 0.4, requires_grad=True)
    local_affine_scene(P, J, cell=4).square().sum().backward()
    assert torch.isfinite(P.grad).all()
    assert torch.isfinite(J.grad).all()


def test_window_mean_is_cut_off_at_the_border() -> None:
    cells = torch.arange(4.0).view(1, 1, 1, 4)
    assert window_mean(cells, 1).flatten().tolist() == [0.5, 1.0, 2.0, 2.5]
