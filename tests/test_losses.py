"""Every loss against a hand computation on a 2×2 image."""

from pathlib import Path

import pytest
import torch

from corun.errors import WeightsError
from corun.losses import (
    PUBLISHED_LAYER_WEIGHTS,
    VggFeatures,
    colour_loss,
    contrastive_perceptual_loss,
    density_loss,
    gradient_loss,
    layer_weights_for,
    perceptual_loss,
    pixel_loss,
    scattering_consistency_loss,
    structure_loss,
    weighted_pixel_loss,
)


def image(*channels: list[float]) -> torch.Tensor:
    """A 2×2 picture, one list of four values per channel."""
    return torch.tensor(channels).view(1, len(channels), 2, 2)


SCENE = image([0.2, 0.4, 0.6, 0.8], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0])
TARGET = image([0.2, 0.2, 0.2, 0.2], [0.1, 0.0, 0.0, 0.0], [1.0, 0.5, 1.0, 1.0])


def test_pixel_loss_by_hand() -> None:
    # (0 + 0.2 + 0.4 + 0.6 + 0.1 + 0.5) / 12
    assert pixel_loss(SCENE, TARGET).item() == pytest.approx(1.8 / 12)


def test_colour_loss_by_hand() -> None:
    # J − G (r, g, b) of the four pixels: (0, -0.1, 0), (0.2, 0, 0.5), (0.4, 0, 0), (0.6, 0, 0);
    # less their mean: 4/30; (0.1 + 0.7 + 0.8)/3; (0.8 + 0.4 + 0.4)/3; (1.2 + 0.6 + 0.6)/3.
    expected = (0.4 / 3 + 1.6 / 3 + 1.6 / 3 + 2.4 / 3) / 12
    assert colour_loss(SCENE, TARGET).item() == pytest.approx(expected)


def test_colour_loss_does_not_see_brightness() -> None:
    assert colour_loss(TARGET + 0.2, TARGET).item() == pytest.approx(0, abs=1e-7)


def test_weighted_pixel_loss_by_hand() -> None:
    weight = image([1.0, 0.5, 0.0, 0.25])
    # 1·0.1 + 0.5·(0.2 + 0.5) + 0 + 0.25·0.6
    expected = (0.1 + 0.35 + 0.15) / 12
    assert weighted_pixel_loss(SCENE, TARGET, weight).item() == pytest.approx(expected)


def test_scattering_consistency_by_hand() -> None:
    T = image([0.5, 0.5, 1.0, 0.25])
    # J·T + 1 − T: red .6 .7 .6 .95; green .5 .5 0 .75; blue 1 1 1 1; minus the target:
    red, green, blue = 0.4 + 0.5 + 0.4 + 0.75, 0.4 + 0.5 + 0 + 0.75, 0 + 0.5 + 0 + 0
    loss = scattering_consistency_loss(SCENE, T, TARGET)
    assert loss.item() == pytest.approx((red + green + blue) / 12)
    weight = image([0.0, 0.0, 0.0, 1.0])
    weighted = scattering_consistency_loss(SCENE, T, TARGET, weight)
    assert weighted.item() == pytest.approx((0.75 + 0.75) / 12)


def test_scattering_consistency_of_the_truth_is_zero() -> None:
    T = image([0.5, 0.3, 1.0, 0.25])
    assert scattering_consistency_loss(SCENE, T, SCENE * T + 1 - T).item() < 1e-7


def test_perceptual_losses_by_hand() -> None:
    scene, positive, negative = ([image(values)] for values in ([1.0] * 4, [0.5] * 4, [3.0] * 4))
    assert perceptual_loss(scene, positive, (2.0,)).item() == pytest.approx(1.0)
    # 2 · 0.5 / 2
    loss = contrastive_perceptual_loss(scene, positive, negative, (2.0,))
    assert loss.item() == pytest.approx(0.5, rel=1e-5)
    two = contrastive_perceptual_loss(scene * 2, positive * 2, negative * 2, (2.0, 4.0))
    assert two.item() == pytest.approx(1.5, rel=1e-5)


def test_contrastive_loss_is_finite_where_the_output_is_the_input() -> None:
    same = [image([0.3] * 4)]
    assert torch.isfinite(contrastive_perceptual_loss(same, [image([0.1] * 4)], same, (1.0,)))


def test_density_loss_is_the_mean() -> None:
    assert density_loss(torch.tensor([0.2, 0.6])).item() == pytest.approx(0.4)


def test_gradient_loss_by_hand() -> None:
    # J − G: red 0 .2 / .4 .6, green −.1 0 / 0 0, blue 0 .5 / 0 0; across: .2 .2, .1 0, .5 0;
    # down: .4 .4, .1 0, 0 .5; each is the mean of six.
    expected = 0.5 * (1.0 / 6 + 1.4 / 6)
    assert gradient_loss(SCENE, TARGET).item() == pytest.approx(expected)


