"""A film in, the clear film out: decoded, cleared, encoded in runs, and joined with the rest."""

from __future__ import annotations

import errno
import shutil
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import av

from corun.dehazing.dehazer import Dehazer, require_strength
from corun.dehazing.video.background import in_background
from corun.dehazing.video.clearing import HELD, LEAD, LOOK_EVERY, REACH, Clearing, fingerprint
from corun.dehazing.video.colours import frame_of_rgb
from corun.dehazing.video.encoders import Encoder, Encoding, Target, bytes_of, target_of
from corun.dehazing.video.muxing import Kept, Part, join, plan_container
from corun.dehazing.video.segments import (
    Progress,
    Segment,
    Workshop,
    cannot_write,
    close_to_disk,
    write_packets,
)
from corun.dehazing.video.source import Film, Moment, Reader, read_film, tone_of
from corun.errors import ConfigurationError, VideoError
from corun.files import written_atomically
from corun.pictures.limits import free_memory

SEGMENT_FRAMES = 250
"""Frames of a run: what a killed process loses at the most."""
_MARGIN = 64 << 20
"""Bytes of the disk that are left alone."""

Report = Callable[[int, int], None]
"""Called with the frames that are finished and how many there are about (0 for unknown)."""


@dataclass(frozen=True)
class VideoOptions:
    """What is asked of the clear film.

    Attributes:
        strength: how much of the haze goes, 0 to 1.
        encoding: codec and quality.
        start: seconds of the film to leave out at its beginning.
        end: seconds of the film where to stop, None for its end.
        side_by_side: whether the hazy frame stands left of the clear one.
        tone: "sdr" brings PQ and HLG to SDR; None refuses them.
        resume: whether what an earlier run finished is used.
        overwrite: whether a file of the output's name is replaced.
        segment_frames: frames of a run.
    """

    strength: float = 1.0
    encoding: Encoding = field(default_factory=Encoding)
    start: float = 0.0
    end: float | None = None
    side_by_side: bool = False
    tone: str | None = None
    resume: bool = True
    overwrite: bool = False
    segment_frames: int = SEGMENT_FRAMES

    def __post_init__(self) -> None:
        require_strength(self.strength)
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise ConfigurationError("--start is 0 or more, and --end is after it")
        if self.tone not in (None, "sdr"):
            raise ConfigurationError(f"--tone {self.tone}: only sdr is known")


class VideoResult(NamedTuple):
    """What became of a film.

    Attributes:
        output: the clear one.
        frames: how many it has.
        resumed: how many of them an earlier run had finished.
        seconds: that it took.
        notes: what was not kept, one line each.
    """

    output: Path
    frames: int
    resumed: int
    seconds: float
    notes: tuple[str, ...]


def dehaze_video(
    source: Path,
    output: Path,
    dehazer: Dehazer,
    options: VideoOptions | None = None,
    report: Report = lambda done, total: None,
) -> VideoResult:
    """Takes the haze out of a film; sound, subtitles, chapters and metadata are copied.

    Frames have the number and times of the original's. Until the film is whole there is nothing
    under its name; an interrupted call leaves what it finished in a folder beside it, and the same
    call goes on from there.

    Args:
        source: any film that FFmpeg reads.
        output: its suffix says the format.
        dehazer: the network.
        options: what is asked.
        report: told of every finished frame.

    Raises:
        VideoError: the film cannot be read, or the output cannot be written or hold it.
        ConfigurationError: an impossible option.
        DeviceError: the network does not run here.
    """
    options = options or VideoOptions()
    begun = time.perf_counter()
    if output.exists() and source.exists() and output.samefile(source):
        raise VideoError(f"{output}: is the film itself; choose another name")
    if output.is_dir():
        raise VideoError(f"{output}: is a folder; give the name of a file, such as clear.mp4")
    if output.exists() and not options.overwrite:
        raise VideoError(f"{output}: exists already; add --overwrite or choose another name")
    film = read_film(source)
    tone = tone_of(film, options.tone)
    if dehazer.gives_maps:
        _require_memory(film)
    workshop = Workshop(output)
    with workshop.held():
        target, kept = planned(source, film, output, options, workshop.folder)
        work = _Work(source, output, film, target, options, workshop)
        progress = workshop.resume(_made_of(work, dehazer), wanted=options.resume)
        resumed = progress.frames
        _require_space(work, progress)
        reader = Reader(source, film, start=options.start, end=options.end, tone=tone)
        try:
            _encode_all(work, dehazer, reader, progress, report)
        except OSError as error:
            raise _disk_error(output, error) from error
        if progress.frames == 0:
            raise VideoError(f"{source}: no frame of it is between --start and --end")
        _join(work, kept, progress)
        workshop.remove()
    notes = (*_notes(film, target, progress, _part(work).whole), *kept.notes)
    return VideoResult(output, progress.frames, resumed, time.perf_counter() - begun, notes)


