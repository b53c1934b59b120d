"""The finished film: encoded frames together with all else that the original holds, untouched."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream

from corun.dehazing.video.encoders import CODECS, Target, configure
from corun.dehazing.video.source import Packet, opened, reason, video_stream
from corun.errors import VideoError

if TYPE_CHECKING:
    from av.container.core import Chapter

_OF_THE_CONTAINER = frozenset(
    ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
)
"""What a container says of its own making, not of the film."""

_ITUNES_TAGS = frozenset(
    (
        *("title", "artist", "album_artist", "album", "composer", "comment", "genre", "date"),
        *("copyright", "description", "synopsis", "show", "episode_id", "network", "lyrics"),
        *("track", "disc", "grouping", "creation_time", "language", "media_type", "hd_video"),
    )
)
"""What MP4 has a place of its own for; other tags need its free ones."""

_HEADERS_APART: int = av.format.Flags.global_header.value  # type: ignore[assignment]

_QUICKTIME = ("mp4", "mov", "ipod", "3gp", "3g2", "ismv", "f4v")


Packets = Generator[Packet, None, None]
"""In order of decoding."""


class Kept(NamedTuple):
    """What of the original goes into the result.

    Attributes:
        streams: numbers of the streams whose packets are copied.
        notes: what is left behind, one line each.
    """

    streams: list[int]
    notes: list[str]


class Part(NamedTuple):
    """Which part of the film the result is.

    Attributes:
        start: seconds that are cut off at the beginning.
        end: seconds from the film's beginning, None for all.
        origin: the film's own beginning, seconds.
    """

    start: float = 0.0
    end: float | None = None
    origin: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off."""
        return self.start <= 0 and self.end is None


def plan_container(source: Path, target: Target, output: Path, trial: Path) -> tuple[Kept, bool]:
    """Which streams the output's format can hold, found by trying before any work.

    Args:
        source: the original.
        target: the video stream to be.
        output: named in messages; its suffix says the format.
        trial: a file that may be written for it, with the same suffix.

    Returns:
        What is kept, and whether the format keeps the codecs' headers apart from the frames.

    Raises:
        VideoError: the suffix names no format, it cannot hold the codec, or it cannot hold the
            sound or the subtitles.
    """
    kept = Kept([], [])
    with opened(source) as container:
        main = video_stream(container, str(source))
        try:
            with av.open(str(trial), "w") as probe:
                if probe.format.name == "avi":
                    raise ValueError("AVI keeps no times of frames")
                apart = headers_apart(probe)
                video_stream_of(probe, target)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"{output}: this name asks for a format that cannot hold {target.encoding.codec} "
                f"({reason(error)}); .mkv holds every codec, .mp4 all but ffv1 and prores"
            ) from error
        for stream in container.streams:
            if stream.index == main.index or _is_chapter_track(stream, container):
                continue
            what = f"{stream.type} stream {stream.index}"
            if stream.type == "video" and not stream.disposition & Disposition.attached_pic:
                kept.notes.append(f"{what} is another film and is not kept")
            elif _fits(stream, trial):
                kept.streams.append(stream.index)
            elif stream.type in ("audio", "subtitle"):
                codec = stream.codec_context.name if stream.codec_context else "unknown"
                raise VideoError(
                    f"{output}: its format cannot hold the {what} ({codec}) as it is; "
                    "give the output a name that ends in .mkv"
                )
            else:
                kept.notes.append(f"{what} is not kept: the format of the output cannot hold it")
    trial.unlink(missing_ok=True)
    return kept, apart


def join(
    source: Path,
    target: Target,
    video: Iterable[Packet],
    kept: Kept,
    part: Part,
    partial: Path,
) -> None:
    """Writes the film.

    Args:
        source: the original.
        target: the video stream.
        video: its packets, in order of decoding, their times those of the result.
        kept: what is copied of the original.
        part: which of its packets; whole packets are copied or left, none is changed.
        partial: the file to write.

    Raises:
        VideoError: the original cannot be read, or FFmpeg refuses what it is given.
        OSError: the disk is full.
    """
    with opened(source) as container:
        main = video_stream(container, str(source))
        tags = _tags(container.metadata)
        try:
            with av.open(
                str(partial), "w", options=_container_options(partial, tags, target)
            ) as result:
                written = video_stream_of(result, target)
                written.metadata.update(_tags(main.metadata))
                written.disposition = main.disposition
                if target.film.display_matrix is not None:
                    written.set_display_matrix(target.film.display_matrix)
                copies = {
                    number: _copy_of(result, container.streams[number]) for number in kept.streams
                }
                result.metadata.update(tags)
                _set_chapters(result, container, part)
                result.start_encoding()
                theirs = _copied(container, copies, part)
                for packet in _in_order(_of(video, written, target.film.time_base), theirs):
                    result.mux(packet)
        except OSError:
            raise
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"{source}: the film cannot be joined ({reason(error)})") from error


