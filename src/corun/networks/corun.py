"""CORUN, the cooperative unfolding network (Fang et al., NeurIPS 2024, §3).

K stages, each of which updates the transmission and the clear scene in turn:
T-step → T-prior → J-step → J-prior.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, overload

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import ConfigurationError
from corun.networks import transmission_fit
from corun.networks.local_affine import apply_local_affine, local_affine_model
from corun.networks.prior_unet import PriorUNet
from corun.networks.unfolding import TRANSMISSION_STEPS, TransmissionStep, scene_step

INITIAL_TRANSMISSION = 0.5


@dataclass(frozen=True)
class CorunConfig:
    """Hyper-parameters of :class:`CORUN`; they travel inside the weights file.

    Attributes:
        stages: K, at least 2 in the published layout, at least 1 here.
        dim: channels of the prior networks at their first level.
        levels: L, down- and upsamplings of the prior networks.
        ffn_expansion: widening of their feed-forward parts.
        prior_downscale: the priors run at 1/r of the resolution (pixel-unshuffle by r).
        transmission_step: ``"paper"`` (published checkpoints) or ``"least_squares"``.
        affine_cell: side, in pixels, of the finest cells of the closing fit
            (:mod:`corun.networks.local_affine`); 0, as published, for none.
        affine_epsilon: ε of that fit; a quarter of it is the variance of colour below which the
            slope of the physical scene is believed rather than the network's.
        affine_trust: τ of that fit; a sixteenth of it is the variance of colour at which a narrow
            window's own mean counts half.
        affine_noise: ν of that fit, the variance of P at which detail counts half as noise in a
            clean photo; of a grainy one it is up to four times as large.
        affine_exponent: of the transmission in that fit: above 1, more haze is taken away than the
            transmission says.
        affine_clearing: in that fit, before: the share, [0,1], of what would make the clearest
            region of a picture free of haze.
        affine_deblurring: k of that fit, ≥ 0: faint fine detail is taken to have come through as
            little as T/(1 + k·(1 − T)), because haze blurs as well.
        working_pixels: with a closing fit, pixels above which a (padded) picture is reduced for the
            stages, to about as many; the fit is then applied at full size. 0 for no limit. The
            priors then see as much of a large picture as they saw of those in training, and the
            time and memory of the stages do not grow beyond it.
    """

    stages: int = 4
    dim: int = 30
    levels: int = 3
    ffn_expansion: int = 4
    prior_downscale: int = 1
    transmission_step: TransmissionStep = "paper"
    affine_cell: int = 0
    affine_epsilon: float = 1e-4
    affine_trust: float = 5e-2
    affine_noise: float = 1.5e-5
    affine_exponent: float = 1.0
    affine_clearing: float = 0.0
    affine_deblurring: float = 0.0
    working_pixels: int = 0

    # Read by pydantic where a training configuration contains this one.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for name in ("stages", "dim", "levels", "ffn_expansion", "prior_downscale"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigurationError(
                    f"{name} must be a whole number of at least 1, not {value!r}"
                )
        if not isinstance(self.affine_cell, int) or self.affine_cell < 0:
            raise ConfigurationError(
                f"affine_cell must be a whole number of at least 0, not {self.affine_cell!r}"
            )
        if not isinstance(self.working_pixels, int) or self.working_pixels < 0:
            raise ConfigurationError(
                f"working_pixels must be a whole number of at least 0, not {self.working_pixels!r}"
            )
        if self.working_pixels and not self.affine_cell:
            raise ConfigurationError(
                "working_pixels needs affine_cell: only the closing fit brings a reduced picture "
                "back to full size"
            )
        for name in ("affine_epsilon", "affine_trust", "affine_exponent"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 <= self.affine_clearing <= 1:
            raise ConfigurationError(
                f"affine_clearing must be from 0 to 1, not {self.affine_clearing}"
            )
        for name in ("affine_noise", "affine_deblurring"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigurationError(f"{name} must be at least 0, not {getattr(self, name)}")
        if self.dim % 2:
            raise ConfigurationError(f"dim must be even (channels are halved), not {self.dim}")
        if self.transmission_step not in TRANSMISSION_STEPS:
            raise ConfigurationError(
                f"transmission_step must be one of {sorted(TRANSMISSION_STEPS)}, "
                f"not {self.transmission_step!r}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, for JSON."""
        return asdict(self)


class CorunOutput(NamedTuple):
    """What CORUN returns.

    Attributes:
        scene: J_K, RGB, sRGB-encoded, (B,3,H,W), nominally in [0,1], not clamped.
        transmission: T̂_K, unitless, (B,1,H,W), in [0.05, 0.999].
    """

    scene: Float[Tensor, "b 3 h w"]
    transmission: Float[Tensor, "b 1 h w"]


