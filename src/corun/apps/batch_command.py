"""`corun batch`: any number of pictures from any store to any store."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from corun.apps import options
from corun.apps.exit_status import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    complain,
    ended_by_sigterm,
)

HELP = (
    "Dehaze any number of pictures, from any store to any store.\n\n"
    "SOURCE is a folder, a pattern, a picture, or a list (.txt, .jsonl, .parquet) of paths or "
    "URLs: of this disk, s3://, gs://, hf://, https:// and whatever fsspec has a driver for. "
    "Results keep their paths below DEST; DEST/_manifest says what became of each. The same "
    "command again goes on where it was stopped, and does none twice.\n\n"
    "corun batch photos/ clear/\n\n"
    "corun batch s3://bucket/photos s3://bucket/clear --shard 3/16\n\n"
    "corun batch list.parquet clear/ --ray auto --gpus 0.25"
)
ADDRESS = re.compile(r"auto|local|ray://.+|[\w.-]+:\d+")


class RayCommand(TyperCommand):
    """A command whose --ray may stand without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments; --ray before what is no address is --ray local."""
        full = []
        for index, argument in enumerate(args):
            full.append(argument)
            following = args[index + 1] if index + 1 < len(args) else ""
            if argument == "--ray" and not ADDRESS.fullmatch(following):
                full.append("local")
        return super().parse_args(ctx, full)


COMMAND_CLASS = RayCommand


def batch(
    source: Annotated[str, typer.Argument(metavar="SOURCE", show_default=False)],
    destination: Annotated[str, typer.Argument(metavar="DEST", show_default=False)],
    model: options.Model = "corun-lite",
    strength: options.Strength = 1.0,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="jpg, png, webp, ...", show_default="each input's own"),
    ] = None,
    quality: options.Quality = 95,
    max_pixels: options.MaxPixels = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Do the I-th of N parts, I from 1.")
    ] = "1/1",
    retries: Annotated[
        int, typer.Option(min=0, help="Of reading and writing, where the error may pass.")
    ] = 3,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do again what failed in earlier runs.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Run on a Ray cluster: local (also without an address), auto, HOST:PORT, ray://...",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="On Ray, each with the model loaded once.", show_default="room"),
    ] = None,
    gpus: Annotated[
        float, typer.Option(min=0.0, help="Of each worker on Ray; 0.25 puts four on one.")
    ] = 0.0,
    engine: options.Engine = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Of the CPU, for each worker.", show_default="all; on Ray 1"),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    trust: options.Trust = False,
    as_json: options.JsonLines = False,
    quiet: options.Quiet = False,
) -> None:
    """Dehaze any number of pictures, from any store to any store."""
    from corun.apps.job_display import JobDisplay
    from corun.batch.entries import Shard
    from corun.batch.running import Batch, Cluster
    from corun.batch.worker import Work
    from corun.dehazing.file_jobs import JobOptions
    from corun.pictures.formats import format_from_name
    from corun.pictures.limits import DEFAULT_MAX_PIXELS

    if ray is not None and as_json:
        complain("--json: with --ray, the rows are in DEST/_manifest; leave it out")
        raise typer.Exit(WRONG_USAGE)
    cpus = threads if threads is not None or ray is None else 1
    work = Work(
        destination,
        model,
        {"engine": engine, "threads": cpus, "device": device, "dtype": dtype, "trust": trust},
        JobOptions(strength, quality, max_pixels or DEFAULT_MAX_PIXELS),
        retries,
    )
    planned = Batch.plan(
        source,
        work,
        file_format=None if file_format is None else format_from_name(file_format),
        shard=Shard.parse(shard),
        retry_failed=retry_failed,
    )
    cluster = None if ray is None else Cluster(ray, workers, cpus or 1, gpus)
    failed, count = planned.earlier["failed"], 0
    total = len(planned.found) + len(planned.pending)
    try:
        with ended_by_sigterm(), JobDisplay(total, quiet=quiet, as_json=as_json) as display:
            for outcome in planned.run(cluster):
                display.show(outcome)
                count += 1
                failed += outcome.status == "failed"
    except KeyboardInterrupt:
        complain(f"interrupted after {count} of {total}; the same command goes on")
        raise typer.Exit(INTERRUPTED) from None
    if not quiet and any(planned.earlier.values()):
        done, before = planned.earlier["done"], planned.earlier["failed"]
        hint = "; --retry-failed tries these again" if before else ""
        complain(f"{done} were done earlier, {before} failed earlier{hint}")
    if failed:
        raise typer.Exit(FAILED)
