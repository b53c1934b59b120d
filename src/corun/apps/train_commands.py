"""`corun train`: thin doors to the training programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corun.apps.command_group import CorunGroup

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="A YAML recipe.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE...", help="Replace single values: optimizer.learning_rate=2e-4"
    ),
]

train_app = typer.Typer(cls=CorunGroup, no_args_is_help=True, help="Train networks.")


@train_app.command("pretrain")
def pretrain(config: ConfigOption, overrides: Overrides = None) -> None:
    """Train a network on synthetic haze; the same command resumes an interrupted run."""
    from corun.training import pretrain as program

    program.run(config, overrides or [])


@train_app.command("colabator")
def colabator(config: ConfigOption, overrides: Overrides = None) -> None:
    """Adapt a network to real haze; the same command resumes an interrupted run."""
    from corun.training import colabator as program

    program.run(config, overrides or [])


@train_app.command("density")
def density(config: ConfigOption, overrides: Overrides = None) -> None:
    """Train the embedded haze-density network."""
    from corun.training import density as program

    program.run(config, overrides or [])
