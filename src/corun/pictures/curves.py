"""Tone curves of files that are not in display form: linear light, or a gamma far from a screen's.

Networks expect what a screen expects. Samples v in such a file mean the light v^γ; they are worked
on as S(v^γ), S the curve of sRGB (IEC 61966-2-1), and given back as (S⁻¹(w))^(1/γ).
"""

from __future__ import annotations

import math
import struct

import numpy as np

from corun.pictures.pixels import PixelError
from corun.shapes import Float32

DISPLAY_EXPONENTS = (1.6, 2.8)
"""γ of files that are shown as they are: Macintosh's 1.8, Adobe RGB's 2.2, sRGB's about 2.2."""

LINEAR_TRANSFER = 8
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of ITU-T H.273, table 3."""


def refuse_hdr(transfer: int) -> None:
    """Refuses pictures whose samples stand for more light than a screen's white.

    Raises:
        PixelError: the transfer function is PQ or HLG.
    """
    if transfer in HDR_TRANSFERS:
        raise PixelError(
            f"its colours are HDR ({HDR_TRANSFERS[transfer]}), which corun does not read; "
            "export it as SDR (sRGB or Display P3)"
        )


def to_display(
    samples: Float32[np.ndarray, "h w c"], exponent: float
) -> Float32[np.ndarray, "h w c"]:
    """S(v^γ) of samples v in [0,1]."""
    light = np.power(samples, np.float32(exponent))
    curved = 1.055 * np.power(light, 1 / 2.4) - 0.055
    shown: Float32[np.ndarray, "h w c"] = np.where(light <= 0.0031308, 12.92 * light, curved)
    return shown.astype(np.float32)


def from_display(
    shown: Float32[np.ndarray, "h w c"], exponent: float
) -> Float32[np.ndarray, "h w c"]:
    """(S⁻¹(w))^(1/γ) of what `to_display` returned, in [0,1]."""
    light = np.where(shown <= 0.04045, shown / 12.92, np.power((shown + 0.055) / 1.055, 2.4))
    samples: Float32[np.ndarray, "h w c"] = np.power(light, 1 / exponent).astype(np.float32)
    return samples


def unusual_exponent(exponent: float | None) -> float | None:
    """γ where it has to be applied, None where the file is in display form or says nothing."""
    if exponent is None or not 0.1 <= exponent <= 10:
        return None
    least, most = DISPLAY_EXPONENTS
    return None if least <= exponent <= most else exponent


def exponent_of_profile(icc: bytes | None) -> float | None:
    """The γ that an ICC profile's tone curve has at one half; None where it has no such curve.

    ICC.1:2022, 10.6 (curveType) and 10.18 (parametricCurveType); of the curves for red, green and
    blue the green one stands for all.
    """
    if icc is None:
        return None
    try:
        middle = _curve_at_half(icc)
    except (struct.error, ValueError, TypeError, ArithmeticError, IndexError):
        return None
    return math.log(middle) / math.log(0.5) if middle is not None and 0 < middle < 1 else None


def _curve_at_half(icc: bytes) -> float | None:
    (count,) = struct.unpack_from(">I", icc, 128)
    for entry in range(132, 132 + 12 * min(count, 100), 12):
        name, offset, length = struct.unpack_from(">4sII", icc, entry)
        if name in (b"gTRC", b"kTRC"):
            return _evaluated(icc[offset : offset + length])
    return None


def _evaluated(curve: bytes) -> float | None:
    if curve[:4] == b"curv":
        (number,) = struct.unpack_from(">I", curve, 8)
        if number == 0:
            return 0.5
        if number == 1:
            return float(0.5 ** (struct.unpack_from(">H", curve, 12)[0] / 256))
        first, second = ((number - 1) // 2, number // 2)
        low, high = (struct.unpack_from(">H", curve, 12 + 2 * at)[0] for at in (first, second))
        return float((low + high) / 2 / 65535)
    if curve[:4] == b"para":
        (kind,) = struct.unpack_from(">H", curve, 8)
        number = (1, 3, 4, 5, 7)[kind]
        fixed = [v / 65536 for v in struct.unpack_from(f">{number}i", curve, 12)]
        g, a, b, c, d, e, f = fixed + [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0][number:]
        if kind in (3, 4) and d > 0.5:
            return float(c * 0.5 + f)
        return float((a * 0.5 + b) ** g + (c if kind == 2 else e))
    return None
