"""Networks on the Hub: a repository has the weights, their card, and the graph if there is one.

Nothing here imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corun.errors import CorunError, WeightsError
from corun.files import checksum, write_atomically
from corun.networks.files import (
    HUB_CARD,
    HUB_GRAPH,
    HUB_WEIGHTS,
    HubFile,
    network_file,
    offline,
)
from corun.networks.registry import MODELS, graph_path, require_trained, weights_path

TAG = "corun-dehaze"
"""What marks a repository of ours."""


@dataclass(frozen=True)
class RemoteModel:
    """A repository of ours on the Hub.

    Attributes:
        address: hf://owner/name.
        revision: its newest commit.
        downloads: of the last month, as the Hub counts.
    """

    address: str
    revision: str
    downloads: int


def remote_models(author: str | None = None) -> Iterator[RemoteModel]:
    """The repositories on the Hub that are marked as corun's.

    Raises:
        WeightsError: the Hub does not answer.
    """
    from huggingface_hub import HfApi

    with _asking("the list of models"):
        for found in HfApi().list_models(filter=TAG, author=author):
            yield RemoteModel(f"hf://{found.id}", found.sha or "", found.downloads or 0)


def write_folder(model: str | Path, folder: Path) -> None:
    """What a repository holds, as a folder: weights, card, README, graph.

    Args:
        model: a registered model with weights, or a file of ours.
        folder: where to; it is made.

    Raises:
        WeightsError: the model has no weights, its file is none of ours, or the folder cannot be
            written.
    """
    registered = MODELS.get(str(model))
    files: dict[str, bytes] = {}
    try:
        if registered is not None:
            require_trained(registered)
            source, graph = weights_path(registered), graph_path(registered)
            if source is None:
                raise WeightsError(f"{model}: has no weights to share")
            card = json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))
            if graph is not None:
                files[HUB_GRAPH] = graph.read_bytes()
                card["graph"] = HUB_GRAPH
        else:
            source = network_file(str(model))
            card = _card_of(source)
        files[HUB_WEIGHTS] = source.read_bytes()
        card["sha256"] = checksum(files[HUB_WEIGHTS])
        files[HUB_CARD] = json.dumps(card, indent=2, ensure_ascii=False).encode()
        files["README.md"] = model_card(card).encode()
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written ({error.strerror or error})") from error


def push(model: str | Path, repository: str, *, private: bool = False) -> str:
    """Put a model on the Hub, as one commit; returns its address with the commit.

    Args:
        model: see `write_folder`.
        repository: owner/name, with or without hf://, and @branch if wanted; made if need be.
        private: whether a new repository is.

    Raises:
        WeightsError: see `write_folder`, or the Hub refuses.
    """
    from tempfile import TemporaryDirectory

    from huggingface_hub import HfApi

    target = HubFile.parse(repository)
    if offline():
        raise WeightsError(f"{repository}: nothing is sent while offline; leave out --offline")
    with TemporaryDirectory() as folder, _asking(repository):
        write_folder(model, Path(folder))
        api = HfApi()
        api.create_repo(target.repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=target.repository,
            folder_path=folder,
            revision=target.revision,
            commit_message="Weights and card, by corun",
        )
    return f"hf://{target.repository}@{commit.oid}"


def model_card(card: dict[str, Any]) -> str:
    """The README of a repository, written from the weights' own card."""
    name = str(card.get("name", "CORUN"))
    licence = str(card.get("licence", "other"))
    known = MODELS.get(name)
    summary = known.summary if known is not None else "a CORUN dehazing network"
    front = {
        "license": licence.lower() if licence not in ("other", "unknown") else "other",
        "library_name": TAG,
        "pipeline_tag": "image-to-image",
        "tags": [TAG, "dehazing", "image-restoration"],
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---"]
    lines += ["", f"# {name}", "", summary, "", "    pip install corun-dehaze", ""]
    lines += ["```python", "import corun", ""]
    lines += ['corun.load("hf://OWNER/NAME")("photo.jpg").save("clear.jpg")', "```", ""]
    for key, value in card.items():
        if key not in ("name", "licence", "scores"):
            lines += _section(key, value)
    for photos, scores in card.get("scores", {}).items():
        if isinstance(scores, dict):
            shown = {k: v for k, v in scores.items() if isinstance(v, int | float | str)}
            lines += [
                f"## {photos}",
                "",
                "| " + " | ".join(shown) + " |",
                "|---" * len(shown) + "|",
            ]
            lines += ["| " + " | ".join(map(str, shown.values())) + " |", ""]
    return "\n".join(lines)


def _section(key: str, value: Any) -> list[str]:
    title = f"**{key.replace('_', ' ')}**"
    if isinstance(value, list):
        return [title, "", *(f"- {entry}" for entry in value), ""]
    if isinstance(value, dict):
        return [title + ": " + ", ".join(f"{k} {v}" for k, v in value.items()), ""]
    return [f"{title}: {value}", ""]


def _card_of(path: Path) -> dict[str, Any]:
    """What the header of a file of ours says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as opened:
            card = json.loads((opened.metadata() or {})["corun"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: is no weights file of corun; make one with corun models convert"
        ) from error
    return {"name": path.stem, "licence": "other", **card}


@contextmanager
def _asking(name: str) -> Iterator[None]:
    """Turns what the Hub refuses into one line."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        remedies = {401: "log in with `hf auth login`", 403: "check the rights of your token"}
        raise WeightsError(
            f"{name}: the Hub refuses ({str(error).splitlines()[0]}); "
            f"{remedies.get(status, 'check the name')}"
        ) from error
    except CorunError:
        raise
    except Exception as error:  # those of the client under huggingface_hub, which changes
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(
            f"{name}: cannot be had from the Hub ({reason}); check the name and the network"
        ) from error