def planned(
    source: Path, film: Film, output: Path, options: VideoOptions, folder: Path
) -> tuple[Target, Kept]:
    """The stream to be written and what is kept beside it, found by trying before any work.

    Args:
        source: the original.
        film: what it states.
        output: its suffix says the format.
        options: what is asked.
        folder: where the trial is written, which stays there.

    Raises:
        VideoError: the output's format cannot hold it, or it is HDR and shall stay so.
    """
    tone = tone_of(film, options.tone)
    target = target_of(film, options.encoding, pictures=1 + options.side_by_side, tone=tone)
    kept, apart = plan_container(source, target, output, folder / f"trial{output.suffix}")
    return target._replace(header_apart=apart), kept


def _require_memory(film: Film) -> None:
    """Refuses a film whose frames, as many as the filter over time holds, do not fit."""
    needed = HELD * film.width * film.height * 3 * (2 if film.bits > 8 else 1)
    free = free_memory()
    if free is not None and needed > free:
        raise VideoError(
            f"{film.name}: {HELD} frames of {film.width}x{film.height} are held at a time, "
            f"{needed >> 20:,} MiB, and {free >> 20:,} are free; close other programs, or scale "
            "the film down"
        )


class _Work(NamedTuple):
    source: Path
    output: Path
    film: Film
    target: Target
    options: VideoOptions
    workshop: Workshop


def _made_of(work: _Work, dehazer: Dehazer) -> dict[str, object]:
    """All that decides the frames, so that another film's or model's are not gone on with."""
    file = work.source.stat()
    asked = asdict(work.options)
    for name in ("resume", "overwrite"):
        del asked[name]
    return {
        "film": [str(work.source.resolve()), file.st_size, file.st_mtime_ns],
        "asked": asked,
        "pixels": [work.target.width, work.target.height, work.target.pixel_format],
        "filter": [REACH, LOOK_EVERY],
        "model": [dehazer.name, fingerprint(dehazer)],
        "versions": [version("corun-dehaze"), av.__version__],
    }


def _encode_all(
    work: _Work, dehazer: Dehazer, reader: Reader, progress: Progress, report: Report
) -> None:
    """Encodes what is not finished yet, run by run."""
    first = progress.frames
    shift = 0 if _part(work).whole else reader.first
    total = _expected_frames(work)
    clearing = Clearing(
        dehazer,
        work.film,
        strength=work.options.strength,
        side_by_side=work.options.side_by_side,
    )

    def frames() -> Generator[tuple[Moment, av.VideoFrame], None, None]:
        moments = in_background(_resumed(reader, progress), 2)
        with closing(moments):
            for moment, clear in clearing.of_file(moments, first):
                yield moment, frame_of_rgb(clear, work.target.pixel_format, work.target.colours)

    report(first, total)
    with closing(in_background(frames(), 2)) as ready:
        while True:
            run = islice(ready, work.options.segment_frames)
            if not _encode_run(work, run, shift, reader, progress, lambda n: report(n, total)):
                return


def _encode_run(
    work: _Work,
    run: Iterator[tuple[Moment, av.VideoFrame]],
    shift: int,
    reader: Reader,
    progress: Progress,
    report: Callable[[int], None],
) -> bool:
    """Encodes a run of frames; False where there are none any more."""
    beginning = next(run, None)
    if beginning is None:
        return False
    before, frames = progress.frames, 0
    lead = deque(progress.segments[-1].lead if progress.segments else (), maxlen=LEAD)
    moment = beginning[0]
    encoder = Encoder(work.target)
    with work.workshop.path_of(len(progress.segments)).open("wb") as stream:
        for moment, frame in chain((beginning,), run):
            write_packets(stream, encoder.encode(frame, moment.stamp - shift, moment.duration))
            lead.append(moment.stamp)
            frames += 1
            report(before + frames)
        write_packets(stream, encoder.finish())
        close_to_disk(stream)
    segment = Segment(frames, list(lead), zlib.crc32(moment.rgb.tobytes()), reader.damaged)
    work.workshop.finish(progress, segment)
    return True