def headers_apart(container: OutputContainer) -> bool:
    """Whether the format keeps the codecs' headers apart from the frames."""
    return bool(int(container.format.flags) & _HEADERS_APART)


def video_stream_of(container: OutputContainer, target: Target) -> Any:
    """The stream of an encoder that is set up as the one that made the packets, and writes none."""
    film = target.film
    encoder = CODECS[target.encoding.codec].encoder
    stream = container.add_stream(encoder, rate=film.rate, time_base=film.time_base)
    configure(stream, target)  # type: ignore[arg-type]
    return stream


def _container_options(partial: Path, tags: dict[str, str], target: Target) -> dict[str, str]:
    if partial.suffix.lower().lstrip(".") not in (*_QUICKTIME, "m4v"):
        return {}
    options = {}
    if target.film.time_base.numerator == 1:
        options["video_track_timescale"] = str(target.film.time_base.denominator)
    if not _ITUNES_TAGS.issuperset(tags):
        options["movflags"] = "use_metadata_tags"
    return options


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if k.lower() not in _OF_THE_CONTAINER}


def _copy_of(result: OutputContainer, stream: Stream) -> Stream:
    copy = result.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(_tags(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def _fits(stream: Stream, trial: Path) -> bool:
    try:
        with av.open(str(trial), "w") as probe:
            _copy_of(probe, stream)
            probe.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _is_chapter_track(stream: Stream, container: InputContainer) -> bool:
    """Whether it is what QuickTime keeps the chapters in, which are copied as such."""
    return stream.type == "data" and stream.name == "bin_data" and bool(container.chapters())


def _set_chapters(result: OutputContainer, container: InputContainer, part: Part) -> None:
    chapters: list[Chapter] = []
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        begin, end = chapter["start"], chapter["end"]
        if not part.whole:
            first = round((part.origin + part.start) / base)
            last = end if part.end is None else round((part.origin + part.end) / base)
            begin, end = max(begin, first) - first, min(end, last) - first
            if end <= begin:
                continue
        chapter["start"], chapter["end"] = begin, end
        chapters.append(chapter)
    if chapters:
        result.set_chapters(chapters)


def _of(packets: Iterable[Packet], stream: Stream, time_base: Fraction) -> Packets:
    """Ours; where a run of frames begins, its times of decoding may have to give way a little."""
    last: int | None = None
    for packet in packets:
        packet.stream, packet.time_base = stream, time_base
        if last is not None and packet.dts is not None and packet.dts <= last:
            packet.dts = last + 1
        last = packet.dts
        yield packet


def _copied(container: InputContainer, copies: dict[int, Stream], part: Part) -> Packets:
    """The packets of the copied streams, those of the part only."""
    wanted = [container.streams[n] for n in copies if container.streams[n].type != "attachment"]
    if not wanted:
        return
    first, last = part.origin + part.start, None if part.end is None else part.origin + part.end
    for packet in container.demux(*wanted):
        if packet.dts is None and packet.size == 0:  # the end of a stream
            continue
        picture = bool(packet.stream.disposition & Disposition.attached_pic)
        time = packet.pts if packet.pts is not None else packet.dts
        if not part.whole and time is not None and not picture:
            seconds = float(time * packet.time_base)
            if seconds < first:
                continue
            if last is not None and seconds >= last:
                continue
            shift = round(Fraction(first).limit_denominator(10**6) / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = copies[packet.stream_index]
        yield packet


def _in_order(ours: Packets, theirs: Packets) -> Packets:
    """Both, by their times of decoding, so that the muxer has not much to hold back."""
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        if other is None or (mine is not None and _seconds(mine) <= _seconds(other)):
            assert mine is not None
            yield mine
            mine = next(ours, None)
        else:
            yield other
            other = next(theirs, None)


def _seconds(packet: Packet) -> float:
    time = packet.dts if packet.dts is not None else packet.pts
    return -1.0 if time is None else float(time * packet.time_base)
