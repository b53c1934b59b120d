"""One step of Colabator: adapt any dehazing network to real haze (Fang et al., NeurIPS 2024, §3.3).

The student f learns from a synthetic pair (P_s, G) and from a real photo P_r whose pseudo label is
the best that the teacher f̄ has ever made for it, trusted region by region.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from corun.colabator.coherence import WeightRule, assess, at_least_as_good, smooth_weights
from corun.colabator.label_pool import Label, LabelPool
from corun.colabator.teacher import Teacher
from corun.configuration import Range, ordered
from corun.data.augmentation import mirror, strong_augmentation
from corun.data.synthesis import share_of_light
from corun.errors import ConfigurationError
from corun.judges.protocols import (
    DensityEvaluator,
    QualityEvaluator,
    block_count,
)
from corun.losses import (
    colour_loss,
    density_loss,
    gradient_loss,
    pixel_loss,
    scattering_consistency_loss,
    structure_loss,
    transmission_loss,
    weighted_pixel_loss,
)
from corun.networks.outputs import NetworkOutput, read_output
from corun.perceptual import PerceptualConfig, PerceptualTerms

DensityGradient = Literal["full", "contrast"]


class AdaptationConfig(PerceptualConfig):
    """The weights of the losses (0 turns one off) and how labels are chosen.

    Attributes:
        pixel: of ½·(‖J_s − G‖₁ + real·mean(w*·|J_r − J*|)).
        real: of the label's part in it.
        scattering: of mean(w*·|J_r·T_r + 1 − T_r − strong(P_r)|); absent without a transmission.
        transmission: of ‖T − T_s‖₁ on the synthetic pair, which keeps the estimate from drifting
            where nothing else ties it to the truth. Not in the paper, so 0 by default.
        colour: of ‖(J_s − J̄_s) − (G − Ḡ)‖₁, the difference of the colours without their grey. This
            and the next three are terms of a pre-training: a network that was trained with them
            unlearns what they taught it where they are left out. Not in the paper, so 0.
        structure: of 1 − SSIM of J_s, in windows of 7×7 pixels.
        gradient: of ‖∇J_s − ∇G‖₁.
        contrastive_synthetic: of the contrastive perceptual loss of J_s, near G and far from P_s;
            needs ``vgg``.
        perceptual: of the perceptual loss between J_s and G; needs ``vgg``.
        contrastive: of the contrastive perceptual loss of J_r; needs ``vgg``.
        density_synthetic: of D(J_s); needs a differentiable density evaluator.
        density_real: of D(J_r); likewise.
        density_target: D of a clear enough picture, in [0,1): only what is above it counts. 0 is
            the paper's; clear photos of open places, with their far air and sky, have about 0.25
            under the embedded D, and a network driven below that overshoots.
        density_gradient: ``full``, the paper's, or ``contrast``: D may ask for lighter here and
            darker there, but not for other colours nor for a darker picture. The cheapest ways to
            a low D are to paint skies blue and to darken, and both look clear to any judge.
        density_range: transmissions of the student between which D's gradient fades in. Not in the
            paper, whose term, (0, 0), asks for contrast in dense haze as well, where there is
            nothing but noise to make it of. Without a transmission it has no effect.
        strong_changes: photometric changes of the student's real photo.
        block: side of the blocks that are scored, pixels.
        weights: ``trusted``; ``uniform`` or ``inverted`` for comparisons.
        use_pool: whether the best label so far is used; without, the teacher's latest.
    """

    pixel: float = Field(5.0, ge=0)
    real: float = Field(2.0, ge=0)
    scattering: float = Field(0.01, ge=0)
    transmission: float = Field(0.0, ge=0)
    colour: float = Field(0.0, ge=0)
    structure: float = Field(0.0, ge=0)
    gradient: float = Field(0.0, ge=0)
    contrastive_synthetic: float = Field(0.0, ge=0)
    perceptual: float = Field(0.2, ge=0)
    contrastive: float = Field(1.0, ge=0)
    density_synthetic: float = Field(1.0, ge=0)
    density_real: float = Field(1.0, ge=0)
    density_target: float = Field(0.0, ge=0, lt=1)
    density_gradient: DensityGradient = "full"
    density_range: Annotated[Range, ordered(least=0.0)] = (0.0, 0.0)
    strong_changes: int = Field(2, ge=0, le=6)
    block: int = Field(32, ge=8)
    weights: WeightRule = "trusted"
    use_pool: bool = True


class SyntheticPair(NamedTuple):
    """A batch whose clear pictures are known.

    Attributes:
        hazy: P_s, RGB, [0,1].
        clean: G, RGB, [0,1].
        transmission: T_s, unitless, 1 where unknown, or None.
        known: of which pictures T_s is known; None for all.
    """

    hazy: Float[Tensor, "b 3 h w"]
    clean: Float[Tensor, "b 3 h w"]
    transmission: Float[Tensor, "b 1 h w"] | None = None
    known: Bool[Tensor, " b"] | None = None


class RealBatch(NamedTuple):
    """A real batch.

    Attributes:
        hazy: P_r, RGB, [0,1], not augmented.
        keys: name the photos in the label pool.
        flip: which photos are mirrored, with their labels.
        seed: of the strong augmentation.
    """

    hazy: Float[Tensor, "r 3 s s"]
    keys: list[str]
    flip: Bool[Tensor, " r"]
    seed: int


class PseudoLabels(NamedTuple):
    """The labels of a real batch, as the pool holds them.

    Attributes:
        scene: J*, RGB, [0,1].
        weight: w*, trusted weight, [0,1].
        quality: Q of each.
        density: D of each, [0,1].
        accepted: which were replaced in this step.
    """

    scene: Float[Tensor, "r 3 s s"]
    weight: Float[Tensor, "r 1 s s"]
    quality: Float[Tensor, " r"]
    density: Float[Tensor, " r"]
    accepted: Bool[Tensor, " r"]


class Adapted(NamedTuple):
    """What a step gives.

    Attributes:
        total: the loss, with its gradient.
        parts: its named terms and the numbers to show, detached.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]