class Stage(NamedTuple):
    """The variables after one stage, before cropping decisions: all (B,·,H,W).

    Attributes:
        transmission_hat: T̂ₖ after the closed-form T-step, in [0.05, 0.999].
        transmission: Tₖ after its prior (T̂ₖ itself in the last stage, which has none).
        scene_hat: Ĵₖ after the closed-form J-step, in [0,1].
        scene: Jₖ after its prior (and, in the last stage, the closing fit), not clamped.
        scene_unfitted: Jₖ after its prior, before any closing fit, not clamped.
    """

    transmission_hat: Float[Tensor, "b 1 h w"]
    transmission: Float[Tensor, "b 1 h w"]
    scene_hat: Float[Tensor, "b 3 h w"]
    scene: Float[Tensor, "b 3 h w"]
    scene_unfitted: Float[Tensor, "b 3 h w"]


class UnfoldingStage(nn.Module):
    """One stage: T-step → T-prior → J-step → J-prior.

    Args:
        config: the network's hyper-parameters.
        transmission_prior: whether the stage has a T-prior (the last one has none).
    """

    def __init__(self, config: CorunConfig, *, transmission_prior: bool) -> None:
        super().__init__()
        initial = torch.sigmoid(torch.tensor([0.3]))
        self.lam = nn.Parameter(initial.clone())
        self.gamma = nn.Parameter(initial.clone())
        self.transmission_step = TRANSMISSION_STEPS[config.transmission_step]

        def prior(out_channels: int, guide_channels: int) -> PriorUNet:
            return PriorUNet(
                out_channels,
                guide_channels,
                config.dim,
                config.levels,
                config.ffn_expansion,
                config.prior_downscale,
            )

        self.transmission_prior = prior(1, 3) if transmission_prior else None
        self.scene_prior = prior(3, 1)

    def forward(
        self,
        hazy: Float[Tensor, "b 3 h w"],
        transmission: Float[Tensor, "b 1 h w"],
        scene_hat: Float[Tensor, "b 3 h w"],
        scene: Float[Tensor, "b 3 h w"],
    ) -> Stage:
        """Tₖ₋₁, Ĵₖ₋₁, Jₖ₋₁ → T̂ₖ, Tₖ, Ĵₖ, Jₖ, before any closing fit."""
        T_hat = self.transmission_step(hazy, scene_hat, transmission, self.lam)
        T = T_hat if self.transmission_prior is None else self.transmission_prior(T_hat, scene)
        J_hat = scene_step(hazy, scene, T_hat, self.gamma)
        J = self.scene_prior(J_hat, T_hat)
        return Stage(T_hat, T, J_hat, J, J)


