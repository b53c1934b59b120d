"""Typed configuration: YAML in, frozen models out, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corun.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A part of a configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimizerConfig(Strict):
    """AdamW with a linear warm-up and a cosine decay (DESIGN §4).

    Attributes:
        learning_rate: the peak.
        final_learning_rate: where the cosine ends, at the last step.
        warmup_steps: steps of linear rise.
        betas: AdamW's β₁, β₂.
        weight_decay: AdamW's decoupled decay.
        clip_norm: largest gradient norm; 0 turns clipping off.
    """

    learning_rate: float = Field(1e-4, gt=0)
    final_learning_rate: float = Field(0.0, ge=0)
    warmup_steps: int = Field(0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, ge=0)


class RunConfig(Strict):
    """How a training runs, whatever it trains.

    Attributes:
        folder: where checkpoints, logs and the final weights go.
        steps: optimiser steps in all.
        batch: samples of one optimiser step in one process, over all accumulated parts.
        accumulate: parts in which a batch is computed; ``batch`` must be a multiple.
        seed: what all randomness comes from.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``float32``, or ``bfloat16`` for mixed precision.
        compile: whether to use ``torch.compile``.
        threads: CPU threads of torch; 0 leaves its choice.
        workers: background threads that prepare the next batches; 0 for none.
        ema_decay: decay of the averaged weights, which are validated and shipped.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validations.
        picture_every: steps between pictures in TensorBoard; 0 for none.
    """

    folder: Path
    steps: int = Field(30_000, ge=1)
    batch: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)
    seed: int = Field(0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    threads: int = Field(0, ge=0)
    workers: int = Field(1, ge=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    checkpoint_every: int = Field(500, ge=1)
    validate_every: int = Field(1000, ge=1)
    picture_every: int = Field(1000, ge=0)


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
