"""Typed configuration: YAML in, frozen models out, unknown keys refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, field_validator

from corun.errors import ConfigurationError, one_line, system_errors_as
from corun.files import user_path

Model = TypeVar("Model", bound=BaseModel)

Range = tuple[float, float]
"""Lowest and highest value of a setting that is drawn at random."""


class Strict(BaseModel):
    """A part of a configuration: frozen, an unknown key is an error, ``~/`` is the home folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="after")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        return user_path(value) if isinstance(value, Path) else value


def ordered(
    *, least: float = -math.inf, most: float = math.inf, above: float = -math.inf
) -> AfterValidator:
    """A check for ``Annotated[Range, ordered(…)]``: finite, low ≤ high, both within the bounds.

    Args:
        least: smallest value allowed.
        most: largest value allowed.
        above: what both values must be larger than.
    """
    bounds = "".join(
        f", {word} {bound:g}"
        for word, bound in (("at least", least), ("above", above), ("at most", most))
        if math.isfinite(bound)
    )

    def check(value: Range) -> Range:
        low, high = value
        finite = math.isfinite(low) and math.isfinite(high)
        if not (finite and low <= high and least <= low and above < low and high <= most):
            raise ValueError(f"must be [low, high], low not above high{bounds}; got {[low, high]}")
        return value

    return AfterValidator(check)


def load_configuration(model: type[Model], path: Path, overrides: list[str] | None = None) -> Model:
    """Read a YAML file, apply ``dotted.key=value`` overrides, and validate.

    A file whose ``extends`` names another, beside it, differs from that one in what it states.
    Relative paths inside the file are taken relative to the current folder, as a shell would.

    Args:
        model: the type of the configuration.
        path: the YAML file.
        overrides: for example ``["run.steps=100", "optimizer.learning_rate=2e-4"]``; values are
            read as YAML.

    Raises:
        ConfigurationError: the file is missing, not UTF-8 or no YAML mapping, extends itself, an
            override is malformed, a key is unknown or a value impossible; the message names it.
    """
    content = _read_recipe(Path(path), ())
    for override in overrides or []:
        apply_override(content, override)
    return validate(model, content, str(path))


def _read_recipe(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """The content of a YAML file laid over that of the file it extends."""
    if path.absolute() in extending:
        raise ConfigurationError(f"{path}: extends itself; name another file")
    try:
        with system_errors_as(ConfigurationError, f"{path}: cannot be read"):
            text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text; give a YAML file") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: must be a mapping of keys to values")
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise ConfigurationError(f"{path}: extends names one file, not {base!r}")
    below = _read_recipe(path.parent / base, (*extending, path.absolute()))
    return _laid_over(content, below)


def _laid_over(content: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Keys of ``content`` in place of those of ``below``, mapping by mapping."""
    both = dict(below)
    for key, value in content.items():
        under = both.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            both[key] = _laid_over(value, under)
        else:
            both[key] = value
    return both


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
            # pydantic's own prefix of what a validator says
            told = problem["msg"].removeprefix("Value error, ")
            problems.append(f"{key}: {_unknown(key) if unknown else told}")
        raise ConfigurationError(f"{source}: " + "; ".join(problems)) from error


SINCE_0_1 = {
    "affine_": "gone with the rules behind the network; network.cell is the step at full size",
    "prior_downscale": "gone; network.cell makes the stages work at a part of the size",
    "unfitted": "now last_stage",
    "veil_range": "now veil: [low, high] of the transmission that is drawn for each picture",
    "vignette_probability": "now falloff_probability, in input and target alike",
    "vignette_strength": "now falloff_strength: [low, high]",
}
"""What became of the keys of version 0.1, by how their last part begins."""


def _unknown(key: str) -> str:
    last = key.rpartition(".")[2]
    told = next((text for start, text in SINCE_0_1.items() if last.startswith(start)), None)
    return "unknown key" if told is None else f"unknown key, {told}"


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


def differing_keys(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The dotted keys of plain values that are not the same, or not there, in both."""
    absent, keys = object(), []
    for key in one | other:
        mine, theirs = one.get(key, absent), other.get(key, absent)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            keys += [f"{key}.{inner}" for inner in differing_keys(mine, theirs)]
        elif mine != theirs:
            keys.append(key)
    return keys


def as_number(value: str) -> str:
    """``1e-4`` as ``0.0001``, which YAML 1.1 would otherwise read as a string."""
    try:
        number = float(value)
    except ValueError:
        return value
    return value if value.strip().lstrip("+-").isdigit() else repr(number)