class Adaptation:
    """Colabator around a teacher, a pool and two evaluators.

    Args:
        config: losses and labels.
        teacher: f̄.
        pool: the best labels.
        density: what reads D; its gradient is used where it has one.
        quality: what reads Q.

    Raises:
        ConfigurationError: a term of density is asked for of a judge without a gradient.
    """

    def __init__(
        self,
        config: AdaptationConfig,
        teacher: Teacher,
        pool: LabelPool,
        density: DensityEvaluator,
        quality: QualityEvaluator,
    ) -> None:
        self.config, self.teacher, self.pool = config, teacher, pool
        self.density, self.quality = density, quality
        asked = [n for n in ("density_synthetic", "density_real") if getattr(config, n)]
        if asked and not density.differentiable:
            raise ConfigurationError(
                f"adaptation.{' and adaptation.'.join(asked)}: {density.name} has no gradient; set "
                "them to 0, or choose a judge of density that has one"
            )
        wanted = config.perceptual or config.contrastive or config.contrastive_synthetic
        self.terms: PerceptualTerms | None = None
        if wanted and config.vgg is not None:
            low = teacher.precision == torch.bfloat16
            self.terms = PerceptualTerms(config, "adaptation", low_precision=low)

    def loss(self, student: nn.Module, pair: SyntheticPair, real: RealBatch, step: int) -> Adapted:
        """The loss of one step, after offering the teacher's labels to the pool.

        Args:
            student: f, any module that maps a hazy batch to a clear one.
            pair: the synthetic batch.
            real: the real batch.
            step: recorded with new labels.

        Raises:
            NetworkOutputError: the student or the teacher returns something else.
        """
        labels = self.choose_labels(real, step)
        flip = real.flip
        P_r = strong_augmentation(
            mirror(real.hazy, flip),
            torch.Generator().manual_seed(real.seed),
            self.config.strong_changes,
        )
        J_star, w_star = mirror(labels.scene, flip), mirror(labels.weight, flip)
        (J_s, T_s), (J_r, T_r) = run_student(student, pair.hazy, P_r)

        weigh, parts = self.config, {}
        parts["synthetic"] = pixel_loss(J_s, pair.clean)
        parts["real"] = weighted_pixel_loss(J_r, J_star, w_star)
        total = weigh.pixel * 0.5 * (parts["synthetic"] + weigh.real * parts["real"])
        if weigh.scattering and T_r is not None:
            parts["scattering"] = scattering_consistency_loss(J_r, T_r, P_r, w_star)
            total = total + weigh.scattering * parts["scattering"]
        if weigh.transmission and T_s is not None and pair.transmission is not None:
            parts["transmission"] = transmission_loss(T_s, pair.transmission, pair.known)
            total = total + weigh.transmission * parts["transmission"]
        for name, weight, term in (
            ("colour", weigh.colour, colour_loss),
            ("structure", weigh.structure, structure_loss),
            ("gradient", weigh.gradient, gradient_loss),
        ):
            if weight:
                parts[name] = term(J_s, pair.clean)
                total = total + weight * parts[name]
        if self.terms is not None:
            if weigh.contrastive_synthetic:
                name = "contrastive synthetic"
                parts[name] = self.terms.contrastive_where_seen(
                    J_s, pair.clean, pair.hazy, pair.transmission, step
                )
                total = total + weigh.contrastive_synthetic * parts[name]
            if weigh.perceptual:
                parts["perceptual"] = self.terms.perceptual(J_s, pair.clean)
                total = total + weigh.perceptual * parts["perceptual"]
            if weigh.contrastive:
                parts["contrastive"] = self.terms.contrastive(J_r, J_star, P_r)
                total = total + weigh.contrastive * parts["contrastive"]
        for name, scene, T, weight in (
            ("density synthetic", J_s, T_s, weigh.density_synthetic),
            ("density real", J_r, T_r, weigh.density_real),
        ):
            if weight:
                D = self.density.overall(self._shown_to_density(scene, T))
                parts[name] = density_loss((D - weigh.density_target).clamp(min=0))
                total = total + weight * parts[name]
        shown = {name: value.detach() for name, value in parts.items()}
        shown["accepted"] = labels.accepted.float().mean()
        shown["label quality"] = labels.quality.mean()
        shown["label density"] = labels.density.mean()
        shown["label weight"] = labels.weight.mean()
        return Adapted(total, shown)

    @torch.no_grad()
    def choose_labels(self, real: RealBatch, step: int) -> PseudoLabels:
        """The teacher's labels where they are at least as good as the pool's, else the pool's.

        A label always comes back out of the pool, with its 8 bits, so that a label that was kept
        and one that was just made are treated alike.
        """
        J_bar, T_bar = read_output(self.teacher(real.hazy), real.hazy)
        J_bar = J_bar.float().clamp(0, 1)
        block, rule = self.config.block, self.config.weights
        found = assess(J_bar, self.density, self.quality, block, rule)
        Q, D = (scores.to(real.hazy.device) for scores in self.pool.scores(real.keys))
        accepted = at_least_as_good(found, Q, D)
        if not self.config.use_pool:
            accepted = found.quality.isfinite() & found.density.isfinite()
        labels = []
        for i, key in enumerate(real.keys):
            if bool(accepted[i]):
                self.pool.put(
                    key,
                    J_bar[i],
                    None if T_bar is None else T_bar[i],
                    found.weights[i],
                    float(found.quality[i]),
                    float(found.density[i]),
                    step,
                )
            labels.append(self.pool.get(key))
        return self._stack(labels, real, accepted)

    def picture_labels(self, real: RealBatch) -> PseudoLabels | None:
        """The pool's labels of a batch as they are; None unless every photo has one."""
        labels = [self.pool.get(key) for key in real.keys]
        if any(label is None for label in labels):
            return None
        return self._stack(labels, real, torch.zeros(len(labels), dtype=torch.bool))

    def _stack(
        self, labels: Sequence[Label | None], real: RealBatch, accepted: Tensor
    ) -> PseudoLabels:
        """Labels as a batch; a photo without one (its scores were no numbers) weighs nothing."""
        device, side = real.hazy.device, real.hazy.shape[-1]
        count = block_count(side, self.config.block)
        empty = [
            Label(P.cpu(), P[:1].cpu(), torch.zeros(1, count, count), nan, nan, 0, nan, nan, 0)
            for P in real.hazy
        ]
        chosen = [
            none if label is None else label for label, none in zip(labels, empty, strict=True)
        ]
        blocks = torch.stack([label.weights for label in chosen]).to(device)
        return PseudoLabels(
            torch.stack([label.scene for label in chosen]).to(device),
            smooth_weights(blocks, side, side, self.config.block),
            torch.tensor([label.quality for label in chosen]),
            torch.tensor([label.density for label in chosen]),
            accepted,
        )

    def _shown_to_density(self, scene: Tensor, transmission: Tensor | None) -> Tensor:
        """The same picture, through which D's gradient reaches what it may change."""
        between = self.config.density_range
        share = torch.ones_like(scene[:, :1])
        if between[1] > 0 and transmission is not None:
            share = share_of_light(transmission.detach(), between)
        if self.config.density_gradient == "contrast":
            return with_fixed_colours(scene, share)
        return (scene * (1 - share)).detach() + scene * share


