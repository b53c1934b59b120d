"""What Typer is told: groups whose mistakes are one line, options that were stated without it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from corun.apps.exit_status import failing_in_one_line
from corun.apps.options import Argument, Option, declared
from corun.files import user_path


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
        """Runs the command; what goes wrong ends it with one line."""
        with failing_in_one_line():
            return super().invoke(ctx)


def for_typer(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose `Option` and `Argument` are Typer's."""
    kinds = {Option: typer.Option, Argument: typer.Argument}

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    signature = inspect.signature(function)
    parameters = []
    for name, hint in get_type_hints(function, include_extras=True).items():
        if name == "return":
            continue
        base, said = declared(hint)
        if said is not None:
            hint = Annotated[base, kinds[type(said)](*said.names, **said.settings)]
        parameters.append(signature.parameters[name].replace(annotation=hint))
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {entry.name: entry.annotation for entry in parameters}
    return call


def group_for_typer(group: typer.Typer) -> typer.Typer:
    """A group of such commands, with its own options; once it is Typer's, nothing is changed."""
    for info in (*group.registered_commands, group.registered_callback):
        if info is not None and info.callback is not None:
            info.callback = for_typer(info.callback)
    return group


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
