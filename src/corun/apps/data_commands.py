"""`corun synthesize`: hazy pictures with known truth, from clean photos and their depth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def synthesize(
    clean: Annotated[Path, typer.Option(metavar="DIR", help="Clean photos.")],
    depth: Annotated[
        Path, typer.Option(metavar="DIR", help="Their depth: npy, png, jpg, mat or h5.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where to.")],
    count: Annotated[int, typer.Option(min=1, help="Hazy versions of each photo.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same haze.")] = 0,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A YAML file of haze settings.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Replace single settings."),
    ] = None,
) -> None:
    """Make hazy pictures with known truth from clean photos and their depth."""
    from corun.apps.progress_bar import ProgressBar
    from corun.data.synthesize import synthesize_folder

    with ProgressBar() as bar:
        synthesize_folder(
            clean,
            depth,
            output,
            count=count,
            seed=seed,
            config_path=config,
            overrides=overrides or [],
            report=lambda done, total: bar.show("synthesizing", done, total),
        )
