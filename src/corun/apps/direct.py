"""Calling a command without Typer, which takes longer to import than a photo to read.

The options are those that the command states (:mod:`corun.apps.options`). Only what is beyond doubt
is understood here; help, mistakes and unusual spellings are left to Typer, which answers them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from corun.apps.options import Argument, declared

_NUMBER = {
    int: re.compile(r"\d{1,18}", re.ASCII),  # Python refuses to read some thousand digits
    float: re.compile(r"\d+(\.\d+)?", re.ASCII),
}


class _UnclearError(Exception):
    """Words that Typer is to answer."""


def direct_call(function: Any, words: list[str]) -> Callable[[], None] | None:
    """The call of a command that its words mean, or None where Typer is to say.

    Args:
        function: of the command; None is the answer for a group, too.
        words: behind the command's name.
    """
    if not callable(function) or not hasattr(function, "__annotations__"):
        return None
    if os.name == "nt" and any(set(word) & set("*?[~$%") for word in words):
        return None  # no shell has expanded them
    try:
        return partial(function, **_read(get_type_hints(function, include_extras=True), words))
    except _UnclearError:
        return None


def _read(hints: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """The parameters that are given."""
    places = ""
    options: dict[str, tuple[str, Any, dict[str, Any]]] = {}
    for name, hint in hints.items():
        base, said = declared(hint)
        if name == "return":
            continue
        if isinstance(said, Argument) and base == list[str] and not places:
            places = name
        elif said is None or isinstance(said, Argument) or (base is bool and not said.names):
            raise _UnclearError
        else:
            for option in said.names or ("--" + name.replace("_", "-"),):
                options[option] = name, base, said.settings
    given: dict[str, Any] = {places: []}
    coming = iter(words)
    for word in coming:
        if word == "--":
            given[places] += coming
        elif word == "-" or not word.startswith("-"):
            given[places].append(word)
        else:
            option, equals, value = word.partition("=")
            if option not in options or (equals and not option.startswith("--")):
                raise _UnclearError
            name, base, settings = options[option]
            if base is not bool:
                given[name] = _value(value if equals else next(coming, "--"), base, settings)
            elif equals:
                raise _UnclearError
            else:
                given[name] = True
    if not places or not given[places]:
        raise _UnclearError
    return given


def _value(text: str, base: Any, settings: dict[str, Any]) -> Any:
    """A word as an option's type."""
    if NoneType in get_args(base):
        base = next(kind for kind in get_args(base) if kind is not NoneType)
    if text.startswith("-") and text != "-":
        raise _UnclearError
    if base is str:
        return text
    if get_origin(base) is Literal and text in get_args(base):
        return text
    if base in _NUMBER and _NUMBER[base].fullmatch(text):
        number = base(text)
        if settings.get("min", number) <= number <= settings.get("max", number):
            return number
    raise _UnclearError
