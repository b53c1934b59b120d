"""`corun dehaze`: pictures in, clear pictures out."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from corun.apps import options
from corun.apps.exit_status import FAILED, INTERRUPTED, complain, ended_by_sigterm, wrong_usage
from corun.apps.options import Argument, Option
from corun.errors import ConfigurationError
from corun.pictures.formats import FILM_SUFFIXES

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
        Argument(
            metavar="IN...",
            help="Files, folders, glob patterns, or '-' for standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        Option("-o", "--output", metavar="OUT", help="Folder, file (for one input), or '-'."),
    ] = None,
    model: options.Model = "corun-lite",
    strength: options.Strength = 1.0,
    recursive: Annotated[bool, Option("--recursive", help="Search folders all the way.")] = (False),
    suffix: Annotated[
        str | None,
        Option(help="Between name and extension.", show_default=".dehazed; with -o OUT none"),
    ] = None,
    file_format: Annotated[
        str | None,
        Option(
            "--format",
            help="jpg, png, webp, tif, bmp, avif or heic.",
            show_default="each input's own",
        ),
    ] = None,
    quality: options.Quality = 95,
    save_transmission: Annotated[
        bool, Option("--save-transmission", help="Write NAME.transmission.png too.")
    ] = False,
    overwrite: options.Overwrite = False,
    skip_existing: Annotated[
        bool, Option("--skip-existing", help="Leave existing files, go on with the rest.")
    ] = False,
    engine: options.Engine = "auto",
    threads: options.Threads = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    trust: options.Trust = False,
    max_pixels: options.MaxPixels = None,
    as_json: options.JsonLines = False,
    quiet: options.Quiet = False,
) -> None:
    """Take the haze out of pictures."""
    from corun.dehazing.file_naming import Naming, PlanError
    from corun.dehazing.file_plan import make_plan
    from corun.dehazing.loading import begin_loading, load

    if overwrite and skip_existing:
        wrong_usage("--overwrite and --skip-existing exclude each other; give one")
    how: dict[str, Any] = {"device": device, "dtype": dtype, "engine": engine}
    how |= {"threads": threads, "trust": trust}
    naming = Naming(output, suffix, file_format, save_transmission)
    clips = [name for name in inputs if Path(name).suffix.lower() in FILM_SUFFIXES]
    failed = 0
    if clips:
        if output == "-" or file_format is not None or save_transmission:
            wrong_usage(f"{clips[0]}: of films there is only -o FILE; see `corun video --help`")
        from corun.apps.video_command import Told, dehaze_clips

        failed = dehaze_clips(
            clips,
            output=output,
            infix=naming.infix,
            existing="overwrite" if overwrite else "skip" if skip_existing else "refuse",
            load=partial(load, model, **how),
            strength=strength,
            told=Told(quiet, as_json),
        )
        inputs = [name for name in inputs if name not in clips]
        if not inputs:
            raise SystemExit(FAILED if failed else 0)
    try:
        plan = make_plan(
            inputs,
            naming,
            recursive=recursive,
            overwrite=overwrite,
            skip_existing=skip_existing,
        )
    except (PlanError, ConfigurationError) as error:
        wrong_usage(str(error))
    to_stdout = any(job.target is None for job in plan.jobs)
    if to_stdout and as_json:
        wrong_usage("--json and a picture cannot share standard output; give -o FILE")
    if to_stdout and sys.stdout is not None and sys.stdout.isatty():
        wrong_usage("a picture is not written to a terminal; give -o FILE or redirect")

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
    failed += len(plan.failures)
    if plan.jobs:
        loading = begin_loading(model, **how)
        from corun.apps.job_display import JobDisplay
        from corun.dehazing.file_jobs import JobOptions, run_jobs
        from corun.pictures.limits import DEFAULT_MAX_PIXELS

        wanted = JobOptions(
            strength=strength,
            quality=quality,
            max_pixels=max_pixels or DEFAULT_MAX_PIXELS,
            existing="overwrite" if overwrite else "skip" if skip_existing else "refuse",
        )
        done = 0
        try:
            with (
                ended_by_sigterm(),
                JobDisplay(len(plan.jobs), quiet=quiet, as_json=as_json) as display,
            ):
                for outcome in run_jobs(plan.jobs, loading, wanted):
                    display.show(outcome)
                    done += 1
                    failed += outcome.status == "failed"
        except KeyboardInterrupt:
            complain(
                f"interrupted after {done} of {len(plan.jobs)}; "
                "the same command with --skip-existing goes on"
            )
            raise SystemExit(INTERRUPTED) from None
    if failed:
        raise SystemExit(FAILED)


def _left_out(results: list[Path]) -> str:
    named = ", ".join(path.name for path in results[:3]) + (", …" if len(results) > 3 else "")
    what = "an earlier result" if len(results) == 1 else f"{len(results)} earlier results"
    return f"left out: {what} ({named}); to dehaze one again, give its name alone"
