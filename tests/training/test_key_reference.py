"""The reference of keys and the schema come from the types, and the page in docs is theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from corun.errors import ConfigurationError
from corun.training.key_reference import recipe_types, reference, schema

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def model_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += model_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def test_the_page_is_what_the_command_prints() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: corun config keys > " + PAGE.name


@pytest.mark.parametrize("kind", list(recipe_types()))
def test_every_key_is_there_with_a_meaning(kind: str) -> None:
    rows = {
        line.split("`")[1]: line.split("|")[3].strip()
        for line in reference().splitlines()
        if line.startswith("| `")
    }
    keys = [key for key in model_keys(recipe_types()[kind]) if key != "network"]
    assert [key for key in keys if key not in rows] == []
    assert [key for key, meaning in rows.items() if not meaning] == []


def test_the_schema_has_types_meanings_and_no_unknown_keys() -> None:
    made = schema("pretrain")
    assert made["additionalProperties"] is False
    assert "extends" in made["properties"]
    run = made["$defs"]["RunConfig"]["properties"]
    assert run["steps"]["type"] == "integer"
    assert run["steps"]["description"].startswith("optimiser steps in all.")
    assert "weight" in made["$defs"]["PairsConfig"]["properties"]
    network = made["$defs"]["CorunConfig"]["properties"]
    assert network["cell"]["description"].startswith("r. 1 is the published network.")
    with pytest.raises(ConfigurationError, match="pretrain, colabator, density"):
        schema("other")
