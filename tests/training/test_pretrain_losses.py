"""The terms of a pre-training's loss are what they are called, and reach the network."""

from pathlib import Path

import pytest
import torch

from corun.configuration import load_configuration
from corun.errors import WeightsError
from corun.training.pretrain import PretrainConfig, Pretraining, run
from corun.training.task import LossTerms


def test_missing_perceptual_weights_are_said(recipe: Path) -> None:

    config = load_configuration(PretrainConfig, recipe, ["loss.contrastive=0.2"])
    assert "contrastive perceptual term is off" in Pretraining(config).notices[0]
    with pytest.raises(WeightsError, match="absent"):
        run(recipe, ["loss.contrastive=0.2", "loss.vgg=absent.pth"])


def test_the_density_term_is_the_judges_and_reaches_the_network(recipe: Path) -> None:
    from corun.judges.density_net import embedded_density

    def terms(weight: float) -> tuple[LossTerms, torch.Tensor]:
        override = f"loss.density={weight}"
        task = Pretraining(load_configuration(PretrainConfig, recipe, [override]))
        batch = task.prepare(0, 0, 0, 1)
        found = task.loss(task.network, batch, 0, 0, 0)
        found.total.backward()
        hazy = batch.haze.hazy
        with torch.no_grad():
            D = embedded_density().score(task.network(hazy).scene, 32).overall.mean()
        return found, D

    (without, D), (with_it, _) = terms(0.0), terms(0.5)
    assert "density" not in without.parts
    torch.testing.assert_close(with_it.parts["density"], D, atol=1e-5, rtol=0)
    torch.testing.assert_close(with_it.total, without.total + 0.5 * D, atol=1e-5, rtol=0)


def test_the_colour_term_is_that_of_the_last_scene(recipe: Path) -> None:
    from corun.losses import colour_loss

    losses = {}
    for weight in (0.0, 0.5):
        configuration = load_configuration(PretrainConfig, recipe, [f"loss.colour={weight}"])
        task = Pretraining(configuration)
        batch = task.prepare(0, 0, 0, 1)
        with torch.no_grad():
            losses[weight] = task.loss(task.network, batch, 0, 0, 0)
            expected = colour_loss(task.network(batch.haze.hazy).scene, batch.haze.target)
    assert "colour" not in losses[0.0].parts
    torch.testing.assert_close(losses[0.5].parts["colour"], expected, atol=1e-5, rtol=0)
    difference = losses[0.5].total - losses[0.0].total
    torch.testing.assert_close(difference, 0.5 * expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("term", ["last_stage", "earlier_stages", "transmission"])
def test_the_stages_are_held_to_the_truth_at_their_own_size(recipe: Path, term: str) -> None:

    losses = {}
    for weight in (0.0, 0.5):
        overrides = [f"loss.{term}={weight}", "network.stages=3"]
        task = Pretraining(load_configuration(PretrainConfig, recipe, overrides))
        batch = task.prepare(0, 0, 0, 1)
        with torch.no_grad():
            losses[weight] = task.loss(task.network, batch, 0, 0, 0)
            stages = task.network.unfold(batch.haze.hazy).stages

    def error(values: list[torch.Tensor], truth: torch.Tensor) -> torch.Tensor:
        cells = torch.nn.functional.avg_pool2d(truth, 2)
        return torch.stack([(value - cells).abs().mean() for value in values]).sum()

    scenes = [stage.scene for stage in stages]
    expected = {
        "last_stage": lambda: error(scenes[-1:], batch.haze.target),
        "earlier_stages": lambda: error(scenes[:-1], batch.haze.target),
        "transmission": lambda: error([s.transmission for s in stages], batch.haze.transmission),
    }[term]()
    name = term.replace("_", " ")
    torch.testing.assert_close(losses[0.5].parts[name], expected, atol=1e-5, rtol=0)
    assert name not in losses[0.0].parts
    difference = losses[0.5].total - losses[0.0].total
    torch.testing.assert_close(difference, 0.5 * expected, atol=1e-5, rtol=0)
