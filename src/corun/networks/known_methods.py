"""What published dehazing networks take, told by the names of the tensors in their checkpoints.

Where a checkpoint keeps its tensors, :func:`corun.networks.brought.read_state` finds by itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownMethod:
    """How the authors of a network call it.

    Attributes:
        name: of the method.
        tensors: which its checkpoints have, and those of the others do not.
        value_range: what it takes, and gives, for black and white.
        multiple: of which the sides of what it takes are multiples, pixels.
        source: the specification that makes it; MODULE:CLASS stands for the authors' own code.
    """

    name: str
    tensors: tuple[str, ...]
    value_range: tuple[float, float] = (0.0, 1.0)
    multiple: int = 1
    source: str = "MODULE:CLASS"


KNOWN_METHODS = (
    # It pads to its windows by itself.
    KnownMethod(
        "DehazeFormer",
        ("patch_embed.proj.weight", "layer1.blocks.0.mlp.mlp.0.weight"),
        value_range=(-1.0, 1.0),
    ),
    KnownMethod(
        "MixDehazeNet",
        ("patch_embed.proj.weight", "layer1.blocks.0.conv3_19.weight"),
        value_range=(-1.0, 1.0),
        source="spandrel",
    ),
    # Both forms: as it is trained, and re-parameterised to plain convolutions, as it is released.
    KnownMethod("DEA-Net", ("fe_level_2.weight", "fe_level_3.weight", "up3.0.weight"), multiple=4),
    # Averages over the whole map are part of it, so it is padded as its authors' test does.
    KnownMethod("PGL-Net", ("inconv.proj.weight", "fusions.0.pw_enc.weight"), multiple=32),
)


def known_method(tensors: Collection[str]) -> KnownMethod | None:
    """The method whose tensors these names are, if it is known here."""
    fitting = (method for method in KNOWN_METHODS if set(method.tensors) <= set(tensors))
    return next(fitting, None)
