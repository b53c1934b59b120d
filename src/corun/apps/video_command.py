"""`corun video`: a film, camera or stream in, the clear one out."""

from __future__ import annotations

import glob
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from corun.apps import options
from corun.apps.exit_status import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    complain,
    ended_by_sigterm,
)
from corun.errors import ConfigurationError, CorunError, VideoError, tell
from corun.pictures.formats import FILM_SUFFIXES

if TYPE_CHECKING:
    from corun.dehazing.dehazer import Dehazer
    from corun.dehazing.video.conversion import VideoOptions

_SAME_SUFFIX = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".ts", ".mts", ".m2ts"))
"""Films that stay of their kind; of the others `corun dehaze` makes Matroska, which holds all."""

HELP = (
    "Take the haze out of a film, a camera or a stream.\n\n"
    "Sound, subtitles, chapters, metadata and the times of the frames stay. A command that was "
    "interrupted goes on where it stopped when it is given again. Needs the extra: "
    "pip install 'corun-dehaze\\[video]'\n\n"
    "corun video hazy.mp4 clear.mp4\n\n"
    "corun video hazy.mp4 stills/ --every 10\n\n"
    "corun video rtsp://camera/stream clear.mkv --end 1:00:00\n\n"
    "corun video 0 --web"
)


def video(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A film, a camera's number, or an address.")
    ],
    output: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="The clear film; with --every, a folder; with --web, none.",
            show_default=False,
        ),
    ] = None,
    model: options.Model = "corun-lite",
    strength: options.Strength = 1.0,
    codec: Annotated[
        Literal["h264", "hevc", "av1", "prores", "ffv1"],
        typer.Option(help="prores and ffv1 are for editing."),
    ] = "h264",
    crf: Annotated[
        int | None,
        typer.Option(help="Constant quality, lower is better.", show_default="18, hevc 20, av1 27"),
    ] = None,
    bitrate: Annotated[
        str | None, typer.Option(help="Bits a second instead: 8M, 800k.", show_default=False)
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Where to begin: 90, 1:30 or 0:01:30.5.", show_default=False)
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(help="Where to stop; of a stream, how long.", show_default=False),
    ] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="The hazy film left of the clear one.")
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(help="Write a still every so many seconds instead.", show_default=False),
    ] = None,
    tone: Annotated[
        Literal["sdr"] | None,
        typer.Option(help="Bring HDR (PQ, HLG) to SDR.", show_default="HDR is refused"),
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Show a camera or stream on a page, instead of OUT.")
    ] = False,
    host: options.Host = "127.0.0.1",
    port: options.Port = 7870,
    resume: Annotated[
        bool, typer.Option(help="Go on where the same command was interrupted.")
    ] = True,
    overwrite: options.Overwrite = False,
    engine: options.Engine = "auto",
    threads: options.Threads = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    trust: options.Trust = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The outcome as JSON on standard output.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Take the haze out of a film, a camera or a stream."""
    from corun.dehazing.video.conversion import VideoOptions
    from corun.dehazing.video.encoders import Encoding
    from corun.dehazing.video.live import is_live

    try:
        bits = None if bitrate is None else _bits_per_second(bitrate)
        wanted = VideoOptions(
            strength=strength,
            encoding=Encoding(codec, crf, bits),
            start=0.0 if start is None else _seconds("--start", start),
            end=None if end is None else _seconds("--end", end),
            side_by_side=side_by_side,
            tone=tone,
            resume=resume,
            overwrite=overwrite,
        )
        if every is not None and not every > 0:
            raise ConfigurationError(f"--every is in seconds and above 0, not {every:g}")
        if is_live(source) and (start is not None or every is not None):
            raise ConfigurationError("--start and --every are for files, not for live streams")
        if web and not is_live(source):
            raise ConfigurationError("--web is for cameras and streams; give OUT for a file")
        if web != (output is None):
            raise ConfigurationError("give OUT, or --web for a camera or stream, and not both")
    except ConfigurationError as error:
        complain(str(error))
        raise typer.Exit(WRONG_USAGE) from None
    from corun.dehazing.loading import load

    told = Told(quiet, as_json)
    dehazer = load(model, device=device, dtype=dtype, engine=engine, threads=threads, trust=trust)
    if output is None:
        _show(source, dehazer, wanted, host=host, port=port)
    elif is_live(source):
        _record(source, output, dehazer, wanted, told)
    elif every is not None:
        _stills(Path(source), output, dehazer, wanted, every, told)
    else:
        convert(Path(source), output, dehazer, wanted, told)


class Told(NamedTuple):
    """How a person is told what became of a film: errors only, or as JSON on standard output."""

    quiet: bool
    as_json: bool

    def outcome(self, line: str, **fields: Any) -> None:
        """Tells it by a line or by its fields, among them `input`, and if need be `notes`."""
        from corun.apps.job_display import print_json

        if not self.quiet:
            for note in fields.get("notes", ()):
                complain(f"{fields['input']}: note: {note}")
        if self.as_json:
            print_json(fields)
        elif not self.quiet:
            tell(line)


def convert(source: Path, output: Path, dehazer: Dehazer, wanted: VideoOptions, told: Told) -> None:
    """Clears a film, with a bar on a terminal.

    Raises:
        CorunError: it cannot be done; the message says why.
        typer.Exit: it was interrupted.
    """
    from corun.apps.video_display import FilmDisplay
    from corun.dehazing.video.conversion import dehaze_video

    display = FilmDisplay(source, quiet=told.quiet)
    try:
        with ended_by_sigterm(), display:
            result = dehaze_video(source, output, dehazer, wanted, display.report)
    except KeyboardInterrupt:
        complain(f"interrupted after {display.done} frames; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    told.outcome(
        f"{source} -> {output} ({result.frames} frames, {result.seconds:.1f} s)",
        input=str(source),
        output=str(output),
        status="ok",
        model=dehazer.name,
        frames=result.frames,
        resumed=result.resumed,
        seconds=round(result.seconds, 3),
        notes=list(result.notes),
    )


def dehaze_clips(
    clips: list[str],
    *,
    output: str | None,
    infix: str,
    existing: Literal["refuse", "skip", "overwrite"],
    load: Callable[[], Dehazer],
    strength: float,
    told: Told,
) -> int:
    """The films among the inputs of `corun dehaze`, by the same naming rule.

    A film stays of its kind where that holds H.264 with its times; else it becomes .mkv.

    Args:
        clips: names or patterns that end as films do.
        output: a folder, a film (for one clip), or None: beside each.
        infix: between name and extension.
        existing: what happens where an output exists.
        load: gives the dehazer, once it is needed.
        strength: how much of the haze goes, [0,1].
        told: how outcomes are told.

    Returns:
        How many failed; each is named.
    """
    from corun.apps.job_display import print_json
    from corun.dehazing.video.conversion import VideoOptions

    sources = [path for clip in clips for path in _matching(clip)]
    to_file = output is not None and Path(output).suffix.lower() in FILM_SUFFIXES
    if to_file and len(sources) > 1:
        complain(f"-o {output}: several films need a folder; end it with a slash")
        raise typer.Exit(WRONG_USAGE)
    dehazer = load()
    wanted = VideoOptions(strength=strength, overwrite=existing == "overwrite")
    failed = 0
    for source in sources:
        folder = source.parent if output is None else Path(output)
        suffix = source.suffix if source.suffix.lower() in _SAME_SUFFIX else ".mkv"
        target = folder / f"{source.stem}{infix}{suffix}"
        if to_file:
            target = Path(str(output))
        if existing == "skip" and target.exists():
            if not any(told):
                complain(f"{source}: skipped, {target} exists")
            continue
        try:
            convert(source, target, dehazer, wanted, told)
        except CorunError as error:
            complain(str(error))
            if told.as_json:
                print_json({"input": str(source), "status": "failed", "error": str(error)})
            failed += 1
    return failed


def _matching(clip: str) -> list[Path]:
    path = Path(clip).expanduser()
    if path.exists() or not glob.has_magic(clip):
        return [path]
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns)
    return [Path(match) for match in matches] or [path]


def _record(source: str, output: Path, dehazer: Dehazer, wanted: VideoOptions, told: Told) -> None:
    from corun.apps.video_display import RecordingDisplay
    from corun.dehazing.video.live import dehaze_live

    begun = time.perf_counter()
    # The end of a recording is asked for by Ctrl-C, or by SIGTERM all the same.
    with ended_by_sigterm(KeyboardInterrupt()), RecordingDisplay(quiet=told.quiet) as display:
        result = dehaze_live(source, output, dehazer, wanted, display.report)
    told.outcome(
        f"{source} -> {output} ({result.frames} frames, {result.dropped} left out)",
        input=source,
        output=str(output),
        status="ok" if result.error is None else "broken off",
        frames=result.frames,
        dropped=result.dropped,
        seconds=round(time.perf_counter() - begun, 3),
    )
    if result.error is not None:
        complain(f"{result.error}; what came until then is in {output}")
        raise typer.Exit(FAILED)


def _show(source: str, dehazer: Dehazer, wanted: VideoOptions, *, host: str, port: int) -> None:
    """Serves the page until Ctrl-C, or until the stream ends."""
    from corun.dehazing.video.live import live_frames
    from corun.server.live_page import LivePage
    from corun.server.running import AppServer

    frames = live_frames(source, dehazer, strength=wanted.strength, tone=wanted.tone)
    page = LivePage(frames, on_end=lambda: setattr(server, "should_exit", True))
    server = AppServer(page.app(), host=host, port=port, on_stop=page.close)
    page.start()
    print(f"{server.url} (Ctrl-C ends)", flush=True)
    server.run()
    page.wait()
    if page.error is not None:
        raise VideoError(page.error)


def _stills(
    source: Path,
    folder: Path,
    dehazer: Dehazer,
    wanted: VideoOptions,
    every: float,
    told: Told,
) -> None:
    from corun.dehazing.video.stills import dehaze_stills

    written = dehaze_stills(source, folder, dehazer, every=every, options=wanted)
    outputs = [str(path) for path in written]
    line = f"{source} -> {folder} ({len(written)} stills)"
    told.outcome(line, input=str(source), status="ok", outputs=outputs)


def _seconds(option: str, text: str) -> float:
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or min(numbers) < 0 or sum(numbers) == float("inf"):
        raise ConfigurationError(f"{option} {text}: give seconds, 1:30 or 0:01:30.5")
    return sum(number * float(60**power) for power, number in enumerate(reversed(numbers)))


def _bits_per_second(text: str) -> int:
    units = {"k": 1e3, "m": 1e6, "g": 1e9}
    unit = units.get(text[-1:].lower())
    try:
        return int(float(text[:-1]) * unit) if unit else int(text)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"--bitrate {text}: give 8M, 800k or a number") from None
