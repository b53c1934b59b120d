"""The reference of every key of a recipe, and its JSON Schema, made of the configuration types.

What a key means stands once, in the ``Attributes:`` of its class.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from corun.errors import ConfigurationError


class Key(NamedTuple):
    """One key of a recipe.

    Attributes:
        name: dotted, as on the command line.
        default: as YAML; ``required`` where there is none.
        meaning: one sentence or more.
    """

    name: str
    default: str
    meaning: str


def recipe_types() -> dict[str, type[BaseModel]]:
    """What can be trained by a recipe, by the name of its command."""
    from corun.training.colabator import ColabatorConfig
    from corun.training.density import DensityConfig
    from corun.training.pretrain import PretrainConfig

    return {"pretrain": PretrainConfig, "colabator": ColabatorConfig, "density": DensityConfig}


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a recipe, with meanings; editors complete from it.

    Raises:
        ConfigurationError: no such kind.
    """
    types = recipe_types()
    if kind not in types:
        raise ConfigurationError(f"{kind}: no such recipe; it is one of {', '.join(types)}")
    made: dict[str, Any] = TypeAdapter(types[kind]).json_schema()
    made["properties"]["extends"] = {
        "type": "string",
        "description": "another recipe, beside this file, from which it differs in what it states",
    }
    meanings = {type_.__name__: documented(type_) for type_ in _all_types(types[kind])}
    for part in (made, *made.get("$defs", {}).values()):
        for name, entry in part.get("properties", {}).items():
            told = meanings.get(part.get("title", ""), {}).get(name)
            if told is not None:
                entry.setdefault("description", told)
    return made


def reference() -> str:
    """Markdown of every key of every recipe, each type once."""
    lines = [
        "# Keys of a recipe",
        "",
        "Made by `corun config keys`. On the command line any key can be replaced:",
        "`corun train pretrain --config FILE run.steps=100`. An unknown key is an error.",
        "`extends: OTHER.yaml` makes a recipe differ from another, beside it, in what it states.",
        "`corun config schema pretrain` prints the JSON Schema that editors complete from.",
    ]
    for kind, model in recipe_types().items():
        lines += ["", f"## `corun train {kind}`"]
        for prefix, part in _parts(model, ""):
            summary = " ".join((inspect.getdoc(part) or "").split("\n\n")[0].split())
            lines += ["", f"### `{prefix or 'top level'}`", "", summary.replace("``", "`"), ""]
            lines += ["| key | default | meaning |", "|---|---|---|"]
            lines += [
                f"| `{key.name}` | `{key.default}` | {key.meaning.replace('|', '&#124;')} |"
                for key in _keys(part, prefix)
            ]
    return "\n".join(lines) + "\n"


def documented(type_: type) -> dict[str, str]:
    """What the ``Attributes:`` of a class and of those it extends say of each field."""
    found: dict[str, str] = {}
    for base in reversed(type_.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        _, _, attributes = text.partition("Attributes:\n")
        for match in re.finditer(r"^    (\w+): (.*(?:\n        .*)*)", attributes, re.MULTILINE):
            found[match[1]] = " ".join(match[2].split()).replace("``", "`")
    return found


def _parts(type_: type, prefix: str) -> Iterator[tuple[str, type]]:
    """A type and the types nested in it that have keys of their own, with their dotted names."""
    if _keys(type_, prefix):
        yield prefix, type_
    for name, nested, _ in _fields(type_):
        inner = f"{prefix}.{name}" if prefix else name
        if _is_part(nested):
            yield from _parts(nested, inner)
        elif get_origin(nested) is dict and _is_part(get_args(nested)[1]):
            yield from _parts(get_args(nested)[1], f"{inner}.NAME")


def _keys(type_: type, prefix: str) -> list[Key]:
    meanings = documented(type_)
    return [
        Key(f"{prefix}.{name}" if prefix else name, default, meanings.get(name, ""))
        for name, annotation, default in _fields(type_)
        if not _is_part(annotation)
    ]


def _all_types(type_: type) -> Iterator[type]:
    for _, part in _parts(type_, ""):
        yield part
    yield type_


def _is_part(annotation: Any) -> bool:
    return isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
    )


def _fields(type_: type) -> list[tuple[str, Any, str]]:
    """Name, type and default, as YAML, of each field."""
    if issubclass(type_, BaseModel):
        found = []
        for name, field in type_.model_fields.items():
            default = field.get_default(call_default_factory=True)
            # A part that may be null is shown as what it is by default.
            kind = type(default) if isinstance(default, BaseModel) else field.annotation
            found.append((name, kind, _as_yaml(default)))
        return found
    assert dataclasses.is_dataclass(type_)
    return [(f.name, f.type, _as_yaml(f.default)) for f in dataclasses.fields(type_)]


def _as_yaml(value: Any) -> str:
    if value in (PydanticUndefined, dataclasses.MISSING):
        return "required"
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        return ""
    plain = json.loads(json.dumps(value, default=str))
    return yaml.safe_dump(plain, default_flow_style=True, width=10_000).split("\n...")[0].strip()
