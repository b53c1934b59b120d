"""How every command fails: one line on standard error, and an exit status that means something.

0: done. 1: something given could not be used, or a picture failed. 2: wrong usage.
130: interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from corun.errors import CorunError, MissingExtraError, one_line
from corun.files import user_path

EXTRA_OF_PACKAGE = {
    "torch": "torch",
    "yaml": "torch",
    "pydantic": "torch",
    "lightning": "train",
    "kornia": "train",
    "scipy": "train",
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "h11", "prometheus_client"), "serve"),
    "gradio": "web",
}
"""What commands beyond a photo's import first, and the extra that brings it."""
FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130


class CorunGroup(TyperGroup):
    """A group of commands that answers the user's mistakes without a traceback."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command in whose paths ``~/`` is the home folder, however the shell passed them."""
        command = super().get_command(ctx, cmd_name)
        if command is None or command.callback is None:
            return command
        if not hasattr(command.callback, "knows_home"):
            command.callback = _with_user_paths(command.callback)
        return command

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; a CorunError becomes one line and exit status 1, Ctrl-C 130."""
        try:
            return super().invoke(ctx)
        except CorunError as error:
            complain(str(error))
            raise typer.Exit(FAILED) from error
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRA_OF_PACKAGE:
                raise
            complain(str(MissingExtraError(package, EXTRA_OF_PACKAGE[package])))
            raise typer.Exit(FAILED) from error
        except MemoryError as error:
            complain("not enough memory; close other programs, or give less at once")
            raise typer.Exit(FAILED) from error
        except KeyboardInterrupt as error:
            complain("interrupted")
            raise typer.Exit(INTERRUPTED) from error


def complain(message: str) -> None:
    """Prints one line on standard error, whatever line breaks and controls the message has."""
    print("corun: " + one_line(message), file=sys.stderr, flush=True)


def _with_user_paths(callback: Callable[..., Any]) -> Callable[..., Any]:
    def read(value: Any) -> Any:
        if isinstance(value, list):
            return [read(entry) for entry in value]
        return user_path(value) if isinstance(value, Path) else value

    @wraps(callback)
    def call(*arguments: Any, **options: Any) -> Any:
        return callback(*arguments, **{name: read(value) for name, value in options.items()})

    call.knows_home = True  # type: ignore[attr-defined]
    return call
