"""The perceptual terms of a step, with a small random VGG file of the plain layout."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from adaptation_setup import make_adaptation, make_batches, tiny_network

from corun.losses import (
    VggFeatures,
    contrastive_perceptual_loss,
    layer_weights_for,
    perceptual_loss,
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
