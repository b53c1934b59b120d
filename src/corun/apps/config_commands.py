"""`corun config`: what a recipe can say."""

from __future__ import annotations

from typing import Annotated

import typer

from corun.apps.command_group import CorunGroup

config_app = typer.Typer(cls=CorunGroup, no_args_is_help=True, help="What a recipe can say.")


@config_app.command("schema")
def schema(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="pretrain, colabator or density.")],
) -> None:
    """Print the JSON Schema of a recipe, from which editors complete."""
    import json

    from corun.training.key_reference import schema as make

    print(json.dumps(make(kind), indent=2, ensure_ascii=False))


@config_app.command("keys")
def keys() -> None:
    """Print every key of every recipe with its default and meaning, as Markdown."""
    from corun.training.key_reference import reference

    print(reference(), end="")
