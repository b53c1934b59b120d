"""`corun dehaze`: pictures in, clear pictures out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from corun.apps.command_group import FAILED, INTERRUPTED, WRONG_USAGE, complain
from corun.errors import ConfigurationError

HELP = (
    "Take the haze out of pictures.\n\n"
    "photo.jpg becomes photo.dehazed.jpg beside it, or OUT/photo.jpg with -o OUT. EXIF, colour "
    "profile, transparency and bit depth are kept. A picture that cannot be read is named and "
    "skipped; the exit status is then 1.\n\n"
    "corun dehaze photo.jpg\n\n"
    "corun dehaze photos/ --recursive -o clear/\n\n"
    "corun dehaze - < hazy.png > clear.png"
)


def dehaze(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...",
            help="Files, folders, glob patterns, or '-' for standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="OUT", help="Folder, file (for one input), or '-'."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A name of `corun models`, a weights file, or an exported network.")
    ] = "corun-lite",
    strength: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How much of the haze goes.")
    ] = 1.0,
    recursive: Annotated[bool, typer.Option("--recursive", help="Search folders all the way.")] = (
        False
    ),
    suffix: Annotated[
        str | None,
        typer.Option(help="Between name and extension.", show_default=".dehazed; with -o OUT none"),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="jpg, png, webp, tif, bmp, avif or heic.",
            show_default="each input's own",
        ),
    ] = None,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Of JPEG, WebP, AVIF and HEIC.")
    ] = 95,
    save_transmission: Annotated[
        bool, typer.Option("--save-transmission", help="Write NAME.transmission.png too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave existing files, go on with the rest.")
    ] = False,
    engine: Annotated[
        Literal["auto", "onnx", "openvino", "torch"], typer.Option(help="What runs the network.")
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Of the CPU.", show_default="as many as the process may use"),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, xpu, coreml or dml.")
    ] = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], typer.Option(help="Precision.")
    ] = "auto",
    max_pixels: Annotated[
        int | None,
        typer.Option(min=1, help="Refuse larger pictures.", show_default="178956970"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per picture on standard output.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Take the haze out of pictures."""
    from corun.dehazing.file_naming import Naming, PlanError
    from corun.dehazing.file_plan import make_plan

    if overwrite and skip_existing:
        _wrong_usage("--overwrite and --skip-existing exclude each other; give one")
    naming = Naming(output, suffix, file_format, save_transmission)
    try:
        plan = make_plan(
            inputs,
            naming,
            recursive=recursive,
            overwrite=overwrite,
            skip_existing=skip_existing,
        )
    except (PlanError, ConfigurationError) as error:
        _wrong_usage(str(error))
    to_stdout = any(job.target is None for job in plan.jobs)
    if to_stdout and as_json:
        _wrong_usage("--json and a picture cannot share standard output; give -o FILE")
    if to_stdout and sys.stdout is not None and sys.stdout.isatty():
        _wrong_usage("a picture is not written to a terminal; give -o FILE or redirect")

    if as_json:
        from corun.apps.job_display import print_json
    if plan.left_out and not quiet:
        complain(_left_out(plan.left_out))
    for video in () if quiet else plan.videos:
        complain(f"{video}: a video, left out; use corun video")
    for name, message in plan.failures:
        complain(message)
        if as_json:
            print_json({"input": name, "status": "failed", "error": message})
    failed = len(plan.failures)
    if plan.jobs:
        from corun.apps.job_display import JobDisplay
        from corun.dehazing.file_jobs import JobOptions, run_jobs
        from corun.dehazing.loading import load
        from corun.pictures.limits import DEFAULT_MAX_PIXELS

        options = JobOptions(
            strength=strength,
            quality=quality,
            max_pixels=max_pixels or DEFAULT_MAX_PIXELS,
            existing="overwrite" if overwrite else "skip" if skip_existing else "refuse",
        )
        dehazer = load(model, device=device, dtype=dtype, engine=engine, threads=threads)
        done = 0
        try:
            with (
                _stopped_by_sigterm(),
                JobDisplay(len(plan.jobs), quiet=quiet, as_json=as_json) as display,
            ):
                for outcome in run_jobs(plan.jobs, dehazer, options):
                    display.show(outcome)
                    done += 1
                    failed += outcome.status == "failed"
        except KeyboardInterrupt:
            complain(
                f"interrupted after {done} of {len(plan.jobs)}; "
                "the same command with --skip-existing goes on"
            )
            raise typer.Exit(INTERRUPTED) from None
    if failed:
        raise typer.Exit(FAILED)


def _left_out(results: list[Path]) -> str:
    named = ", ".join(path.name for path in results[:3]) + (", …" if len(results) > 3 else "")
    what = "an earlier result" if len(results) == 1 else f"{len(results)} earlier results"
    return f"left out: {what} ({named}); to dehaze one again, give its name alone"


def _wrong_usage(message: str) -> None:
    complain(message)
    raise typer.Exit(WRONG_USAGE)


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Ends on SIGTERM as on Ctrl-C, by an exception, so that temporary files are removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
