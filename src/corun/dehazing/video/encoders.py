"""How films are encoded: one row per codec, and the pixel format nearest to the original's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import av
import cv2
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.stream import VideoStream

from corun.dehazing.video.colours import Colours, SdrTone
from corun.dehazing.video.source import Film, Packet
from corun.errors import ConfigurationError, VideoError

CodecName = Literal["h264", "hevc", "av1", "prores", "ffv1"]


class Codec(NamedTuple):
    """An encoder of FFmpeg and how it is used.

    Attributes:
        encoder: FFmpeg's name.
        crf: its constant rate factor unless another is asked for, None for codecs without.
        most_crf: the greatest.
        options: its other options.
        bits_per_pixel: about what a picture's pixel takes at this setting, for the disk check.
        marks_fields: whether interlaced frames can be marked.
    """

    encoder: str
    crf: int | None
    most_crf: int
    options: dict[str, str]
    bits_per_pixel: float
    marks_fields: bool


CODECS: dict[CodecName, Codec] = {
    "h264": Codec("libx264", 18, 51, {"preset": "veryfast"}, 0.1, True),
    "hevc": Codec(
        "libx265", 20, 51, {"preset": "fast", "x265-params": "log-level=error"}, 0.06, False
    ),
    "av1": Codec("libsvtav1", 27, 63, {"preset": "8"}, 0.05, False),
    "prores": Codec("prores_ks", None, 0, {"vendor": "apl0"}, 3.0, True),
    "ffv1": Codec("ffv1", None, 0, {"level": "3", "slicecrc": "1", "context": "1"}, 7.0, True),
}


_AVX512_SKX = 256
"""OpenCV's number of the AVX-512 that x264 uses."""


@dataclass(frozen=True)
class Encoding:
    """What is asked of the encoder.

    Attributes:
        codec: one of `CODECS`.
        crf: constant rate factor; None for the codec's own default.
        bitrate: bits per second instead, None for constant quality.
        low_latency: whether frames leave the encoder as they come, for live streams.
    """

    codec: CodecName = "h264"
    crf: int | None = None
    bitrate: int | None = None
    low_latency: bool = False

    def __post_init__(self) -> None:
        codec = CODECS[self.codec]
        if self.crf is not None and self.bitrate is not None:
            raise ConfigurationError("--crf and --bitrate exclude each other; give one")
        if codec.crf is None and (self.crf is not None or self.bitrate is not None):
            raise ConfigurationError(
                f"{self.codec} has one quality; leave out --crf and --bitrate, or choose h264, "
                "hevc or av1"
            )
        if self.crf is not None and not 0 <= self.crf <= codec.most_crf:
            raise ConfigurationError(f"--crf of {self.codec} is from 0 to {codec.most_crf}")
        if self.bitrate is not None and self.bitrate < 1000:
            raise ConfigurationError(
                f"--bitrate {self.bitrate} is too low; 8M is 8 million bits a second"
            )


class Target(NamedTuple):
    """The stream that is written.

    Attributes:
        encoding: as asked.
        width, height: pixels.
        pixel_format: FFmpeg's name.
        colours: as stated on it.
        film: the original, whose times, shape of pixels and turning it has.
        header_apart: whether the file keeps the codec's headers apart from the frames.
    """

    encoding: Encoding
    width: int
    height: int
    pixel_format: str
    colours: Colours
    film: Film
    header_apart: bool = True

    @property
    def field_order(self) -> str | None:
        """ "tff" or "bff" where the codec marks the interlaced frames."""
        return self.film.field_order if CODECS[self.encoding.codec].marks_fields else None


def target_of(
    film: Film,
    encoding: Encoding,
    *,
    pictures: int = 1,
    tone: SdrTone | None = None,
) -> Target:
    """The stream to write for a film.

    Args:
        film: the original.
        encoding: as asked.
        pictures: how many stand beside each other, as a player shows it.
        tone: what brings it to SDR, None where it keeps its colours.

    Raises:
        VideoError: this FFmpeg lacks the encoder, or it has no fitting pixel format.
    """
    width, height = film.width, film.height * pictures
    if not film.turns % 2:
        width, height = film.width * pictures, film.height
    pixel_format = _pixel_format(film, encoding, width, height)
    stated = film.colours if tone is None else tone.colours
    if pixel_format.startswith("yuv"):
        stated = stated.of_yuv()
    elif not pixel_format.startswith("gray"):
        stated = stated._replace(full_range=True, stated_range=2, matrix=0)
    return Target(encoding, width, height, pixel_format, stated, film)


def available_codec(encoding: Encoding) -> av.Codec:
    """The encoder.

    Raises:
        VideoError: this FFmpeg lacks it.
    """
    name = CODECS[encoding.codec].encoder
    try:
        return av.Codec(name, "w")
    except av.codec.codec.UnknownCodecError as error:
        raise VideoError(
            f"this FFmpeg has no encoder {name} for --codec {encoding.codec}; choose another, or "
            "install the wheel of PyAV"
        ) from error


