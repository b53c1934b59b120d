"""Frames of a film as RGB and back: range and matrix as the stream states them, 8 bits or more."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorRange, Interpolation

from corun.errors import VideoError
from corun.pictures.curves import HDR_TRANSFERS, to_display
from corun.shapes import Shaped

UNSPECIFIED = 2
"""Matrix, transfer and primaries of ITU-T H.273 that a stream does not state."""
BT709, BT601 = 1, 5

HIGH_DEFINITION = 720
"""Rows from which an unstated matrix is BT.709 and not BT.601, as players take it."""

_EXACT = int(
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""How swscale converts so that a frame there and back changes by one code value at the most."""

_PQ_PEAK = 10000.0
_SDR_WHITE = 203.0
"""Light of diffuse white in HDR, cd/m² (ITU-R BT.2408)."""
_HLG_PEAK = 1000.0
_SHOULDER_START = 0.75
"""Where the tone curve leaves the straight line, relative to white."""


class Colours(NamedTuple):
    """What a stream says of its samples, in the numbers of ITU-T H.273.

    Attributes:
        full_range: whether black and white are the least and greatest sample.
        stated_range: the stream's own word, 0 for none, 1 limited, 2 full.
        matrix: 2 for unstated.
        transfer: 2 for unstated.
        primaries: 2 for unstated.
    """

    full_range: bool
    stated_range: int
    matrix: int
    transfer: int
    primaries: int

    @classmethod
    def of(cls, frame: VideoFrame) -> Colours:
        """As the frame states them."""
        old_full = frame.format.name.startswith("yuvj")
        stated = 2 if old_full else int(frame.color_range)
        return cls(
            stated == 2,
            stated,
            int(frame.colorspace),
            int(frame.color_trc),
            int(frame.color_primaries),
        )

    def of_yuv(self) -> Colours:
        """Those of a YUV stream that is made of this one; RGB has no matrix, so it gets one."""
        if self.matrix != 0:
            return self
        return Colours(False, 1, BT709, self.transfer, self.primaries)

    def working_matrix(self, height: int) -> int:
        """The matrix in force, in swscale's numbers."""
        if self.matrix in (0, UNSPECIFIED):
            return BT709 if height >= HIGH_DEFINITION else BT601
        # 6 (SMPTE 170M) is the matrix of 5, and 10 (BT.2020 constant) is decoded as 9.
        return {6: BT601, 10: 9}.get(self.matrix, self.matrix)


def bits_of(frame: VideoFrame) -> int:
    """Bits of a sample."""
    return max(component.bits for component in frame.format.components)


def hdr_name(colours: Colours) -> str | None:
    """ "PQ" or "HLG", None for films whose white is a screen's."""
    return HDR_TRANSFERS.get(colours.transfer)


def rgb_of_frame(frame: VideoFrame, colours: Colours) -> Shaped[np.ndarray, "h w 3"]:
    """RGB, (H,W,3), uint8, or uint16 where the frame has more than 8 bits."""
    if len(frame.format.components) == 0:
        raise VideoError(f"frames of {frame.format.name} hold no samples that can be read")
    matrix = None if frame.format.is_rgb else colours.working_matrix(frame.height)
    converted = frame.reformat(
        # Into planes, which swscale makes three times as fast, with the very same samples.
        format="gbrp16le" if bits_of(frame) > 8 else "gbrp",
        src_colorspace=matrix,
        src_color_range=ColorRange.JPEG
        if colours.full_range or frame.format.is_rgb
        else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_EXACT,
    )
    return converted.to_ndarray()


def frame_of_rgb(
    rgb: Shaped[np.ndarray, "h w 3"], pixel_format: str, colours: Colours
) -> VideoFrame:
    """A frame of the encoder's pixel format, with the colours stated on it.

    Args:
        rgb: uint8 or uint16.
        pixel_format: FFmpeg's name.
        colours: what the samples are to mean.
    """
    source = VideoFrame.from_ndarray(rgb, format="rgb24" if rgb.dtype == np.uint8 else "rgb48le")
    is_yuv = pixel_format.startswith("yuv") or pixel_format.startswith("gray")
    frame = source.reformat(
        format=pixel_format,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG if colours.full_range or not is_yuv else ColorRange.MPEG,
        dst_colorspace=colours.working_matrix(rgb.shape[0]) if is_yuv else None,
        interpolation=_EXACT,
    )
    frame.color_range = colours.stated_range
    frame.colorspace = colours.matrix
    frame.color_trc = colours.transfer
    frame.color_primaries = colours.primaries
    return frame


class SdrTone:
    """HDR samples as those of a screen: for `--tone sdr`.

    PQ (SMPTE ST 2084) or HLG (ITU-R BT.2100) → light in units of diffuse white (203 cd/m²) →
    BT.2020 to BT.709 primaries → the curve x up to s = 0.75, s + (1 − s)·u/(u + 1) with
    u = (x − s)/(1 − s) above, of the greatest channel, so that hues stay → sRGB's encoding.

    Args:
        colours: of the HDR stream.
    """

    colours = Colours(False, 1, BT709, BT709, BT709)
    """What the result is stated to be."""

    def __init__(self, colours: Colours) -> None:
        codes = np.arange(65536, dtype=np.float64) / 65535
        self._hlg = hdr_name(colours) == "HLG"
        self._light = (_hlg_scene_light(codes) if self._hlg else _pq_light(codes)).astype(
            np.float32
        )
        self._wide = colours.primaries == 9 or colours.matrix in (9, 10)

    def __call__(self, rgb: Shaped[np.ndarray, "h w 3"]) -> Shaped[np.ndarray, "h w 3"]:
        """RGB of HDR as RGB of a screen, (H,W,3), of the same type."""
        codes = rgb.astype(np.uint16) * 257 if rgb.dtype == np.uint8 else rgb
        light = self._light[codes]
        if self._hlg:  # BT.2100's opto-optical transfer at 1000 cd/m², γ = 1.2
            grey = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
            light *= (np.maximum(grey, 1e-6) ** 0.2)[..., None] * np.float32(_HLG_PEAK / _SDR_WHITE)
        if self._wide:
            light = np.maximum(light @ _BT2020_TO_BT709.T, 0)
        greatest = np.maximum(light.max(axis=2, keepdims=True), 1e-6)
        start = np.float32(_SHOULDER_START)
        above = np.maximum(greatest - start, 0) / (1 - start)
        toned = np.where(greatest <= start, greatest, start + (1 - start) * above / (above + 1))
        shown = to_display(np.clip(light * (toned / greatest), 0, 1), 1.0)
        white = 255 if rgb.dtype == np.uint8 else 65535
        return np.rint(shown * np.float32(white)).astype(rgb.dtype)


_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)
"""ITU-R BT.2087."""


def _pq_light(codes: np.ndarray) -> np.ndarray:
    power = codes ** (1 / 78.84375)
    light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (
        1 / 0.1593017578125
    )
    return np.asarray(light * (_PQ_PEAK / _SDR_WHITE))


def _hlg_scene_light(codes: np.ndarray) -> np.ndarray:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.asarray(np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12))
