"""A film as it lies in a file: what it states of itself, and its frames with their times."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

from corun.dehazing.video.colours import Colours, SdrTone, bits_of, hdr_name, rgb_of_frame
from corun.errors import VideoError, reason_of
from corun.shapes import Shaped

if TYPE_CHECKING:
    Packet = av.Packet[Any]
else:
    Packet = av.Packet  # which has parameters in PyAV's stubs only

_RATE_AT_A_LOSS = Fraction(25)
"""Frames per second of a stream that states none."""
_LONGEST = 1e7
"""Seconds, four months: a tag that states more, or no number, is damaged."""


@dataclass(frozen=True)
class Film:
    """What a video stream states, and its first frame shows.

    Attributes:
        name: to call it by in messages.
        width, height: of the stored frames, pixels; a player turns them by `turns`.
        pixel_format: FFmpeg's name.
        bits: of a sample.
        colours: range, matrix, transfer and primaries.
        time_base: seconds that a time stamp counts in.
        begins: the first frame's time as the stream states it.
        rate: frames per second on average.
        frames: how many there are about, 0 for unknown.
        seconds: how long it lasts about, 0 for unknown.
        sample_aspect: width of a pixel by its height, None for unstated.
        display_matrix: the nine numbers by which a player turns the picture, None for none.
        turns: quarter turns counter-clockwise that make it upright.
        field_order: "tff" or "bff" where frames are interlaced.
        transparent: whether frames have an alpha channel.
    """

    name: str
    width: int
    height: int
    pixel_format: str
    bits: int
    colours: Colours
    time_base: Fraction
    begins: int
    rate: Fraction
    frames: int
    seconds: float
    sample_aspect: Fraction | None
    display_matrix: tuple[int, ...] | None
    turns: int
    field_order: str | None
    transparent: bool


class Moment(NamedTuple):
    """A frame in time.

    Attributes:
        number: its number in the part that is worked on, from 0; below 0 for those that are only
            looked at before it.
        stamp: its time in `Film.time_base`.
        duration: the same, 0 for unknown.
        rgb: as stored (not turned), (H,W,3), uint8 or uint16.
    """

    number: int
    stamp: int
    duration: int
    rgb: Shaped[np.ndarray, "h w 3"]


@contextmanager
def opened(
    source: str | Path, *, name: str | None = None, **options: Any
) -> Generator[InputContainer, None, None]:
    """A file or stream, open for reading.

    Args:
        source: a path or an address.
        name: what to call it in messages.
        options: of `av.open`.

    Raises:
        VideoError: it is missing, no video, or not readable.
    """
    name = name or str(source)
    try:
        container = av.open(str(source), "r", metadata_errors="replace", **options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name}: cannot be opened as a video ({reason(error)})") from error
    with container:
        yield container


def reason(error: BaseException) -> str:
    """What FFmpeg or the system says, in words."""
    text = reason_of(error)
    if isinstance(error, av.ExitError | av.error.TimeoutError):
        text = "nothing came for too long"
    if isinstance(error, av.InvalidDataError):
        text = "no format that FFmpeg reads, or the file is damaged or cut short"
    return " ".join(str(text).split())


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The stream with the moving pictures.

    Raises:
        VideoError: there is none.
    """
    streams = [
        s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        raise VideoError(f"{name}: has no moving pictures; give a video")
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in streams else streams[0]
    if stream.codec_context is None:
        raise VideoError(f"{name}: its video is in a format that this FFmpeg does not decode")
    if not stream.codec_context.is_open:
        stream.thread_type = "AUTO"
    return stream


def read_film(source: str | Path) -> Film:
    """What a film states; its first frame is decoded.

    Raises:
        VideoError: it cannot be read, or no frame of it can be decoded.
    """
    with opened(source) as container:
        return film_of(container, str(source))


def film_of(container: InputContainer, name: str) -> Film:
    """As `read_film`, of an open container, whose first packets are used up by it."""
    stream = video_stream(container, name)
    frame = next(decoded(container, stream, name), None)
    if frame is None:
        raise VideoError(f"{name}: none of its frames can be decoded; the file is damaged or empty")
    rate = stream.average_rate or stream.guessed_rate or _RATE_AT_A_LOSS
    if not 0 < rate <= 1000:
        rate = _RATE_AT_A_LOSS
    # Where FFmpeg finds no duration of a stream it gives the longest one, perhaps of the sound.
    seconds = _tagged_duration(stream)
    if not seconds and stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif not seconds and container.duration is not None:
        seconds = container.duration / av.time_base
    matrix = _display_matrix(frame)
    context = stream.codec_context
    order = context.field_order
    interlaced = frame.interlaced_frame or order in (2, 3, 4, 5)
    aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio
    return Film(
        name=name,
        width=frame.width,
        height=frame.height,
        pixel_format=frame.format.name,
        bits=bits_of(frame),
        colours=Colours.of(frame),
        time_base=frame.time_base or stream.time_base or Fraction(1, 90000),
        begins=(frame.pts or 0) if stream.start_time is None else stream.start_time,
        rate=rate,
        frames=stream.frames or round(seconds * rate),
        seconds=seconds,
        sample_aspect=aspect if aspect and aspect > 0 else None,
        display_matrix=matrix,
        turns=round(frame.rotation / 90) % 4 if matrix else 0,
        field_order=("bff" if order in (3, 4) else "tff") if interlaced else None,
        transparent=any(component.is_alpha for component in frame.format.components),
    )


def _tagged_duration(stream: VideoStream) -> float:
    """Seconds that Matroska's tag of the stream states, such as 00:01:02.500000000; 0 for none."""
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = map(float, parts)
    except ValueError:
        return 0.0
    total = 3600 * hours + 60 * minutes + seconds
    return total if 0 < total < _LONGEST else 0.0


def tone_of(film: Film, asked: str | None) -> SdrTone | None:
    """What brings an HDR film to SDR; None for a film whose white is a screen's.

    Raises:
        VideoError: it is HDR, and nobody asked for that.
    """
    refusal = hdr_refusal(film)
    if refusal is not None and asked is None:
        raise VideoError(refusal)
    return None if refusal is None else SdrTone(film.colours)


def upright(rgb: Shaped[np.ndarray, "..."], film: Film) -> Shaped[np.ndarray, "..."]:
    """A stored frame as a player shows it: networks know it better than one on its side."""
    return np.ascontiguousarray(np.rot90(rgb, film.turns))


def hdr_refusal(film: Film) -> str | None:
    """Why the film is not worked on as it is; None where it is a screen's."""
    kind = hdr_name(film.colours)
    if kind is None:
        return None
    return (
        f"{film.name}: its colours are HDR ({kind}), which networks for photos do not know; "
        "add --tone sdr to have it brought to SDR (BT.709)"
    )


class Reader:
    """The frames of a part of a film, in order of time.

    Args:
        source: the file.
        film: of it.
        start: seconds from the film's beginning, the first frame's time at least.
        end: seconds; frames at or after it are left out. None for all.
        tone: for HDR films.

    Attributes:
        damaged: packets that could not be decoded so far.
    """

    def __init__(
        self,
        source: Path,
        film: Film,
        *,
        start: float = 0.0,
        end: float | None = None,
        tone: SdrTone | None = None,
    ) -> None:
        self.source, self.film, self.tone = source, film, tone
        self.start, self.end = start, end
        self.damaged = 0

    @property
    def first(self) -> int:
        """The time from which frames are read."""
        return self.film.begins + ticks(self.start, self.film.time_base)

    def moments(
        self,
        known: list[int] | None = None,
        index: int = 0,
        wanted: Callable[[int, int], bool] = lambda index, stamp: True,
    ) -> Generator[Moment, None, None]:
        """The frames from the beginning of the part, or from one of known time.

        Args:
            known: times of successive frames to begin with; others come where the file does not
                give these after a jump, which is for the caller to see.
            index: the number of the first frame.
            wanted: whether the frame of a number and time is to be given.

        Raises:
            VideoError: the film cannot be read, or its frames change their size.
        """
        film = self.film
        begin = known[0] if known else self.first
        last = None if self.end is None else film.begins + ticks(self.end, film.time_base)
        step = max(1, ticks(1 / film.rate, film.time_base))
        previous: int | None = None
        with opened(self.source, name=film.name) as container:
            stream = video_stream(container, film.name)
            if begin > film.begins:
                container.seek(begin, stream=stream, backward=True)
            for frame in decoded(container, stream, film.name, self):
                require_same_size(film, frame)
                stamp = frame.pts
                if stamp is None:
                    stamp = film.begins if previous is None else previous + step
                if previous is not None and stamp <= previous:  # the stream's times go back
                    stamp = previous + 1
                previous = stamp
                if stamp < begin:
                    continue
                if last is not None and stamp >= last:
                    return
                if wanted(index, stamp):
                    yield moment_of(film, frame, index, stamp, self.tone)
                index += 1


def moment_of(
    film: Film, frame: av.VideoFrame, index: int, stamp: int, tone: SdrTone | None
) -> Moment:
    """A decoded frame as RGB."""
    rgb = rgb_of_frame(frame, film.colours)
    return Moment(index, stamp, frame.duration or 0, rgb if tone is None else tone(rgb))


def require_same_size(film: Film, frame: av.VideoFrame) -> None:
    """Raises:
    VideoError: the frame is of another size than the film's first.
    """
    if (frame.width, frame.height) != (film.width, film.height):
        raise VideoError(
            f"{film.name}: its frames change from {film.width}x{film.height} to "
            f"{frame.width}x{frame.height} at {frame.time or 0:.2f} s; do the parts one by one "
            "with --end and --start"
        )


def decoded(
    container: InputContainer, stream: VideoStream, name: str, reader: Reader | None = None
) -> Generator[av.VideoFrame, None, None]:
    """Decoded frames; packets that cannot be decoded are counted and passed over."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            if reader is None or isinstance(error, av.ExitError):
                raise VideoError(f"{name}: cannot be read ({reason(error)})") from error
            reader.damaged += 1
            packet = None
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            if reader is not None:
                reader.damaged += 1
        except (av.DecoderNotFoundError, av.NotImplementedError, av.PatchWelcomeError) as error:
            raise VideoError(f"{name}: this FFmpeg does not decode it ({reason(error)})") from error


def ticks(seconds: float | Fraction, time_base: Fraction) -> int:
    """Seconds in units of a time base, to the nearest that is not before."""
    return -int(-Fraction(seconds).limit_denominator(10**9) / time_base // 1)


def _display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    try:
        data = frame.side_data[Type.DISPLAYMATRIX]  # type: ignore[typeddict-item]
    except KeyError:
        return None
    return struct.unpack("=9i", bytes(data)[:36])
