"""The perceptual terms of pre-training and of adaptation, as recipes set them.

Sources: Wu et al., CVPR 2021, for the contrastive ratio; Johnson et al., ECCV 2016, for the
perceptual loss. Where the contrastive term looks is corun's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from corun.configuration import Range, Strict, ordered
from corun.data.synthesis import share_of_light
from corun.errors import ConfigurationError
from corun.losses import (
    VggFeatures,
    contrastive_perceptual_loss,
    layer_weights_for,
    perceptual_loss,
)


class PerceptualConfig(Strict):
    """What the perceptual terms look with, and what the contrastive one on synthetic haze looks at.

    Attributes:
        vgg: local VGG-19 weights; without a file the perceptual terms are off.
        vgg_layers: which layers, such as ``relu1_2``; empty for the published ones in the file.
        vgg_layer_weights: one weight per layer; empty for the published ones.
        contrastive_range: transmissions between which the contrastive term on synthetic haze fades
            in; below, it is shown the target in place of the scene and of the hazy photo. Not in
            the paper, whose term, (0, 0), rewards whatever differs from the haze, dark clouds in
            dense haze as well.
        contrastive_shrink: it sees pictures averaged over so many pixels squared.
        contrastive_parts: it sees one in so many of the batch, in turn.
    """

    vgg: Path | None = None
    vgg_layers: tuple[str, ...] = ()
    vgg_layer_weights: tuple[float, ...] = ()
    contrastive_range: Annotated[Range, ordered(least=0.0)] = (0.0, 0.0)
    contrastive_shrink: int = Field(1, ge=1)
    contrastive_parts: int = Field(1, ge=1)


class PerceptualTerms:
    """The terms, with the features of one file.

    Args:
        config: where the file is, and what is looked at.
        key: the part of the recipe that the configuration is, for messages.
        low_precision: features are computed in bfloat16, compared in float32.

    Raises:
        WeightsError: the file is missing or of no known layout, or lacks a layer.
        ConfigurationError: the weights are not one for each layer.
    """

    def __init__(self, config: PerceptualConfig, key: str, *, low_precision: bool = False) -> None:
        if config.vgg is None:
            raise ConfigurationError(f"{key}.vgg: names no file of VGG-19 weights")
        self.config, self.low_precision = config, low_precision
        self.features = VggFeatures(config.vgg, config.vgg_layers)
        self.layer_weights = config.vgg_layer_weights or layer_weights_for(self.features)
        layers = self.features.layers
        if len(self.layer_weights) != len(layers):
            raise ConfigurationError(
                f"{key}.vgg_layer_weights: {config.vgg} has {len(layers)} layers "
                f"({', '.join(layers)}), not {len(self.layer_weights)}"
            )

    def perceptual(
        self, scene: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, ""]:
        """:func:`corun.losses.perceptual_loss` of pictures, RGB, [0,1]."""
        with torch.no_grad():
            truth = self._maps(target)
        return perceptual_loss(self._maps(scene), truth, self.layer_weights)

    def contrastive(
        self,
        scene: Float[Tensor, "b 3 h w"],
        positive: Float[Tensor, "b 3 h w"],
        negative: Float[Tensor, "b 3 h w"],
    ) -> Float[Tensor, ""]:
        """:func:`corun.losses.contrastive_perceptual_loss` of pictures, RGB, [0,1]."""
        with torch.no_grad():
            near, far = self._maps(positive), self._maps(negative)
        return contrastive_perceptual_loss(self._maps(scene), near, far, self.layer_weights)

    def contrastive_where_seen(
        self,
        scene: Float[Tensor, "b 3 h w"],
        target: Float[Tensor, "b 3 h w"],
        hazy: Float[Tensor, "b 3 h w"],
        transmission: Float[Tensor, "b 1 h w"] | None,
        turn: int,
    ) -> Float[Tensor, ""]:
        """The contrastive term of a part of a synthetic batch, where light of the scene arrives.

        Args:
            scene: J, RGB, [0,1].
            target: G, RGB, [0,1].
            hazy: P, RGB, [0,1].
            transmission: T, unitless, (0,1], 1 where nobody knows it; None looks everywhere.
            turn: counts the batches, for ``contrastive_parts``.
        """
        config = self.config
        parts = min(config.contrastive_parts, len(scene))
        chosen = slice(turn % parts, None, parts)
        pictures = [scene[chosen], target[chosen], hazy[chosen]]
        if config.contrastive_range[1] > 0 and transmission is not None:
            m = share_of_light(transmission[chosen], config.contrastive_range)
            pictures = [m * picture + (1 - m) * pictures[1] for picture in pictures]
        if config.contrastive_shrink > 1:
            pictures = [F.avg_pool2d(picture, config.contrastive_shrink) for picture in pictures]
        return self.contrastive(*pictures)

    def _maps(self, image: Tensor) -> list[Tensor]:
        features = self.features.to(image.device)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.low_precision):
            taps = features(image)
        return [tap.float() for tap in taps]
