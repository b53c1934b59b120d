"""`corun pool`: look into a label pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corun.apps import options
from corun.apps.command_group import CorunGroup
from corun.apps.exit_status import require_new
from corun.errors import DataError, ImageFileError, escaped, system_errors_as

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
    overwrite: options.Overwrite = False,
) -> None:
    """Say how many labels a pool holds, how their scores rose, and draw a contact sheet."""
    from corun.colabator.inspection import contact_sheet, report

    if sheet is not None:
        _require_writable_picture(sheet)
        require_new(sheet, overwrite)
    found = report(folder)
    print(f"{found.labels} of {found.photos} photos have a label; {found.replaced} replacements")
    if found.damaged:
        print(
            f"damaged: the newest label of {found.damaged} photos; they fall back to an older "
            "label, or get a new one when training goes on"
        )
    if not found.labels:
        if sheet is not None:
            print(escaped(f"not written: {sheet}, for there is nothing to show"))
        return
    print(f"quality  first {found.quality[0]:.4f}  now {found.quality[1]:.4f}  (higher is better)")
    print(f"density  first {found.density[0]:.4f}  now {found.density[1]:.4f}  (lower is better)")
    runs = {entry["run"] for entry in found.history}
    for entry in found.history:
        run = f"run {entry['run']}  " if len(runs) > 1 else ""
        print(
            f"{run}step {entry['step']:>6}  labels {entry['labels']:>5}"
            f"  quality {entry['quality']:.4f}  density {entry['density']:.4f}"
            f"  replaced {entry['replaced']}"
        )
    if sheet is not None:
        from PIL import Image

        from corun.data.images import eight_bit
        from corun.files import written_atomically

        picture = contact_sheet(folder)
        if picture is None:
            raise DataError(f"{folder}: its labels have gone meanwhile; run the command again")
        what, remedy = f"{sheet}: cannot be written", "give another --sheet"
        with (
            system_errors_as(ImageFileError, what, remedy),
            written_atomically(sheet, overwrite=overwrite) as partial,
        ):
            Image.fromarray(eight_bit(picture)).save(partial)
        print(escaped(f"written: {sheet}"))


def _require_writable_picture(path: Path) -> None:
    """Refuse a picture that could not be written before the pool is read.

    Raises:
        ImageFileError: its folder is missing, or its suffix is that of no picture.
    """
    from PIL import Image

    suffixes = Image.registered_extensions()
    if suffixes.get(path.suffix.lower()) not in Image.SAVE:
        raise ImageFileError(
            f"{path}: no suffix of a picture that can be written; use .png or .jpg"
        )
    if not path.parent.is_dir():
        raise ImageFileError(f"{path}: its folder does not exist; make {path.parent} first")
