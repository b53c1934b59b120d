"""The command `corun`: assembled from one module per subject, nothing heavy imported.

Of a call that names its command only that command's module is imported: starting is a good part of
what clearing one photo takes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from corun.apps.command_group import CorunGroup

COMMANDS = {
    "dehaze": "dehaze_command:dehaze",
    "video": "video_command:video",
    "batch": "batch_command:batch",
    "demo": "demo_command:demo",
    "doctor": "doctor_command:doctor",
    "models": "model_commands:models_app",
    "export": "export_command:export",
    "synthesize": "data_commands:synthesize",
    "train": "train_commands:train_app",
    "config": "config_commands:config_app",
    "pool": "pool_commands:pool_app",
    "fit": "fit_commands:fit_app",
    "data": "data_check_commands:data_app",
    "evaluate": "evaluate_commands:evaluate",
    "figure": "figure_commands:figure_app",
    "reproduce": "reproduce_command:reproduce_app",
    "serve": "serve_command:serve",
    "web": "web_command:web",
    "study": "study_commands:study",
    "study-results": "study_commands:study_results",
}
"""Every command by its name: its module in `corun.apps`, and the function or group there."""


def assemble(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command with these subcommands."""
    assembled = typer.Typer(
        name="corun",
        cls=CorunGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Takes the haze out of real photos, and trains the networks that do it.",
    )
    assembled.callback()(_corun)
    for name in names:
        place, _, attribute = COMMANDS[name].partition(":")
        module = import_module(f"corun.apps.{place}")
        found = getattr(module, attribute)
        if isinstance(found, typer.Typer):
            assembled.add_typer(found, name=name)
        else:
            cls = getattr(module, "COMMAND_CLASS", None)
            assembled.command(name, cls=cls, help=getattr(module, "HELP", None))(found)
    return assembled


def __getattr__(name: str) -> Any:
    """`app`, the whole command, assembled when it is asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = assemble()
    return globals()["app"]


def _print_version(wanted: bool) -> bool:
    if wanted:
        from corun.apps.installation import version_line

        print(version_line())
        raise typer.Exit
    return wanted


def _work_offline(wanted: bool) -> bool:
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return wanted


def _corun(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print version and commit."
        ),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", callback=_work_offline, help="Fetch nothing from the Hub."),
    ] = False,
) -> None:
    """Takes the haze out of real photos and videos, and trains the networks that do it."""


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
    named = sys.argv[1:2]
    assemble(named if named and named[0] in COMMANDS else COMMANDS)(prog_name="corun")


if __name__ == "__main__":
    main()
