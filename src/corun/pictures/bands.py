"""Which samples of a TIFF's pixel are colours, which are alpha, and which are something else."""

from __future__ import annotations

from dataclasses import dataclass

from corun.pictures.pixels import PixelError
from corun.pictures.tiff_header import TiffHeader

PHOTOMETRIC, EXTRA_SAMPLES = 262, 338
COLOURS_OF = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
"""Photometric interpretation to number of colour samples (TIFF 6.0)."""

ASSUMED_RGB = "its bands are not named; the first three were taken for red, green and blue"


@dataclass(frozen=True)
class Bands:
    """The samples of a pixel, in order.

    Attributes:
        colours: how many are colours.
        alpha: whether one for transparency follows.
        premultiplied: whether the colours were multiplied by it.
        spare: how many follow that are neither.
        assumed: whether the file did not say that the first three are red, green and blue.
    """

    colours: int
    alpha: bool = False
    premultiplied: bool = False
    spare: int = 0
    assumed: bool = False


def bands_of(header: TiffHeader) -> Bands:
    """The samples of a TIFF's pixels, by photometric interpretation and ExtraSamples.

    A grey picture of three or four samples, which geographic programs write, is taken for RGB.

    Raises:
        PixelError: more than four samples of which none is named a colour.
    """
    samples = header.samples
    colours = COLOURS_OF.get(header.one(PHOTOMETRIC, 1), samples)
    kinds = header.tags.get(EXTRA_SAMPLES, ())[-max(0, samples - colours) :]
    grey = header.one(PHOTOMETRIC, 1) in (0, 1)
    assumed = grey and samples > 2 and kinds[:1] not in ((1,), (2,))
    if assumed:
        named = sum(kind in (1, 2) for kind in kinds)
        if samples - named > 4:
            raise PixelError(
                f"it has {samples} bands and does not say which are red, green and blue; "
                "export these three as a TIFF"
            )
        kinds, colours = kinds[-(samples - 3) :] if samples > 3 else (), 3
    extra = max(0, samples - colours)
    alpha = extra > 0 and kinds[:1] in ((1,), (2,))
    return Bands(colours, alpha, kinds[:1] == (1,) and alpha, extra - alpha, assumed)
