"""The command `corun`: assembled from one module per subject, nothing heavy imported."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from corun.apps.colabator_commands import fit_app
from corun.apps.command_group import CorunGroup
from corun.apps.config_commands import config_app
from corun.apps.data_check_commands import data_app
from corun.apps.data_commands import synthesize
from corun.apps.dehaze_command import HELP, dehaze
from corun.apps.demo_command import demo
from corun.apps.doctor_command import doctor
from corun.apps.evaluate_commands import HELP as EVALUATE_HELP
from corun.apps.evaluate_commands import evaluate
from corun.apps.export_command import HELP as EXPORT_HELP
from corun.apps.export_command import export
from corun.apps.figure_commands import figure_app
from corun.apps.model_commands import models_app
from corun.apps.pool_commands import pool_app
from corun.apps.reproduce_command import reproduce_app
from corun.apps.serve_command import HELP as SERVE_HELP
from corun.apps.serve_command import serve
from corun.apps.study_commands import study, study_results
from corun.apps.train_commands import train_app
from corun.apps.web_command import HELP as WEB_HELP
from corun.apps.web_command import web

app = typer.Typer(
    name="corun",
    cls=CorunGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Takes the haze out of real photos, and trains the networks that do it.",
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from corun.apps.installation import version_line

        print(version_line())
        raise typer.Exit
    return wanted


@app.callback()
def _corun(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print version and commit."
        ),
    ] = False,
) -> None:
    """Takes the haze out of real photos, and trains the networks that do it."""


app.command(help=HELP)(dehaze)
app.command()(demo)
app.command()(doctor)
app.add_typer(models_app, name="models")
app.command(help=EXPORT_HELP)(export)
app.command()(synthesize)
app.add_typer(train_app, name="train")
app.add_typer(config_app, name="config")
app.add_typer(pool_app, name="pool")
app.add_typer(fit_app, name="fit")
app.add_typer(data_app, name="data")
app.command(help=EVALUATE_HELP)(evaluate)
app.add_typer(figure_app, name="figure")
app.add_typer(reproduce_app, name="reproduce")
app.command(help=SERVE_HELP)(serve)
app.command(help=WEB_HELP)(web)
app.command()(study)
app.command("study-results")(study_results)


def speak_any_encoding() -> None:
    """Lets every sign be printed, also where output is in an encoding that lacks it.

    A pipe or file on Windows is in a code page unless told otherwise; there it gets UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not a test's or a notebook's
            if os.name == "nt" and not stream.isatty():
                stream.reconfigure(encoding="utf-8")
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Entry point of the installed command."""
    speak_any_encoding()
    app(prog_name="corun")


if __name__ == "__main__":
    main()
