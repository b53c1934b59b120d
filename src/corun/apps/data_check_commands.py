"""`corun data`: what is known about data sets, and whether one lies complete in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corun.apps.command_group import CorunGroup
from corun.apps.exit_status import FAILED
from corun.errors import escaped

data_app = typer.Typer(
    cls=CorunGroup, no_args_is_help=True, help="List the data sets; check one in a folder."
)


@data_app.command("list")
def list_datasets() -> None:
    """List the data sets known by name, with published counts and addresses."""
    from corun.data.datasets.catalogue import DATASETS

    for card in DATASETS.values():
        count = "" if card.count is None else f", {card.count} photos"
        print(f"{card.name}: {card.title}{count}; {card.where}")


@data_app.command("check")
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `corun data list`.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where it was unpacked.")],
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every picture, not its header only.")
    ] = False,
) -> None:
    """Say what a folder holds of a data set, what is missing and where to get it.

    The exit status is 1 where photos are missing or unusable.
    """
    from corun.data.datasets.check import check_dataset

    result = check_dataset(name, folder, decode=decode)
    for line in result.lines():
        print(escaped(line))
    if not result.complete:
        raise typer.Exit(FAILED)
