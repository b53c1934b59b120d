"""`corun models`: what can be loaded, facts about a file, and conversion of published weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from corun.apps import options
from corun.apps.command_group import CorunGroup
from corun.apps.exit_status import require_new, wrong_usage
from corun.errors import ConfigurationError, WeightsError, escaped, system_errors_as


class ListByDefault(CorunGroup):
    """`corun models` alone is `corun models list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments; none means list."""
        return super().parse_args(ctx, args or ["list"])


models_app = typer.Typer(
    cls=ListByDefault,
    help="List the models; show facts; convert published weights; get from and push to the Hub.",
)


@models_app.command("list")
def list_models(
    remote: Annotated[bool, typer.Option("--remote", help="Those on the Hub.")] = False,
    author: Annotated[
        str | None, typer.Option(help="Of the Hub's.", show_default="anybody")
    ] = None,
) -> None:
    """List the models that are known by name, or those on the Hub."""
    if remote:
        from corun.networks.hub import remote_models

        for model in remote_models(author):
            print(f"{model.address}@{model.revision[:8]}  {model.downloads} downloads")
        return
    from rich.console import Console
    from rich.table import Table

    from corun.networks.registry import DEFAULT_MODEL, MODELS

    table = Table(box=None, pad_edge=False)
    for heading in ("model", "what it is", "weights", "licence"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "model")
    for card in MODELS.values():
        name = f"{card.name} (default)" if card.name == DEFAULT_MODEL else card.name
        if not card.trained:
            weights = "give a file"
        else:
            weights = "needs none" if card.weights is None else "included"
        table.add_row(name, card.summary, weights, card.licence)
    Console(highlight=False).print(table)


@models_app.command("info")
def info(
    model: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="A model or weights file.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what a model or a weights file says about itself."""
    from dataclasses import asdict

    from corun.networks.registry import MODELS

    card = MODELS.get(model)
    if card is not None and card.config is None:
        facts: dict[str, object] = {"name": card.name, "architecture": "none", "parameters": 0}
        metadata: dict[str, object] = {}
    else:
        import torch

        from corun.networks.adapted import header_of_adapted
        from corun.networks.checkpoints import LoadedNetwork, load_network
        from corun.networks.corun import CORUN

        if card is not None and not card.trained:
            with torch.device("meta"):  # its size needs no memory
                loaded = LoadedNetwork(CORUN(card.config), model, card=card)
        elif (said := header_of_adapted(model)) is not None:  # its code is not run for this
            _show(said, as_json)
            return
        else:
            loaded = load_network(model)
        network, card, metadata = loaded.network, loaded.card, loaded.metadata
        facts = {
            "name": loaded.name,
            "architecture": type(network).__name__,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        }
        if isinstance(network, CORUN):
            facts["config"] = network.config.to_dict()
    if card is not None:
        said = asdict(card)
        facts |= {key: said[key] for key in said if key not in ("name", "config")}
    known = ("architecture", "config")
    facts |= {key: value for key, value in metadata.items() if key not in known}
    _show(facts, as_json)


def _show(facts: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        print(escaped(json.dumps(facts, ensure_ascii=False, default=str)))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name}={entry}" for name, entry in value.items())
        print(escaped(f"{key}: {value:,}" if type(value) is int else f"{key}: {value}"))


@models_app.command("convert")
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Published CORUN weights, a run's last.ckpt, or with --network any checkpoint.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.safetensors", help="Where to.")
    ],
    overwrite: options.Overwrite = False,
    network: Annotated[
        str | None,
        typer.Option(metavar="MODULE:CLASS", help="Whose checkpoint it is; it is imported."),
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="For the class, in JSON; may be repeated."),
    ] = None,
    value_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range",
            metavar="BLACK WHITE",
            help="What the network takes and gives.",
            show_default="its method's, if known; 0 1",
        ),
    ] = None,
    multiple: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of which the sides of what it takes are multiples.",
            show_default="its method's, if known; 1",
        ),
    ] = None,
    entry: Annotated[
        str | None, typer.Option(help="Name or number of the entry that is the scene.")
    ] = None,
) -> None:
    """Turn published weights, or a run's last.ckpt, into a file that every command runs."""
    if output.suffix != ".safetensors":
        raise WeightsError(f"{output}: the name must end in .safetensors")
    require_new(output, overwrite)
    if network is None:
        if argument or any(given is not None for given in (value_range, multiple, entry)):
            wrong_usage("--argument, --range, --multiple and --entry are for --network")
        from corun.networks.checkpoints import convert_weights

        ours = convert_weights(source, output)
        kind = f"{ours.config.stages} stages"
        count = sum(parameter.numel() for parameter in ours.parameters())
    else:
        from corun.networks.adapted import save_adapted
        from corun.networks.brought import open_network

        arguments, kind = dict(map(_argument, argument or ())), network
        made = open_network(
            network,
            weights=source,
            arguments=arguments,
            value_range=value_range,
            multiple=multiple,
            output=int(entry) if entry and entry.isdecimal() else entry,
        )
        save_adapted(output, made, {"converted_from": source.name}, network, arguments)
        count = sum(parameter.numel() for parameter in made.parameters())
    print(escaped(f"{source} -> {output} ({kind}, {count:,} parameters)"))


def _argument(text: str) -> tuple[str, Any]:
    """A name and its value, JSON or else a word."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f"--argument {text}: write NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


@models_app.command("get")
def get(
    model: Annotated[
        str, typer.Argument(metavar="OWNER/NAME[@REVISION][/FILE]", help="With or without hf://.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="A copy.", show_default="the cache"),
    ] = None,
) -> None:
    """Fetch a model from the Hub, compare its checksum, and print where it is."""
    from corun.files import write_atomically
    from corun.networks.files import HubFile, fetch

    if output is not None and output.exists():
        raise WeightsError(f"{output}: exists already; choose another -o")
    path = fetch(HubFile.parse(model))
    if output is not None:
        with system_errors_as(WeightsError, f"{output}: cannot be written", "choose another -o"):
            write_atomically(output, path.read_bytes(), overwrite=False)
    print(escaped(str(output or path)))


@models_app.command("push")
def push(
    model: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="A model or weights file.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Made if need be.")],
    private: Annotated[bool, typer.Option("--private", help="If it is made.")] = False,
) -> None:
    """Put a model with its card on the Hub, and print its address."""
    from corun.networks import hub

    print(hub.push(model, repository, private=private))
