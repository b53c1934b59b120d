"""Evaluators by name, as a configuration chooses them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from corun.configuration import Strict
from corun.errors import ConfigurationError
from corun.judges.protocols import DensityEvaluator, QualityEvaluator


class DensityChoice(Strict):
    """What reads the haze density D.

    Attributes:
        kind: ``embedded``: our density network; ``fade``: FADE; ``clip``: CLIP with prompts, or
            DA-CLIP if its checkpoint is given; ``hazdesnet``: HazDesNet.
        weights: embedded: a density network of your own; hazdesnet: its HDF5 file; clip: DA-CLIP's
            published checkpoint, which needs no other file.
        model: clip: open_clip's name of the model.
        pretrained: clip without ``weights``: open_clip's tag of the weights, or a local file.
        hazy_prompt: clip: what a hazy picture is called.
        clear_prompt: clip: what a clear one is called.
        degradations: clip: if given, D is the probability of ``hazy`` in this list.
    """

    kind: Literal["embedded", "fade", "clip", "hazdesnet"] = "embedded"
    weights: Path | None = None
    model: str = "ViT-B-32"
    pretrained: str | None = None
    hazy_prompt: str = "a hazy photo"
    clear_prompt: str = "a clear photo"
    degradations: tuple[str, ...] = ()


class QualityChoice(Strict):
    """What reads the image quality Q.

    Attributes:
        kind: ``embedded``: natural-scene statistics; ``pyiqa``: a no-reference metric of pyiqa.
        weights: embedded: a pristine model of your own.
        metric: pyiqa: the metric's name there, for example ``musiq``.
        range: pyiqa: the metric's values that become 0 and 1, worst first; known for musiq and
            clipiqa.
    """

    kind: Literal["embedded", "pyiqa"] = "embedded"
    weights: Path | None = None
    metric: str = "musiq"
    range: tuple[float, float] | None = None


def build_density(choice: DensityChoice) -> DensityEvaluator:
    """Load what a configuration chose.

    Raises:
        WeightsError: it cannot load; the message says which file it wants.
        MissingExtraError: a package it needs is not installed.
        ConfigurationError: a file it needs is not named.
    """
    if choice.kind == "embedded":
        from corun.judges.density_net import embedded_density

        return embedded_density(choice.weights)
    if choice.kind == "fade":
        from corun.judges.fade import FadeDensity

        return FadeDensity()
    if choice.kind == "hazdesnet":
        from corun.judges.hazdesnet import HazDesNetDensity, load_hazdesnet

        if choice.weights is None:
            raise ConfigurationError(
                "evaluators.density.weights: hazdesnet needs its HDF5 weights file; name it here"
            )
        return HazDesNetDensity(load_hazdesnet(choice.weights))
    from corun.judges.clip import open_clip_density

    degradations = choice.degradations
    if degradations and "hazy" not in degradations:
        raise ConfigurationError("evaluators.density.degradations: must contain 'hazy'")
    prompts = degradations or (choice.hazy_prompt, choice.clear_prompt)
    hazy = degradations.index("hazy") if degradations else 0
    return open_clip_density(choice.model, choice.pretrained, choice.weights, prompts, hazy)


def build_quality(choice: QualityChoice) -> QualityEvaluator:
    """Load what a configuration chose.

    Raises:
        WeightsError: it cannot load; the message says which file it wants.
        ConfigurationError: pyiqa is not installed, or its metric cannot be a quality.
    """
    if choice.kind == "embedded":
        from corun.judges.natural_scene import embedded_quality

        return embedded_quality(choice.weights)
    from corun.judges.pyiqa_metric import PyiqaQuality

    return PyiqaQuality(choice.metric, choice.range)
