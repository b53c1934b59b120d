"""`corun train`: thin doors to the training programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corun.apps.colabator_commands import colabator, density
from corun.apps.command_group import CorunGroup

train_app = typer.Typer(cls=CorunGroup, no_args_is_help=True, help="Train networks.")


@train_app.callback()
def train() -> None:
    """Train networks."""


@train_app.command("pretrain")
def pretrain(
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="A YAML recipe.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...", help="Replace single values: optimizer.learning_rate=2e-4"
        ),
    ] = None,
) -> None:
    """Train a network on synthetic haze; the same command resumes an interrupted run."""
    from corun.training import pretrain as program

    program.run(config, overrides or [])


train_app.command("colabator")(colabator)
train_app.command("density")(density)
