"""sRGB to CIELAB, for the metrics that measure colour as people see it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB to CIE XYZ, ITU-R BT.709 primaries, D65."""
_WHITE = (0.95047, 1.0, 1.08883)
"""D65 seen by the 2° observer."""


def srgb_to_lab(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """CIE L*a*b* (D65, 2° observer) of sRGB, in double precision.

    IEC 61966-2-1's decoding, then X, Y, Z relative to white, then f(t) = ∛t above (6/29)³ and
    t/(3·(6/29)²) + 4/29 below; L = 116 f(Y) − 16, a = 500 (f(X) − f(Y)), b = 200 (f(Y) − f(Z)).

    Args:
        image: RGB, sRGB-encoded, [0,1].

    Returns:
        L in [0,100], a and b about −110 to 110.
    """
    encoded = image.double()
    linear = torch.where(
        encoded > 0.04045, ((encoded + 0.055) / 1.055).clamp(min=0) ** 2.4, encoded / 12.92
    )
    matrix = encoded.new_tensor(_RGB_TO_XYZ) / encoded.new_tensor(_WHITE)[:, None]
    relative = torch.einsum("ij,bjhw->bihw", matrix, linear)
    knee = 6 / 29
    lightness = torch.where(
        relative > knee**3,
        relative.clamp(min=knee**3) ** (1 / 3),
        relative / (3 * knee**2) + 4 / 29,
    )
    x, y, z = lightness.unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), 1)