def test_structure_loss_is_ssim_of_seven_by_seven_windows() -> None:
    x, y = torch.rand(2, 1, 3, 7, 7, generator=torch.Generator().manual_seed(0)).double()
    similar = []
    for a, b in zip(x[0], y[0], strict=True):
        covariance = ((a - a.mean()) * (b - b.mean())).mean()
        luminance = (2 * a.mean() * b.mean() + 1e-4) / (a.mean() ** 2 + b.mean() ** 2 + 1e-4)
        structure = (2 * covariance + 9e-4) / (a.var(unbiased=False) + b.var(unbiased=False) + 9e-4)
        similar.append(luminance * structure)
    expected = 1 - torch.stack(similar).mean()
    torch.testing.assert_close(structure_loss(x, y), expected)
    assert structure_loss(x, x).item() == pytest.approx(0, abs=1e-9)


def test_asked_layers_are_returned_and_nothing_behind_them_is_computed(tmp_path: Path) -> None:
    torch.save(torchvision_state(13), tmp_path / "vgg.pth")
    whole = VggFeatures(tmp_path / "vgg.pth", ("relu1_2", "relu2_2", "relu3_4"))
    some = VggFeatures(tmp_path / "vgg.pth", ("relu1_2", "relu2_2"))
    picture = torch.rand(1, 3, 32, 32)
    maps = whole(picture)
    assert [m.shape[-1] for m in maps] == [32, 16, 8]
    for ours, same in zip(some(picture), maps, strict=False):
        assert torch.equal(ours, same)
    assert len(some.convolutions) == 4
    with pytest.raises(WeightsError, match=r"relu6_1.*its layers are relu1_1"):
        VggFeatures(tmp_path / "vgg.pth", ("relu6_1",))


def torchvision_state(convolutions: int) -> dict[str, torch.Tensor]:
    """Random weights in torchvision's layout, narrow."""
    generator = torch.Generator().manual_seed(0)
    state, width = {}, 3
    for index in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)[:convolutions]:
        state[f"features.{index}.weight"] = torch.randn(4, width, 3, 3, generator=generator) / 4
        state[f"features.{index}.bias"] = torch.randn(4, generator=generator) / 4
        width = 4
    return state


def test_torchvision_layout_gives_five_layers(tmp_path: Path) -> None:
    state = torchvision_state(13)
    torch.save(state, tmp_path / "vgg.pth")
    features = VggFeatures(tmp_path / "vgg.pth")
    assert features.layers == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    assert layer_weights_for(features) == pytest.approx(PUBLISHED_LAYER_WEIGHTS)
    picture = torch.rand(1, 3, 32, 32)
    maps = features(picture)
    assert [m.shape[-1] for m in maps] == [32, 16, 8, 4, 2]
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    normalised = (picture - mean) / std
    first = torch.nn.functional.conv2d(
        normalised, state["features.0.weight"], state["features.0.bias"], padding=1
    ).relu()
    # Zero padding acts on the normalised picture, hence the whole map must agree.
    torch.testing.assert_close(maps[0], first, atol=1e-5, rtol=1e-5)


def test_a_shorter_file_gives_fewer_layers(tmp_path: Path) -> None:
    torch.save(torchvision_state(5), tmp_path / "vgg.pth")
    features = VggFeatures(tmp_path / "vgg.pth")
    assert features.layers == ("relu1_1", "relu2_1", "relu3_1")
    weights = layer_weights_for(features)
    assert sum(weights) == pytest.approx(sum(PUBLISHED_LAYER_WEIGHTS))
    assert weights[2] / weights[0] == pytest.approx(4)


def test_plain_layout_matches_a_direct_computation(shared: Path) -> None:
    path = shared / "weights" / "vgg19_relu3_1.pth"
    features = VggFeatures(path)
    state = torch.load(path, weights_only=True)
    x = torch.rand(1, 3, 20, 24)
    expected = torch.nn.functional.conv2d(x, state["0.weight"], state["0.bias"])
    expected = torch.nn.functional.pad(expected, (1, 1, 1, 1), mode="reflect")
    expected = torch.nn.functional.conv2d(expected, state["2.weight"], state["2.bias"]).relu()
    maps = features(x)
    assert [m.shape[1] for m in maps] == [64, 128, 256]
    torch.testing.assert_close(maps[0], expected)


def test_vgg_carries_gradients_to_the_picture_and_none_to_itself(tmp_path: Path) -> None:
    torch.save(torchvision_state(5), tmp_path / "vgg.pth")
    features = VggFeatures(tmp_path / "vgg.pth")
    picture = torch.rand(1, 3, 16, 16, requires_grad=True)
    perceptual_loss(features(picture), features(picture.detach() * 0), (1.0, 1.0, 1.0)).backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert all(p.grad is None for p in features.parameters())


@pytest.mark.parametrize("content", [None, {"conv.weight": torch.zeros(1)}, [1, 2], "text"])
def test_wrong_vgg_files_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "vgg.pth"
    if content == "text":
        path.write_text("not weights")
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=r"vgg\.pth"):
        VggFeatures(path)
