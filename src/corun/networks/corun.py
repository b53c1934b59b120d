"""CORUN, the cooperative unfolding network (Fang et al., NeurIPS 2024, §3).

K stages, each of which updates the transmission and the clear scene in turn:
T-step → T-prior → J-step → J-prior. With ``cell`` r > 1 the stages run on averages over r×r cells,
and one more J-step is taken at the picture's own size (:mod:`corun.physics.full_size_step`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Literal, NamedTuple, cast, overload

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from corun.errors import ConfigurationError
from corun.networks.corun_config import CorunConfig
from corun.networks.planar import planar_cells, planar_order
from corun.networks.pretrained import Pretrained
from corun.networks.prior_unet import PriorUNet
from corun.networks.reduction import pad_to_multiple, reduce_by_area
from corun.networks.unfolding import (
    TRANSMISSION_MIN,
    TRANSMISSION_STEPS,
    scene_step,
)
from corun.physics.full_size_step import (
    TRANSMISSION_LEAST,
    fit_airlight,
    fit_transmission,
    full_size_coefficients,
)
from corun.physics.working_picture import working_size

INITIAL_TRANSMISSION = 0.5
INITIAL_GAMMA = 0.02
"""γ of the full-size step at the start of a training."""


class CorunOutput(NamedTuple):
    """What CORUN returns.

    Attributes:
        scene: J, RGB, sRGB-encoded, (B,3,H,W), nominally in [0,1], not clamped.
        transmission: T of the last stage, unitless, (B,1,H,W), in [0.03, 1].
    """

    scene: Float[Tensor, "b 3 h w"]
    transmission: Float[Tensor, "b 1 h w"]


class Maps(NamedTuple):
    """What a picture of any size is dehazed and explained with, on the grid of the cells.

    Attributes:
        gain: a of the full-size step J* = b + a·P, unitless, (B,1,h,w).
        offset: b, RGB, (B,3,h,w).
        transmission: T, unitless, (B,1,h,w), in [0.03, 1].
        airlight: A, RGB, (B,3,1,1), [0,1].
    """

    gain: Float[Tensor, "b 1 h w"]
    offset: Float[Tensor, "b 3 h w"]
    transmission: Float[Tensor, "b 1 h w"]
    airlight: Float[Tensor, "b 3 1 1"]


class Explained(NamedTuple):
    """A dehazed picture with the T and A for which J·T + A·(1 − T) is closest to the photo.

    Attributes:
        scene: J, RGB, (B,3,H,W), nominally in [0,1], not clamped.
        transmission: T, unitless, (B,1,H,W), in [0.03, 1].
        airlight: A, RGB, (B,3,1,1), [0,1].
    """

    scene: Float[Tensor, "b 3 h w"]
    transmission: Float[Tensor, "b 1 h w"]
    airlight: Float[Tensor, "b 3 1 1"]


class Stage(NamedTuple):
    """The variables of one stage, on the grid that the stages work on.

    Attributes:
        transmission_hat: T̂ₖ after the closed-form T-step.
        transmission: Tₖ after its prior (T̂ₖ itself in a stage that has none).
        scene_hat: Ĵₖ after the closed-form J-step, in [0,1].
        scene: Jₖ after its prior, not clamped.
    """

    transmission_hat: Float[Tensor, "b 1 h w"]
    transmission: Float[Tensor, "b 1 h w"]
    scene_hat: Float[Tensor, "b 3 h w"]
    scene: Float[Tensor, "b 3 h w"]


class Unfolding(NamedTuple):
    """Every stage of one batch, for losses and pictures.

    Attributes:
        cells: P′, what the stages saw: the picture padded or reduced, averaged over cells.
        stages: their variables, the first stage first, of the size of ``cells``.
        output: what the network returns.
    """

    cells: Float[Tensor, "b 3 h2 w2"]
    stages: list[Stage]
    output: CorunOutput


class UnfoldingStage(nn.Module):
    """One stage: T-step → T-prior → J-step → J-prior.

    As published, the J-step and the J-prior use T̂ₖ, and the last stage has no T-prior. With cells
    they use Tₖ, clamped to [0.03, 1], and F, what the averages lost, guides both priors.

    Args:
        config: the network's hyper-parameters.
        transmission_prior: whether the stage has a T-prior.
    """

    def __init__(self, config: CorunConfig, *, transmission_prior: bool) -> None:
        super().__init__()
        initial = torch.sigmoid(torch.tensor([0.3]))
        self.lam = nn.Parameter(initial.clone())
        self.gamma = nn.Parameter(initial.clone())
        self.transmission_step = TRANSMISSION_STEPS[config.transmission_step]
        self.at_cells = config.cell > 1
        self.least = TRANSMISSION_LEAST if self.at_cells else TRANSMISSION_MIN
        lost = 3 * config.cell**2 if self.at_cells else 0

        def prior(out_channels: int, guide_channels: int) -> PriorUNet:
            return PriorUNet(
                out_channels, guide_channels + lost, config.dim, config.levels, config.ffn_expansion
            )

        self.transmission_prior = prior(1, 3) if transmission_prior else None
        self.scene_prior = prior(3, 1)
        self.recompute = False

    def forward(
        self,
        hazy: Float[Tensor, "b 3 h w"],
        lost: Float[Tensor, "b f h w"] | None,
        transmission: Float[Tensor, "b 1 h w"],
        scene_hat: Float[Tensor, "b 3 h w"],
        scene: Float[Tensor, "b 3 h w"],
    ) -> Stage:
        """P, F, Tₖ₋₁, Ĵₖ₋₁, Jₖ₋₁ → T̂ₖ, Tₖ, Ĵₖ, Jₖ."""
        known = () if lost is None else (lost,)
        T_hat = self.transmission_step(hazy, scene_hat, transmission, self.lam, self.least)
        T = T_hat
        if self.transmission_prior is not None:
            T = self._refined(self.transmission_prior, T_hat, scene, *known)
        if self.at_cells:
            T = T.clamp(TRANSMISSION_LEAST, 1.0)
        used = T if self.at_cells else T_hat
        J_hat = scene_step(hazy, scene, used, self.gamma)
        J = self._refined(self.scene_prior, J_hat, used, *known)
        return Stage(T_hat, T, J_hat, J)

    def _refined(self, prior: nn.Module, value: Tensor, *guides: Tensor) -> Tensor:
        """What a prior makes of a value; its maps are kept for the backward pass, or made again."""
        if self.recompute and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(prior, value, *guides, use_reentrant=False))
        return cast(Tensor, prior(value, *guides))


class CORUN(nn.Module, Pretrained):
    """Cooperative unfolding network.

    Args:
        config: hyper-parameters; the default is the published size (18.67 M parameters).
    """

    def __init__(self, config: CorunConfig | None = None) -> None:
        super().__init__()
        self.config = config or CorunConfig()
        last = self.config.stages - 1
        self.unfolding = nn.ModuleList(
            UnfoldingStage(self.config, transmission_prior=k < last or self.config.cell > 1)
            for k in range(self.config.stages)
        )
        if self.config.full_size_step:
            self.log_gamma = nn.Parameter(torch.tensor([math.log(INITIAL_GAMMA)]))

    def recompute_maps(self) -> None:
        """From now on the backward pass computes each prior again instead of keeping its maps.

        Gradients stay the same. A training then holds the maps of one prior at a time in place of
        those of all 2K − 1 (with cells 2K), and computes every prior once more.
        """
        for stage in self.unfolding:
            cast(UnfoldingStage, stage).recompute = True

    @overload
    def forward(
        self, hazy: Float[Tensor, "b 3 h w"], *, all_stages: Literal[False] = False
    ) -> CorunOutput: ...

    @overload
    def forward(
        self, hazy: Float[Tensor, "b 3 h w"], *, all_stages: Literal[True]
    ) -> Unfolding: ...

    def forward(
        self, hazy: Float[Tensor, "b 3 h w"], *, all_stages: bool = False
    ) -> CorunOutput | Unfolding:
        """Remove haze.

        Args:
            hazy: RGB, sRGB-encoded, in [0,1], (B,3,H,W), any H and W of at least 1.
            all_stages: return every stage as well, as :meth:`unfold` does, for losses.

        Returns:
            J (not clamped) and T, both of the input's size.
        """
        if all_stages:
            return self.unfold(hazy)
        working = self._working_picture(hazy)
        return self._at_full_size(hazy, working, *self._last_stage(working))

    def explained(self, hazy: Float[Tensor, "b 3 h w"]) -> Explained:
        """Remove haze, and explain the picture by the transmission and the airlight that fit it.

        Where there is a full-size step they are fitted at the cells, else at every pixel.
        """
        working = self._working_picture(hazy)
        if not self.config.full_size_step:
            scene, transmission = self._at_full_size(hazy, working, *self._last_stage(working))
            return Explained(scene, *explain(hazy, scene, transmission))
        gain, offset, transmission, airlight = self.maps(working)
        maps = self._enlarged(torch.cat((gain, offset, transmission), 1), working, hazy)
        return Explained(maps[:, 1:4] + maps[:, :1] * hazy, maps[:, 4:], airlight)

    def maps(self, working: Float[Tensor, "b 3 h2 w2"]) -> Maps:
        """What a working picture says about the photo it was made of.

        Args:
            working: the photo padded or reduced, RGB, [0,1], its sides multiples of
                ``config.multiple``.

        Raises:
            ConfigurationError: the network has no full-size step.
        """
        if not self.config.full_size_step:
            raise ConfigurationError("this network takes no step at full size, so it has no maps")
        cells, last = self._last_stage(working)
        T = self._used_transmission(last)
        gain, offset = full_size_coefficients(cells, last.scene, T, self.log_gamma.exp())
        return Maps(gain, offset, *explain(cells, last.scene, T))

    def unfold(self, hazy: Float[Tensor, "b 3 h w"]) -> Unfolding:
        """Every stage's variables and the result, for losses and pictures."""
        working = self._working_picture(hazy)
        cells, lost = self._cells(working)
        stages = list(self._iterate(cells, lost))
        return Unfolding(cells, stages, self._at_full_size(hazy, working, cells, stages[-1]))

    def _working_picture(self, hazy: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """What the stages see: the picture padded, or reduced to about ``working_pixels``."""
        multiple = self.config.multiple
        height, width = hazy.shape[-2:]
        size = working_size(height, width, self.config.working_pixels, multiple)
        if size is None:
            return pad_to_multiple(hazy, multiple)
        return reduce_by_area(hazy, *size)

    def _last_stage(
        self, working: Float[Tensor, "b 3 h2 w2"]
    ) -> tuple[Float[Tensor, "b 3 h3 w3"], Stage]:
        """P′ and the last stage's variables; one stage's are held at a time."""
        cells, lost = self._cells(working)
        return cells, deque(self._iterate(cells, lost), maxlen=1).pop()

    def _used_transmission(self, stage: Stage) -> Float[Tensor, "b 1 h w"]:
        return stage.transmission if self.config.cell > 1 else stage.transmission_hat

    def _cells(
        self, working: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 3 h2 w2"], Float[Tensor, "b f h2 w2"] | None]:
        """P′, the averages over cells, and F = unshuffle(P) − P′, what they lost."""
        r = self.config.cell
        if r == 1:
            return working, None
        if planar_order():
            return planar_cells(working, r)
        cells = F.avg_pool2d(working, r)
        lost = F.pixel_unshuffle(working, r) - cells.repeat_interleave(r * r, 1)
        return cells, 4 * lost

    def _iterate(
        self, P: Float[Tensor, "b 3 h w"], lost: Float[Tensor, "b f h w"] | None
    ) -> Iterator[Stage]:
        J = J_hat = P
        T = torch.full_like(P[:, :1], INITIAL_TRANSMISSION)
        for stage in self.unfolding:
            result = stage(P, lost, T, J_hat, J)
            yield result
            T, J_hat, J = result.transmission, result.scene_hat, result.scene

    def _at_full_size(
        self,
        hazy: Float[Tensor, "b 3 h w"],
        working: Float[Tensor, "b 3 h2 w2"],
        cells: Float[Tensor, "b 3 h3 w3"],
        last: Stage,
    ) -> CorunOutput:
        height, width = hazy.shape[-2:]
        T = self._used_transmission(last)
        if not self.config.full_size_step:
            return CorunOutput(last.scene[..., :height, :width], T[..., :height, :width])
        gain, offset = full_size_coefficients(cells, last.scene, T, self.log_gamma.exp())
        maps = self._enlarged(torch.cat((gain, offset, T), 1), working, hazy)
        return CorunOutput(maps[:, 1:4] + maps[:, :1] * hazy, maps[:, 4:])

    def _enlarged(
        self,
        maps: Float[Tensor, "b c h w"],
        working: Float[Tensor, "b 3 h2 w2"],
        hazy: Float[Tensor, "b 3 h3 w3"],
    ) -> Float[Tensor, "b c h3 w3"]:
        """Maps of cells at the picture's size.

        A reduced picture is covered by its cells (even where a side of the working picture ended
        on a longer multiple), a padded one is cropped from what they cover.
        """
        height, width = hazy.shape[-2:]
        reduced = working_size(height, width, self.config.working_pixels, self.config.multiple)
        size = (height, width) if reduced else tuple(working.shape[-2:])
        large = F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)
        return large[..., :height, :width].to(hazy.dtype)


def explain(
    hazy: Float[Tensor, "b 3 h w"],
    scene: Float[Tensor, "b 3 h w"],
    transmission: Float[Tensor, "b 1 h w"],
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 3 1 1"]]:
    """The T and A that explain a picture best, given J and, as a prior, T (both least squares)."""
    scene = scene.clamp(0.0, 1.0)
    airlight = fit_airlight(hazy, scene, transmission)
    return fit_transmission(hazy, scene, transmission, airlight), airlight