def with_fixed_colours(
    scene: Float[Tensor, "b 3 h w"], share: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """The same picture, through which a gradient reaches only the contrast of its brightness.

    That is (R + G + B)/3 less its weighted mean over the picture; hue, saturation and mean
    brightness are held fixed.

    Args:
        scene: J, RGB.
        share: how much of the gradient passes at each pixel, and the weight of the mean, [0,1].
    """
    brightness = scene.mean(1, keepdim=True)
    mean = (share * brightness).sum((2, 3), keepdim=True) / share.sum(
        (2, 3), keepdim=True
    ).clamp_min(1e-6)
    contrast = share * (brightness - mean)
    return (scene - contrast).detach() + contrast


def run_student(
    student: nn.Module, synthetic: Float[Tensor, "b 3 h w"], real: Float[Tensor, "r 3 s s"]
) -> tuple[NetworkOutput, NetworkOutput]:
    """Both batches through the student: in one pass where their sizes agree, else in two."""
    if synthetic.shape[1:] == real.shape[1:]:
        both = torch.cat((synthetic, real))
        scene, transmission = read_output(student(both), both)
        scene = scene.float()
        count = len(synthetic)
        T = None if transmission is None else transmission.float()
        return (
            NetworkOutput(scene[:count], None if T is None else T[:count]),
            NetworkOutput(scene[count:], None if T is None else T[count:]),
        )
    outputs = [read_output(student(batch), batch) for batch in (synthetic, real)]
    first, second = (
        NetworkOutput(scene.float(), None if T is None else T.float()) for scene, T in outputs
    )
    return first, second
