"""How every command fails: one line on standard error, and an exit status that means something.

0: done. 1: something given could not be used, or a picture failed. 2: wrong usage.
130: interrupted.
"""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from corun.errors import CorunError, MissingExtraError

EXTRA_OF_PACKAGE = {
    "torch": "torch",
    "yaml": "torch",
    "pydantic": "torch",
    "lightning": "train",
    "kornia": "train",
    "scipy": "train",
    "filelock": "train",
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "h11", "prometheus_client"), "serve"),
    "gradio": "web",
}
"""What commands beyond a photo's import first, and the extra that brings it."""
FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130


class CorunGroup(TyperGroup):
    """A group of commands that answers the user's mistakes without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; a CorunError becomes one line and exit status 1."""
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


def complain(message: str) -> None:
    """Prints one line on standard error, whatever line breaks the message has."""
    print("corun: " + " ".join(message.split()), file=sys.stderr, flush=True)
