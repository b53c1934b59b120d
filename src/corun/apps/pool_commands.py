"""`corun pool`: look into a label pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corun.apps.command_group import CorunGroup

pool_app = typer.Typer(cls=CorunGroup, no_args_is_help=True, help="Look into label pools.")


@pool_app.callback()
def pool() -> None:
    """Look into label pools."""


@pool_app.command("inspect")
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The pool: RUN/pool.")],
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE", help="Write labels and weights as a picture."),
    ] = None,
) -> None:
    """Say how many labels a pool holds, how their scores rose, and draw a contact sheet."""
    from corun.colabator.inspection import contact_sheet, report

    found = report(folder)
    print(f"{found.labels} of {found.photos} photos have a label; {found.replaced} replacements")
    if not found.labels:
        return
    print(f"quality  first {found.quality[0]:.4f}  now {found.quality[1]:.4f}  (higher is better)")
    print(f"density  first {found.density[0]:.4f}  now {found.density[1]:.4f}  (lower is better)")
    for entry in found.history:
        print(
            f"step {entry['step']:>6}  labels {entry['labels']:>5}  quality {entry['quality']:.4f}"
            f"  density {entry['density']:.4f}  replaced {entry['replaced']}"
        )
    if sheet is not None:
        from PIL import Image

        picture = contact_sheet(folder)
        assert picture is not None
        pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(sheet)
        print(f"written: {sheet}")
