"""What a dehazing network returned, checked: the one place where any network is understood."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from corun.errors import NetworkOutputError


class NetworkOutput(NamedTuple):
    """What any dehazing network is reduced to.

    Attributes:
        scene: J, RGB, nominally in [0,1], not clamped.
        transmission: T, unitless, or None from a network that estimates none.
    """

    scene: Float[Tensor, "b 3 h w"]
    transmission: Float[Tensor, "b 1 h w"] | None


def read_output(
    output: object, hazy: Float[Tensor, "b 3 h w"], *, strict: bool = True
) -> NetworkOutput:
    """The scene and, if there is one, the transmission in what a network returned.

    Understood are a tensor (B,3,H,W), a tuple or list whose first entry is one and whose second,
    if it is a tensor, is a transmission (B,1,H,W), and a mapping with ``scene`` and perhaps
    ``transmission``.

    Args:
        output: what the network returned.
        hazy: what it was given.
        strict: whether a second tensor must be a transmission. A loss would silently lack it; who
            only wants the scene may pass over a network's features.

    Raises:
        NetworkOutputError: it is none of these; the message says what was got.
    """
    scene: object = output
    transmission: object = None
    if isinstance(output, dict):
        scene, transmission = output.get("scene"), output.get("transmission")
    elif isinstance(output, (tuple, list)):
        scene = output[0] if output else None
        transmission = output[1] if len(output) > 1 else None
    wanted = (hazy.shape[0], 3, *hazy.shape[-2:])
    if not isinstance(scene, Tensor) or tuple(scene.shape) != wanted:
        got = tuple(scene.shape) if isinstance(scene, Tensor) else type(output).__name__
        raise NetworkOutputError(
            f"the network must return a clear batch of shape {wanted}, or (scene, transmission); "
            f"for a hazy batch of {tuple(hazy.shape)} it returned {got}"
        )
    if not isinstance(transmission, Tensor):
        return NetworkOutput(scene, None)
    single = (wanted[0], 1, *wanted[2:])
    if tuple(transmission.shape) != single:
        if not strict:
            return NetworkOutput(scene, None)
        raise NetworkOutputError(
            f"the transmission must have the shape {single}, or be None; for a hazy batch of "
            f"{tuple(hazy.shape)} the network returned {tuple(transmission.shape)} beside the scene"
        )
    return NetworkOutput(scene, transmission)