def configure(stream: VideoCodecContext | VideoStream, target: Target) -> None:
    """Sets an encoder up, by itself or as a stream of a file: both write the same header."""
    codec, encoding, film = CODECS[target.encoding.codec], target.encoding, target.film
    context = stream.codec_context if isinstance(stream, VideoStream) else stream
    context.width, context.height = target.width, target.height
    context.pix_fmt = target.pixel_format
    context.time_base, context.framerate = film.time_base, film.rate
    context.color_range, context.colorspace = target.colours.stated_range, target.colours.matrix
    context.color_trc, context.color_primaries = target.colours.transfer, target.colours.primaries
    if film.sample_aspect is not None:
        context.sample_aspect_ratio = film.sample_aspect
    if target.header_apart:
        context.flags |= av.codec.context.Flags.global_header
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings otherwise
    options, parameters = dict(codec.options), list[str]()
    if encoding.bitrate is not None:
        context.bit_rate = encoding.bitrate
    elif codec.crf is not None:
        options["crf"] = str(codec.crf if encoding.crf is None else encoding.crf)
    if encoding.codec == "prores":
        options["profile"] = "4" if "444" in target.pixel_format else "3"
    if encoding.low_latency and encoding.codec == "h264":
        options["tune"] = "zerolatency"
    if target.field_order is not None:
        context.flags |= av.codec.context.Flags.interlaced_dct
        context.field_order = 2 if target.field_order == "tff" else 3
        if encoding.codec == "h264":
            parameters.append(f"{target.field_order}=1")
    if encoding.codec == "h264" and cv2.checkHardwareSupport(_AVX512_SKX):
        # x264's macroblock tree reads memory that nobody wrote where it uses AVX-512, and encodes
        # the same frames differently each time; a resumed film would differ from an unbroken one.
        parameters.append("asm=avx2")
    if parameters:
        options["x264-params"] = ":".join(parameters)
    context.options = options


class Encoder:
    """Frames in, packets out, of one closed run of frames.

    Args:
        target: the stream.
    """

    def __init__(self, target: Target) -> None:
        context = av.CodecContext.create(available_codec(target.encoding), "w")
        assert isinstance(context, VideoCodecContext)
        configure(context, target)
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"{target.film.name}: {target.encoding.codec} does not take frames of "
                f"{target.width}x{target.height} {target.pixel_format} ({error}); try another "
                "--codec"
            ) from error
        self.context = context
        self.header = context.extradata or b""
        self._fields = _FieldMarks(target) if target.field_order else None
        self._durations: dict[int, int] = {}
        self._time_base = target.film.time_base

    def encode(self, frame: av.VideoFrame, stamp: int, duration: int) -> list[Packet]:
        """The packets that are ready after another frame, in order of decoding."""
        frame.pts, frame.time_base = stamp, self._time_base
        frame.duration = duration
        self._durations[stamp] = duration
        marked = frame if self._fields is None else self._fields(frame)
        return [self._timed(packet) for packet in self.context.encode(marked)]

    def finish(self) -> list[Packet]:
        """The packets that were still to come."""
        return [self._timed(packet) for packet in self.context.encode(None)]

    def _timed(self, packet: Packet) -> Packet:
        assert packet.pts is not None
        packet.duration = self._durations.pop(packet.pts, 0)
        return packet


class _FieldMarks:
    """Marks frames as interlaced, which only a filter of FFmpeg does."""

    def __init__(self, target: Target) -> None:
        film = target.film
        self._graph = Graph()
        buffer = self._graph.add_buffer(
            width=target.width,
            height=target.height,
            format=VideoFormat(target.pixel_format),
            time_base=film.time_base,
        )
        marks = self._graph.add("setfield", str(target.field_order))
        self._graph.link_nodes(buffer, marks, self._graph.add("buffersink")).configure()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        self._graph.vpush(frame)
        return self._graph.vpull()


def _pixel_format(film: Film, encoding: Encoding, width: int, height: int) -> str:
    """The encoder's format nearest to the film's: its sampling, its bits, else the next better."""
    codec = available_codec(encoding)
    original = VideoFormat(film.pixel_format, 64, 64)
    across, down, grey = _sampling(original)
    if original.is_rgb and encoding.codec != "ffv1":
        across, down = 2, 2
    best: tuple[tuple[int, ...], str] | None = None
    for candidate in codec.video_formats or []:
        name = candidate.name
        if name.startswith(("yuvj", "nv", "ya", "rgb")) or name.endswith(("f16le", "f32le", "be")):
            continue
        if any(component.is_alpha for component in candidate.components):
            continue
        is_rgb = candidate.is_rgb
        if is_rgb != (original.is_rgb and encoding.codec == "ffv1"):
            continue
        own_across, own_down, own_grey = _sampling(VideoFormat(name, 64, 64))
        if own_grey != grey and not (grey and not own_grey):
            continue
        if not is_rgb and (width % own_across or height % own_down):
            continue
        bits = max(component.bits for component in candidate.components)
        cost = (
            int(own_grey != grey),
            abs(min(bits, film.bits) - film.bits) * 2 + (bits > film.bits) * (bits - film.bits),
            4 * (own_across > across)
            + 4 * (own_down > down)
            + (own_across < across)
            + (own_down < down),
        )
        if best is None or cost < best[0]:
            best = cost, name
    if best is None:
        raise VideoError(
            f"{film.name}: {encoding.codec} takes no frames of {width}x{height} pixels like these; "
            "try --codec ffv1"
        )
    return best[1]


def _sampling(pixel_format: VideoFormat) -> tuple[int, int, bool]:
    """How many columns and rows share a sample of colour, and whether there is only grey."""
    components = pixel_format.components
    if pixel_format.is_rgb or len(components) < 3:
        return (
            1,
            1,
            len(components) < 3 and not pixel_format.is_rgb and not pixel_format.has_palette,
        )
    return 64 // pixel_format.chroma_width(64), 64 // pixel_format.chroma_height(64), False


def bytes_of(target: Target, seconds: float) -> int:
    """About how large the encoded stream becomes."""
    if target.encoding.bitrate is not None:
        return int(target.encoding.bitrate * seconds / 8)
    codec = CODECS[target.encoding.codec]
    rate = float(target.film.rate or Fraction(25))
    return int(target.width * target.height * rate * seconds * codec.bits_per_pixel / 8)