class CORUN(nn.Module):
    """Cooperative unfolding network.

    Args:
        config: hyper-parameters; the default is the published size (18.67 M parameters).
    """

    def __init__(self, config: CorunConfig | None = None) -> None:
        super().__init__()
        self.config = config or CorunConfig()
        last = self.config.stages - 1
        self.unfolding = nn.ModuleList(
            UnfoldingStage(self.config, transmission_prior=k < last)
            for k in range(self.config.stages)
        )
        self.multiple = self.config.prior_downscale * 2**self.config.levels
        if self.config.affine_cell:  # both grids of the closing fit must end where the picture does
            self.multiple = math.lcm(self.multiple, self.config.affine_cell, transmission_fit.CELL)

    @overload
    def forward(
        self, hazy: Float[Tensor, "b 3 h w"], *, all_stages: Literal[False] = False
    ) -> CorunOutput: ...

    @overload
    def forward(
        self, hazy: Float[Tensor, "b 3 h w"], *, all_stages: Literal[True]
    ) -> list[Stage]: ...

    def forward(
        self, hazy: Float[Tensor, "b 3 h w"], *, all_stages: bool = False
    ) -> CorunOutput | list[Stage]:
        """Remove haze.

        Args:
            hazy: RGB, sRGB-encoded, in [0,1], (B,3,H,W), any H and W of at least 1.
            all_stages: return every stage, as :meth:`stages` does, for losses.

        Returns:
            J_K (not clamped) and T̂_K, both of the input's size.
        """
        if all_stages:
            return self.stages(hazy)
        P, reduced = self._working_picture(hazy)
        last = deque(self._iterate(P), maxlen=1).pop()  # holds one stage's variables at a time
        scene = self._closing_fit(hazy, P, last, reduced)
        return CorunOutput(scene, _to_full_size(last.transmission_hat, hazy, reduced))

    def stages(self, hazy: Float[Tensor, "b 3 h w"]) -> list[Stage]:
        """Every stage's variables, of the input's size, for losses and pictures."""
        P, reduced = self._working_picture(hazy)
        results = list(self._iterate(P))
        scene = self._closing_fit(hazy, P, results[-1], reduced)
        stages = [
            Stage(*(_to_full_size(value, hazy, reduced) for value in result)) for result in results
        ]
        return [*stages[:-1], stages[-1]._replace(scene=scene)]

    def _iterate(self, P: Float[Tensor, "b 3 h w"]) -> Iterator[Stage]:
        J = J_hat = P
        T = torch.full_like(P[:, :1], INITIAL_TRANSMISSION)
        for stage in self.unfolding:
            result = stage(P, T, J_hat, J)
            yield result
            T, J_hat, J = result.transmission, result.scene_hat, result.scene

    def _working_picture(
        self, hazy: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 3 h2 w2"], bool]:
        """What the stages see: the picture padded, or reduced to about ``working_pixels``."""
        height, width = hazy.shape[-2:]
        size = working_size(height, width, self.config.working_pixels, self.multiple)
        if size is None:
            return pad_to_multiple(hazy, self.multiple), False
        # Antialiased resizing exists in float32 only on some devices.
        small = F.interpolate(hazy.float(), size=size, mode="bilinear", antialias=True)
        return small.to(hazy.dtype), True

    def _closing_fit(
        self,
        hazy: Float[Tensor, "b 3 h w"],
        P: Float[Tensor, "b 3 h2 w2"],
        last: Stage,
        reduced: bool,
    ) -> Float[Tensor, "b 3 h w"]:
        """The last scene at full size, by the closing fit if there is one."""
        height, width = hazy.shape[-2:]
        config = self.config
        if not config.affine_cell:
            return last.scene[..., :height, :width]
        model = local_affine_model(
            P,
            last.scene,
            last.transmission_hat,
            cell=config.affine_cell,
            epsilon=config.affine_epsilon,
            trust=config.affine_trust,
            noise=config.affine_noise,
            exponent=config.affine_exponent,
            clearing=config.affine_clearing,
            deblurring=config.affine_deblurring,
        )
        if reduced:
            return apply_local_affine(model, hazy)
        return apply_local_affine(model, P)[..., :height, :width]


def working_size(height: int, width: int, limit: int, multiple: int) -> tuple[int, int] | None:
    """The size to which a picture is reduced for the stages, or None if it need not be.

    Args:
        height: of the picture, pixels.
        width: of the picture, pixels.
        limit: pixels above which a picture is reduced; 0 for never.
        multiple: of which the sides of the result are multiples.

    Returns:
        (height, width) of about ``limit`` pixels and the same shape to half a multiple, no larger
        than the padded picture.
    """
    padded = tuple(side + -side % multiple for side in (height, width))
    if not limit or padded[0] * padded[1] <= limit:
        return None
    factor = math.sqrt(limit / (height * width))
    short = max(multiple, round(min(height, width) * factor / multiple) * multiple)
    # A side that cannot go below one multiple leaves fewer pixels to the other.
    long = min(max(height, width) * factor, limit / short)
    long = max(multiple, round(long / multiple) * multiple)
    size = (short, long) if height <= width else (long, short)
    return min(size[0], padded[0]), min(size[1], padded[1])


def _to_full_size(
    value: Float[Tensor, "b c h2 w2"], hazy: Float[Tensor, "b 3 h w"], reduced: bool
) -> Float[Tensor, "b c h w"]:
    height, width = hazy.shape[-2:]
    if not reduced:
        return value[..., :height, :width]
    enlarged = F.interpolate(
        value.float(), size=(height, width), mode="bilinear", align_corners=False
    )
    return enlarged.to(value.dtype)


def pad_to_multiple(image: Float[Tensor, "b c h w"], multiple: int) -> Float[Tensor, "b c h2 w2"]:
    """Pad at the right and bottom to a multiple of ``multiple``.

    Reflection where the image is large enough for it, repetition of the last row and column
    where it is not (down to 1×1).
    """
    height, width = image.shape[-2:]
    pad_h, pad_w = -height % multiple, -width % multiple
    if not pad_h and not pad_w:
        return image
    mode = "reflect" if pad_h < height and pad_w < width else "replicate"
    return F.pad(image, (0, pad_w, 0, pad_h), mode=mode)
