"""Hyper-parameters of CORUN; nothing here imports torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from corun.errors import ConfigurationError

TransmissionStep = Literal["paper", "least_squares"]


BOUNDS = {
    "stages": (1, 64),
    "dim": (1, 1024),
    "levels": (1, 8),
    "ffn_expansion": (1, 32),
    "cell": (1, 64),
    "working_pixels": (0, 1 << 27),
}
"""Least and most of each hyper-parameter: beyond, no machine runs the network on a photo."""


@dataclass(frozen=True)
class CorunConfig:
    """Hyper-parameters of CORUN; they travel inside the weights file.

    Attributes:
        stages: K, at least 2 in the published layout, at least 1 here.
        dim: channels of the prior networks at their first level.
        levels: L, down- and upsamplings of the prior networks.
        ffn_expansion: widening of their feed-forward parts.
        transmission_step: ``"paper"`` (published checkpoints) or ``"least_squares"``.
        cell: r. 1 is the published network. Above, P, J and T of the stages are averages over r×r
            cells; what the averages lost guides the priors; every stage has a T-prior, whose output
            the J-step uses; and the last J-step is taken at full size.
        working_pixels: pixels above which a (padded) picture is reduced by area for the stages, to
            about as many; the last J-step is then taken at full size. 0 for no limit. The priors
            then see as much of a large picture as of those in training, and the time and memory of
            the stages do not grow beyond it.
    """

    stages: int = 4
    dim: int = 30
    levels: int = 3
    ffn_expansion: int = 4
    transmission_step: TransmissionStep = "paper"
    cell: int = 1
    working_pixels: int = 0

    # Read by pydantic where a training configuration contains this one.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ConfigurationError(
                    f"{name} must be a whole number from {least} to {most:,}, not {value!r}"
                )
        if self.dim % 2:
            raise ConfigurationError(f"dim must be even (channels are halved), not {self.dim}")
        if self.transmission_step not in get_args(TransmissionStep):
            raise ConfigurationError(
                f"transmission_step must be one of {sorted(get_args(TransmissionStep))}, "
                f"not {self.transmission_step!r}"
            )

    @property
    def full_size_step(self) -> bool:
        """Whether the last J-step is taken at the picture's own size."""
        return self.cell > 1 or self.working_pixels > 0

    @property
    def multiple(self) -> int:
        """Of which the sides of a picture must be multiples once it is padded or reduced."""
        return self.cell << self.levels

    @property
    def bytes_per_pixel(self) -> int:
        """What the widest maps of the network take at least, for each pixel it works on."""
        return self.dim * 20 // self.cell**2

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, for JSON."""
        return asdict(self)
