"""The command `corun`: assembled from one module per subject, nothing heavy imported.

Starting is a good part of what clearing one photo takes. Of a call that names its command only that
command's module is imported, and where the call can be understood without Typer, not even that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from io import TextIOWrapper
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

from corun.apps.direct import direct_call
from corun.apps.exit_status import FAILED, failing_in_one_line
from corun.apps.options import Option

if TYPE_CHECKING:
    import typer

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


def assemble(names: Iterable[str] = COMMANDS, *, listed: bool = False) -> typer.Typer:
    """The command with these subcommands.

    Args:
        names: of them.
        listed: whether they are only named in the help, so that their options are not needed.
    """
    import typer

    from corun.apps.command_group import CorunGroup, for_typer, group_for_typer

    assembled = typer.Typer(
        name="corun",
        cls=CorunGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Takes the haze out of real photos, and trains the networks that do it.",
    )
    assembled.callback()(for_typer(_corun))
    for name in names:
        module, found = _named(name)
        group = isinstance(found, typer.Typer)
        if listed:
            text = found.info.help if group else getattr(module, "HELP", found.__doc__)
            assembled.command(name, help=text)(lambda: None)
        elif group:
            assembled.add_typer(group_for_typer(found), name=name)
        else:
            cls = getattr(module, "COMMAND_CLASS", None)
            help_ = getattr(module, "HELP", None)
            assembled.command(name, cls=cls, help=help_)(for_typer(found))
    return assembled


def _named(name: str) -> tuple[ModuleType, Any]:
    """A command's module, and its function or group."""
    place, _, attribute = COMMANDS[name].partition(":")
    module = import_module(f"corun.apps.{place}")
    return module, getattr(module, attribute)


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
        raise SystemExit(0)
    return wanted


def _work_offline(wanted: bool) -> bool:
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return wanted


def _corun(
    version: Annotated[
        bool,
        Option(
            "--version", callback=_print_version, is_eager=True, help="Print version and commit."
        ),
    ] = False,
    offline: Annotated[
        bool,
        Option("--offline", callback=_work_offline, help="Fetch nothing from the Hub."),
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
    words = sys.argv[1:]
    named = words[:1] if words and words[0] in COMMANDS else []
    completing = "_CORUN_COMPLETE" in os.environ  # a shell asks what could come next
    call = direct_call(_named(named[0])[1], words[1:]) if named and not completing else None
    if call is None:
        listed = not completing and words in ([], ["--help"])
        assemble(named or COMMANDS, listed=listed)(prog_name="corun")
        return
    try:
        with failing_in_one_line():
            call()
    except BrokenPipeError:  # nobody reads any more: no mistake, and nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
