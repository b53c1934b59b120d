"""A camera or a stream as it comes, clear: frames are left out rather than shown late."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.video.background import newest
from corun.dehazing.video.clearing import Clearing
from corun.dehazing.video.colours import frame_of_rgb
from corun.dehazing.video.conversion import VideoOptions
from corun.dehazing.video.encoders import Encoder, target_of
from corun.dehazing.video.muxing import headers_apart, video_stream_of
from corun.dehazing.video.segments import cannot_write
from corun.dehazing.video.source import (
    Film,
    Moment,
    Packet,
    decoded,
    film_of,
    moment_of,
    opened,
    reason,
    require_same_size,
    ticks,
    tone_of,
    upright,
    video_stream,
)
from corun.errors import VideoError
from corun.files import written_atomically
from corun.shapes import Shaped

PATIENCE = 10.0
"""Seconds without a frame after which a stream is given up."""

_CAMERAS = {"Linux": "v4l2", "Darwin": "avfoundation", "Windows": "dshow"}


class LiveFrame(NamedTuple):
    """A clear frame of a live stream.

    Attributes:
        seconds: since the first one.
        rgb: as a player shows it, uint8 or uint16.
        dropped: frames left out so far.
    """

    seconds: float
    rgb: Shaped[np.ndarray, "h w 3"]
    dropped: int


class LiveResult(NamedTuple):
    """What became of a recording.

    Attributes:
        output: the file.
        frames: in it.
        dropped: frames of the stream that are not.
        error: why the stream ended, None where it was told to or came to its end.
    """

    output: Path
    frames: int
    dropped: int
    error: str | None


def is_live(source: str) -> bool:
    """Whether it names a camera (a number) or a stream (an address), not a file."""
    return source.isdecimal() or ("://" in source and not source.startswith("file:"))


class _Live:
    """An open stream whose newest frame is taken."""

    def __init__(self, container: Any, name: str, tone_asked: str | None) -> None:
        self.film = film_of(container, name)
        self.tone = tone_of(self.film, tone_asked)
        self.dropped = 0
        self._container, self._name = container, name

    def moments(self) -> Generator[Moment, None, None]:
        """The newest frame each time, its time counted from the first one's."""
        film = self.film
        stream = video_stream(self._container, self._name)
        first: int | None = None
        previous = -1
        frames = newest(decoded(self._container, stream, self._name))
        with closing(frames):
            for number, (dropped, frame) in zip(count(), frames, strict=False):
                require_same_size(film, frame)
                self.dropped += dropped
                stamp = frame.pts
                if stamp is None:
                    stamp = previous + (1 + dropped) * ticks(1 / film.rate, film.time_base)
                elif first is None:
                    first = stamp
                stamp = max(stamp - (first or 0), previous + 1)
                previous = stamp
                yield moment_of(film, frame, number, stamp, self.tone)


def live_frames(
    source: str, dehazer: Dehazer, *, strength: float = 1.0, tone: str | None = None
) -> Generator[LiveFrame, None, None]:
    """Clear frames of a camera or a stream, as fast as they can be made.

    Args:
        source: a camera's number, or an address that FFmpeg opens (rtsp, rtmp, udp, http …).
        dehazer: the network.
        strength: how much of the haze goes, [0,1].
        tone: "sdr" for HDR streams.

    Raises:
        VideoError: it cannot be opened, or it breaks off.
    """
    with opened_live(source) as container:
        live = _Live(container, source, tone)
        clearing = Clearing(dehazer, live.film, strength=strength)
        with closing(live.moments()) as moments:
            for moment, rgb in clearing.of_stream(moments):
                seconds = float(moment.stamp * live.film.time_base)
                yield LiveFrame(seconds, upright(rgb, live.film), live.dropped)


def dehaze_live(
    source: str,
    output: Path,
    dehazer: Dehazer,
    options: VideoOptions,
    report: Callable[[int, int], None] = lambda frames, dropped: None,
) -> LiveResult:
    """Records a camera or a stream, clear, until it ends, `options.end`, or Ctrl-C.

    Args:
        source: as `live_frames`.
        output: the file, there when the recording has ended, whole.
        dehazer: the network.
        options: strength, encoding, tone, side by side, overwrite and end (the recording's
            seconds) are followed.
        report: told of the frames written and left out so far.

    Raises:
        VideoError: it cannot be opened, breaks off before its first frame, or the output exists or
            cannot be written.
    """
    if output.exists() and not options.overwrite:
        raise VideoError(f"{output}: exists already; add --overwrite or choose another name")
    with opened_live(source) as container:
        live = _Live(container, source, options.tone)
        film = live.film
        try:
            with written_atomically(output, overwrite=options.overwrite) as partial:
                frames, error = _record(live, film, partial, dehazer, options, report)
                if frames == 0:
                    raise VideoError(f"{source}: broke off before its first frame ({error})")
        except OSError as failure:
            raise cannot_write(output, failure) from failure
    return LiveResult(output, frames, live.dropped, error)


def _record(
    live: _Live,
    film: Film,
    partial: Path,
    dehazer: Dehazer,
    options: VideoOptions,
    report: Callable[[int, int], None],
) -> tuple[int, str | None]:
    encoding = replace(options.encoding, low_latency=True)
    target = target_of(film, encoding, pictures=1 + options.side_by_side, tone=live.tone)
    clearing = Clearing(dehazer, film, strength=options.strength, side_by_side=options.side_by_side)
    frames, error = 0, None
    try:
        with av.open(str(partial), "w") as result:
            target = target._replace(header_apart=headers_apart(result))
            stream = video_stream_of(result, target)
            encoder = Encoder(target)

            def write(packets: list[Packet]) -> None:
                for packet in packets:
                    packet.stream, packet.time_base = stream, film.time_base
                    result.mux(packet)

            try:
                with closing(live.moments()) as moments:
                    for moment, rgb in clearing.of_stream(moments):
                        if options.end is not None and (
                            moment.stamp * film.time_base >= options.end
                        ):
                            break
                        frame = frame_of_rgb(rgb, target.pixel_format, target.colours)
                        write(encoder.encode(frame, moment.stamp, moment.duration))
                        frames += 1
                        report(frames, live.dropped)
            except KeyboardInterrupt:
                pass  # how a recording is ended
            except VideoError as failure:  # the stream broke off: what came is kept
                error = str(failure)
            write(encoder.finish())
    except (av.FFmpegError, ValueError) as failure:
        if isinstance(failure, OSError):
            raise
        raise VideoError(
            f"{options.encoding.codec} does not go into a {partial.suffix} file "
            f"({reason(failure)}); give the output a name that ends in .mkv"
        ) from failure
    return frames, error


def opened_live(source: str) -> Any:
    """A camera or a stream, open.

    Raises:
        VideoError: there is none, or it does not answer.
    """
    if not source.isdecimal():
        # Of datagrams some get lost, and pictures with them; FFmpeg asks for them first.
        options = {"rtsp_flags": "prefer_tcp"} if source.startswith("rtsp:") else {}
        return opened(source, timeout=(PATIENCE, PATIENCE), options=options)
    system = platform.system()
    camera = f"/dev/video{source}" if system == "Linux" else source
    if system == "Windows":
        camera = f"video={source}"
    return opened(
        camera,
        name=f"camera {source}",
        format=_CAMERAS.get(system, "v4l2"),
        timeout=(PATIENCE,) * 2,
    )