def _resumed(reader: Reader, progress: Progress) -> Generator[Moment, None, None]:
    """The frames from some before the first unfinished one, just as an unbroken run has them.

    Where the file does not give the very same frames after a jump, it is read from its beginning.
    """
    if not progress.segments:
        yield from reader.moments()
        return
    last = progress.segments[-1]
    reader.damaged = last.damaged
    index = progress.frames - len(last.lead)
    with closing(reader.moments(last.lead, index)) as moments:
        head = list(islice(moments, len(last.lead)))
        found = [moment.stamp for moment in head] == last.lead
        if found and zlib.crc32(head[-1].rgb.tobytes()) == last.last:
            while head:
                yield head.pop(0)
            yield from moments
            return
    reader.damaged = 0
    yield from reader.moments(wanted=lambda number, stamp: number >= index)


def _join(work: _Work, kept: Kept, progress: Progress) -> None:
    video = work.workshop.packets(range(len(progress.segments)))
    try:
        with written_atomically(work.output, overwrite=work.options.overwrite) as partial:
            join(work.source, work.target, video, kept, _part(work), partial)
    except FileExistsError as error:
        raise VideoError(
            f"{work.output}: somebody has made it meanwhile; the same command with --overwrite "
            "replaces it, and takes moments"
        ) from error
    except OSError as error:
        raise _disk_error(work.output, error) from error


def _part(work: _Work) -> Part:
    film = work.film
    return Part(work.options.start, work.options.end, float(film.begins * film.time_base))


def _seconds(work: _Work) -> float:
    end = work.film.seconds if work.options.end is None else work.options.end
    if work.film.seconds:
        end = min(end, work.film.seconds)
    return max(0.0, end - work.options.start)


def _expected_frames(work: _Work) -> int:
    if _part(work).whole:
        return work.film.frames
    return round(_seconds(work) * work.film.rate)


def _require_space(work: _Work, progress: Progress) -> None:
    """Refuses what clearly does not fit: the runs and the film made of them, side by side."""
    size = bytes_of(work.target, _seconds(work))
    paths = [work.workshop.path_of(number) for number in range(len(progress.segments))]
    needed = 2 * size - sum(path.stat().st_size for path in paths)
    free = shutil.disk_usage(work.workshop.folder).free - _MARGIN
    if needed > free:
        raise VideoError(
            f"{work.output}: about {needed / 1e9:.1f} GB are needed for it and the work on it, and "
            f"{max(0, free) / 1e9:.1f} GB of the disk are free; choose another folder, or a higher "
            "--crf, or a lower --bitrate"
        )


def _disk_error(output: Path, error: OSError) -> VideoError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return VideoError(
            f"{output}: the disk is full; make room, and the same command goes on where it stopped"
        )
    return cannot_write(output, error)


def _notes(film: Film, target: Target, progress: Progress, whole: bool) -> list[str]:
    notes = []
    damaged = progress.segments[-1].damaged if progress.segments else 0
    if damaged:
        notes.append(f"{damaged} damaged packets of the film could not be decoded")
    last = progress.segments[-1].lead[-1]
    until = float((last - film.begins) * film.time_base + 1 / film.rate)
    few = progress.frames < 0.98 * film.frames - 1  # else the last one is shown for long
    if whole and few and until < 0.98 * film.seconds - 1 / film.rate:
        notes.append(
            f"the film states {film.seconds:.1f} s and ends after {until:.1f} s: it is cut short "
            "or damaged"
        )
    if film.transparent:
        notes.append("transparency is not kept")
    if film.field_order and target.field_order is None:
        notes.append(
            f"{target.encoding.codec} is written here without the mark that frames are interlaced; "
            "--codec h264, prores and ffv1 have it"
        )
    bits = max(c.bits for c in av.VideoFormat(target.pixel_format, 16, 16).components)
    if bits < film.bits:
        notes.append(f"{film.bits} bits became {bits}; --codec ffv1 keeps more")
    return notes
