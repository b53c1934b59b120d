"""The table of models, and the weights in the box."""

import hashlib
import json

import numpy as np
import pytest
import torch

from corun.data.scenes import render_scene
from corun.dehazing.loading import load
from corun.errors import WeightsError
from corun.networks.checkpoints import load_network
from corun.networks.corun import CORUN
from corun.networks.registry import DEFAULT_MODEL, LITE_CONFIG, MODELS, weights_path
from corun.physics.scattering import add_haze
from corun.physics.transmission import depth_to_transmission


def test_every_model_is_under_its_own_name() -> None:
    assert all(card.name == name for name, card in MODELS.items())
    assert DEFAULT_MODEL in MODELS


@pytest.mark.parametrize("name", [n for n, card in MODELS.items() if card.weights])
def test_shipped_weights_are_those_of_their_card(name: str) -> None:
    path = weights_path(MODELS[name])
    assert path is not None
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card["sha256"]
    assert path.stat().st_size == card["bytes"] < 40_000_000
    network = load_network(name).network
    assert isinstance(network, CORUN)
    assert network.config.to_dict() == card["config"]
    assert {"data", "commands", "scores", "hardware"} <= card.keys()


def test_lite_weights_have_the_registered_hyper_parameters() -> None:
    assert load_network("corun-lite").network.config == LITE_CONFIG


@pytest.mark.parametrize("seed", [0, 1, 3])
@torch.no_grad()
def test_lite_brings_a_rendered_hazy_scene_nearer_to_the_truth(seed: int) -> None:
    scene = render_scene(240, 320, seed)
    t = depth_to_transmission(scene.depth[None], 2.5)
    hazy = add_haze(scene.image[None], t, torch.full((1, 3, 1, 1), 0.9))
    output = load_network("corun-lite").network(hazy)
    # Behind denser haze nothing can be known of the scene.
    land = ((scene.depth < 0.98) & (t[0] > 0.15)).expand(3, -1, -1)

    def error(image: torch.Tensor) -> float:
        return float((image[0].clamp(0, 1) - scene.image)[land].square().mean())

    assert error(output.scene) < 0.7 * error(hazy)
    thick, thin = t < 0.4, t > 0.8
    if thick.any() and thin.any():
        assert output.transmission[thick].mean() < output.transmission[thin].mean()


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_what_lite_returns_explains_a_rendered_hazy_scene(seed: int) -> None:
    """The mean of |J·T + A(1 − T) − P|, whatever the colour of the airlight."""
    scene = render_scene(240, 320, seed)
    t = depth_to_transmission(scene.depth[None], 1.5)
    airlight = torch.tensor([0.75, 0.8, 0.9]).view(1, 3, 1, 1)
    hazy = add_haze(scene.image[None], t, airlight)[0].permute(1, 2, 0).numpy()
    result = load("corun-lite", device="cpu")(hazy)
    T, A = result.transmission[..., None], result.airlight
    assert np.abs(result.image * T + A * (1 - T) - hazy).mean() <= 5 / 255
    assert ((T >= 0.03) & (T <= 1)).all()


@pytest.mark.parametrize("value", [0, 1])
def test_lite_leaves_flat_pictures_flat(value: float) -> None:
    picture = np.full((48, 64, 3), value, np.float32)
    result = load("corun-lite", device="cpu")(picture).image
    assert np.abs(result - picture).max() < 0.1


def test_unknown_and_untrained_models_say_what_to_do() -> None:
    with pytest.raises(WeightsError, match="corun-lite"):
        load_network("corun-gigantic")
    with pytest.raises(WeightsError, match="convert"):
        load_network("corun-base")


def test_an_installation_without_weights_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("corun.files.files", lambda package: tmp_path)
    with pytest.raises(WeightsError, match="reinstall"):
        load_network("corun-lite")
