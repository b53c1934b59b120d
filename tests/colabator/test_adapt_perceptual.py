"""The perceptual terms of a step, with a small random VGG file of the plain layout."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from adaptation_setup import SIDE, make_adaptation, make_batches, tiny_network

from corun.errors import ConfigurationError
from corun.losses import (
    VggFeatures,
    colour_loss,
    contrastive_perceptual_loss,
    gradient_loss,
    layer_weights_for,
    perceptual_loss,
    structure_loss,
)

KEYS = ["a-0", "b-0"]
OTHERS_OFF = {
    "pixel": 0.0,
    "scattering": 0.0,
    "density_synthetic": 0.0,
    "density_real": 0.0,
    "strong_changes": 0,
}


@pytest.fixture
def vgg(tmp_path: Path) -> Path:
    """Convolutions 0 (1×1), 2 and 5 with a few channels each."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"0": (3, 3, 1), "2": (4, 3, 3), "5": (6, 4, 3)}
    state: dict[str, Tensor] = {}
    for name, (out, into, side) in shapes.items():
        state[f"{name}.weight"] = torch.randn(out, into, side, side, generator=generator)
        state[f"{name}.bias"] = torch.randn(out, generator=generator)
    torch.save(state, tmp_path / "vgg.pth")
    return tmp_path / "vgg.pth"


def test_both_terms_are_what_the_equations_say(tmp_path: Path, vgg: Path) -> None:
    student = tiny_network(1)
    settings = {**OTHERS_OFF, "vgg": vgg, "perceptual": 0.2, "contrastive": 1.5}
    adaptation = make_adaptation(tmp_path / "pool", student, KEYS, **settings)
    pair, real = make_batches(0, KEYS)
    real = real._replace(flip=torch.tensor([False, False]))
    found = adaptation.loss(student, pair, real, 0)
    labels = adaptation.picture_labels(real)
    assert labels is not None
    features = VggFeatures(vgg)
    weights = layer_weights_for(features)
    J_s, J_r = student(pair.hazy), student(real.hazy)
    near = perceptual_loss(features(J_s), features(pair.clean), weights)
    contrast = contrastive_perceptual_loss(
        features(J_r), features(labels.scene), features(real.hazy), weights
    )
    torch.testing.assert_close(found.parts["perceptual"], near.detach())
    torch.testing.assert_close(found.parts["contrastive"], contrast.detach())
    torch.testing.assert_close(found.total, 0.2 * near + 1.5 * contrast)
    found.total.backward()
    assert student.scene.weight.grad is not None
    assert float(student.scene.weight.grad.abs().sum()) > 0
    assert all(p.grad is None for p in features.parameters())


@pytest.mark.parametrize("off", ["perceptual", "contrastive"])
def test_each_can_be_turned_off(tmp_path: Path, vgg: Path, off: str) -> None:
    student = tiny_network(1)
    adaptation = make_adaptation(tmp_path / "pool", student, KEYS, vgg=vgg, **{off: 0.0})
    pair, real = make_batches(0, KEYS)
    parts = adaptation.loss(student, pair, real, 0).parts
    (on,) = {"perceptual", "contrastive"} - {off}
    assert on in parts
    assert off not in parts


def test_the_terms_of_a_pre_training_can_be_kept(tmp_path: Path) -> None:
    student = tiny_network(1)
    kept = {"colour": 2.5, "structure": 0.4, "gradient": 1.25}
    adaptation = make_adaptation(tmp_path / "pool", student, KEYS, **OTHERS_OFF, **kept)
    pair, real = make_batches(0, KEYS)
    found = adaptation.loss(student, pair, real, 0)
    J_s = student(pair.hazy)
    expected = {
        "colour": colour_loss(J_s, pair.clean),
        "structure": structure_loss(J_s, pair.clean),
        "gradient": gradient_loss(J_s, pair.clean),
    }
    for name, value in expected.items():
        torch.testing.assert_close(found.parts[name], value.detach())
    total = torch.stack([weight * expected[name] for name, weight in kept.items()]).sum()
    torch.testing.assert_close(found.total, total)


def test_the_contrastive_term_of_the_synthetic_pair_looks_where_light_arrives(
    tmp_path: Path, vgg: Path
) -> None:
    student = tiny_network(1)
    settings = {
        **OTHERS_OFF,
        "vgg": vgg,
        "vgg_layers": ["relu1_1", "relu1_2"],
        "vgg_layer_weights": [0.3, 0.7],
        "perceptual": 0.0,
        "contrastive": 0.0,
        "contrastive_synthetic": 0.5,
        "contrastive_range": [0.1, 0.3],
        "contrastive_shrink": 2,
        "contrastive_parts": 2,
    }
    adaptation = make_adaptation(tmp_path / "pool", student, KEYS, **settings)
    pair, real = make_batches(0, KEYS)
    transmission = torch.full((2, 1, SIDE, SIDE), 0.05)
    transmission[..., SIDE // 2 :] = 0.5
    J_s, maps = student(pair.hazy), VggFeatures(vgg, ("relu1_1", "relu1_2"))
    seen = torch.zeros(1, 1, SIDE, SIDE)
    seen[..., SIDE // 2 :] = 1.0
    for step in (0, 1):
        told = pair._replace(transmission=transmission)
        found = adaptation.loss(student, told, real, step)
        G = pair.clean[step : step + 1]
        scene, positive, negative = (
            maps(torch.nn.functional.avg_pool2d(seen * P[step : step + 1] + (1 - seen) * G, 2))
            for P in (J_s, pair.clean, pair.hazy)
        )
        expected = contrastive_perceptual_loss(scene, positive, negative, (0.3, 0.7))
        torch.testing.assert_close(found.parts["contrastive synthetic"], expected.detach())
        torch.testing.assert_close(found.total, 0.5 * expected)


def test_a_weight_is_needed_for_each_layer(tmp_path: Path, vgg: Path) -> None:
    settings = {"vgg": vgg, "vgg_layer_weights": [0.3, 0.7]}
    with pytest.raises(ConfigurationError, match=r"adaptation\.vgg_layer_weights: .* has 1 layers"):
        make_adaptation(tmp_path / "pool", tiny_network(), KEYS, **settings)


def test_layers_come_in_the_order_they_are_asked_for(vgg: Path) -> None:
    picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    first, second = VggFeatures(vgg, ("relu1_1", "relu1_2"))(picture)
    found = VggFeatures(vgg, ("relu1_2", "relu1_1"))(picture)
    assert torch.equal(found[0], second)
    assert torch.equal(found[1], first)
