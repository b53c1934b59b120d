"""The contrastive term of pre-training, and where it looks."""

from pathlib import Path

import pytest
import torch

from corun.configuration import load_configuration
from corun.data.synthesis import HazyBatch, share_of_light
from corun.losses import VggFeatures, contrastive_perceptual_loss
from corun.training.pretrain import PretrainConfig, Pretraining
from rendered_folders import write_recipe, write_scenes


@pytest.fixture
def vgg(tmp_path: Path) -> Path:
    """Three narrow convolutions of random weights in torchvision's layout."""
    generator = torch.Generator().manual_seed(0)
    state, width = {}, 3
    for index in (0, 2, 5):
        state[f"features.{index}.weight"] = torch.randn(4, width, 3, 3, generator=generator) / 4
        state[f"features.{index}.bias"] = torch.randn(4, generator=generator) / 4
        width = 4
    torch.save(state, tmp_path / "vgg.pth")
    return tmp_path / "vgg.pth"


def pretraining(folder: Path, vgg: Path, *overrides: str) -> Pretraining:
    write_scenes(folder, 2)
    common = ["loss.contrastive=0.2", f"loss.vgg={vgg}", "loss.vgg_layer_weights=[0.3,0.7]"]
    config = load_configuration(PretrainConfig, write_recipe(folder), [*common, *overrides])
    return Pretraining(config)


def contrastive(task: Pretraining, scene: torch.Tensor, haze: HazyBatch) -> torch.Tensor:
    assert task.terms is not None
    seen = task.terms.contrastive_where_seen
    return seen(scene, haze.target, haze.hazy, haze.transmission, 0)


def half_dense() -> tuple[HazyBatch, torch.Tensor]:
    """Hardly any light of the left half arrives, half of the right's; and a network's scene."""
    generator = torch.Generator().manual_seed(1)
    target, hazy, scene = torch.rand(3, 1, 3, 16, 32, generator=generator)
    transmission = torch.full((1, 1, 16, 32), 0.05)
    transmission[..., 16:] = 0.5
    return HazyBatch(hazy, target, transmission, torch.full((1, 3, 1, 1), 0.8)), scene


def test_without_a_range_it_is_the_papers(tmp_path: Path, vgg: Path) -> None:
    task = pretraining(tmp_path, vgg)
    haze, scene = half_dense()
    maps = VggFeatures(vgg)
    expected = contrastive_perceptual_loss(
        maps(scene), maps(haze.target), maps(haze.hazy), (0.3, 0.7)
    )
    torch.testing.assert_close(contrastive(task, scene, haze), expected)


def test_clouds_in_dense_haze_earn_nothing(tmp_path: Path, vgg: Path) -> None:
    task = pretraining(tmp_path, vgg, "loss.contrastive_range=[0.1,0.3]")
    haze, scene = half_dense()
    cloudy, changed = scene.clone(), scene.clone()
    cloudy[..., :16] *= 0.5
    changed[..., 16:] *= 0.5
    plain = contrastive(task, scene, haze)
    assert torch.equal(contrastive(task, cloudy, haze), plain)
    assert abs(contrastive(task, changed, haze) - plain) > 1e-3


def test_it_sees_smaller_pictures_and_parts_of_the_batch_in_turn(tmp_path: Path, vgg: Path) -> None:
    task = pretraining(tmp_path, vgg, "loss.contrastive_shrink=2", "loss.contrastive_parts=2")
    batch = task.prepare(0, 0, 0, 1)
    maps = VggFeatures(vgg)
    with torch.no_grad():
        scene = task.network(batch.haze.hazy).scene
        for step in (0, 1):
            chosen = slice(step, None, 2)
            small = [
                maps(torch.nn.functional.avg_pool2d(picture[chosen], 2))
                for picture in (scene, batch.haze.target, batch.haze.hazy)
            ]
            expected = contrastive_perceptual_loss(*small, (0.3, 0.7))
            found = task.loss(task.network, batch, step, 0, 0).parts["contrastive"]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_share_of_light_rises_smoothly() -> None:
    T = torch.tensor([0.05, 0.1, 0.15, 0.2, 0.3, 0.9]).view(1, 1, 1, 6)
    assert share_of_light(T, (0.1, 0.3)).flatten().tolist() == pytest.approx(
        [0, 0, 0.15625, 0.5, 1, 1]
    )
