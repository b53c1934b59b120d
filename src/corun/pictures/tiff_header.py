"""The first directory of a TIFF, read without decoding anything: what a decoder would be asked for.

Also which samples of a pixel are colours, which are alpha, and which are something else.

Tags of the TIFF 6.0 specification, of its supplements, and of libtiff (ImageDepth).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from corun.pictures.pixels import PixelError

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

WIDTH, LENGTH, BITS, COMPRESSION, SAMPLES_PER_PIXEL, ROWS_PER_STRIP = 256, 257, 258, 259, 277, 278
TILE_WIDTH, TILE_LENGTH = 322, 323
IMAGE_DEPTH, TILE_DEPTH = 32997, 32998
PHOTOMETRIC, EXTRA_SAMPLES = 262, 338
COLOURS_OF = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
"""Photometric interpretation to number of colour samples (TIFF 6.0)."""

ASSUMED_RGB = "its bands are not named; the first three were taken for red, green and blue"

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MOST_VALUES = 4096
"""Longer lists (strip offsets) are not read: nothing here needs them."""


@dataclass(frozen=True)
class TiffHeader:
    """The integers of a TIFF's first directory.

    Attributes:
        tags: the values by tag, of integer types only.
        present: every tag, of whatever type.
    """

    tags: Mapping[int, tuple[int, ...]]
    present: frozenset[int] = frozenset()

    def one(self, tag: int, default: int) -> int:
        """The first value of a tag, or the default where there is none."""
        return self.tags.get(tag, (default,))[0]

    @property
    def samples(self) -> int:
        """Samples per pixel, colour and others together."""
        return self.one(SAMPLES_PER_PIXEL, 1)

    @property
    def decoded_size(self) -> tuple[int, int, int]:
        """Width, height and depth in pixels as decoded: whole tiles."""
        sides = ((WIDTH, TILE_WIDTH), (LENGTH, TILE_LENGTH), (IMAGE_DEPTH, TILE_DEPTH))
        width, height, depth = (
            _padded(self.one(side, 1), self.one(tile, 1) if TILE_WIDTH in self.tags else 1)
            for side, tile in sides
        )
        return width, height, depth

    @property
    def tiles(self) -> int:
        """How many tiles or strips make up the picture."""
        width, height, _ = self.decoded_size
        if TILE_WIDTH in self.tags:
            area = max(1, self.one(TILE_WIDTH, 1)) * max(1, self.one(TILE_LENGTH, 1))
            return width * height // area
        return height // max(1, self.one(ROWS_PER_STRIP, height))

    @property
    def bytes_per_pixel(self) -> float:
        """Of all samples together."""
        bits = self.tags.get(BITS, (1,))
        return self.samples * max(bits) / 8


def read_tiff_header(data: bytes) -> TiffHeader | None:
    """The first directory of a TIFF or BigTIFF; None where the bytes are none or end before it."""
    if not data.startswith(TIFF_SIGNATURES):
        return None
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    try:
        present: set[int] = set()
        tags = _directory(data, order, big, present)
        return TiffHeader(tags, frozenset(present))
    except struct.error:
        return None


def _directory(data: bytes, order: str, big: bool, present: set[int]) -> dict[int, tuple[int, ...]]:
    (start,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, start)
    first, length, letter = start + (8 if big else 2), 20 if big else 12, "Q" if big else "I"
    inline = 8 if big else 4
    tags = {}
    for at in range(first, first + length * min(count, 65535), length):
        tag, kind, number = struct.unpack_from(f"{order}HH{letter}", data, at)
        present.add(tag)
        if kind not in _LETTERS or not 0 < number <= _MOST_VALUES:
            continue
        place = at + length - inline
        if number * _SIZES[kind] > inline:
            (place,) = struct.unpack_from(f"{order}{letter}", data, place)
        tags[tag] = struct.unpack_from(f"{order}{number}{_LETTERS[kind]}", data, place)
    return tags


def _padded(side: int, tile: int) -> int:
    """The side filled up to whole tiles."""
    return side if tile < 1 else -(-side // tile) * tile


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
