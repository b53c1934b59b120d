"""`corun fit`: statistical models from photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corun.apps.command_group import CorunGroup
from corun.errors import escaped

fit_app = typer.Typer(cls=CorunGroup, no_args_is_help=True, help="Fit statistical models.")


@fit_app.command("quality")
def quality(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Clear photos, 20 or more.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The model, JSON.")],
    photos: Annotated[int, typer.Option(help="How many photos to use; 0 for all.")] = 0,
) -> None:
    """Fit the pristine model of the embedded quality evaluator to clear photos."""
    from corun.judges.natural_scene import fit_folder, save_models

    models = fit_folder(folder, photos=photos)
    save_models(out, models, "clear photos, central 320 pixels square")
    print(escaped(f"written: {out}"))
