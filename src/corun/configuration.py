"""Typed configuration: YAML in, frozen models out, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from corun.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A part of a configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def load_configuration(model: type[Model], path: Path, overrides: list[str] | None = None) -> Model:
    """Read a YAML file, apply ``dotted.key=value`` overrides, and validate.

    Relative paths inside the file are taken relative to the current folder, as a shell would.

    Args:
        model: the type of the configuration.
        path: the YAML file.
        overrides: for example ``["run.steps=100", "optimizer.learning_rate=2e-4"]``; values are
            read as YAML.

    Raises:
        ConfigurationError: the file is missing or no YAML mapping, an override is malformed, a key
            is unknown or a value impossible; the message names the key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: must be a mapping of keys to values")
    for override in overrides or []:
        apply_override(content, override)
    return validate(model, content, str(path))


def validate(model: type[Model], content: dict[str, Any], source: str) -> Model:
    """Make a configuration of plain values.

    Raises:
        ConfigurationError: names each wrong key and says what it should be.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            unknown = problem["type"] in ("extra_forbidden", "unexpected_keyword_argument")
            problems.append(f"{key}: {'unknown key' if unknown else problem['msg']}")
        raise ConfigurationError(f"{source}: " + "; ".join(problems)) from error


def apply_override(content: dict[str, Any], override: str) -> None:
    """Set one ``dotted.key=value`` in place.

    Raises:
        ConfigurationError: no ``=``, or the path runs through something that is no mapping.
    """
    key, separator, value = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ConfigurationError(f"{override!r}: an override looks like run.steps=1000")
    target = content
    for part in parts[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise ConfigurationError(f"{override!r}: {part} is a value and holds no keys")
    try:
        target[parts[-1]] = yaml.safe_load(as_number(value))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{override!r}: the value is not valid YAML") from error


def as_number(value: str) -> str:
    """``1e-4`` as ``0.0001``, which YAML 1.1 would otherwise read as a string."""
    try:
        number = float(value)
    except ValueError:
        return value
    return value if value.strip().lstrip("+-").isdigit() else repr(number)


def first_line(error: Exception) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())
