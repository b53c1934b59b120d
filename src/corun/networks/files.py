"""Where a network's file is: on this disk, or on the Hub; nothing here imports torch.

Downloads go to the Hub's cache, or below the folder that CORUN_HOME names. With HF_HUB_OFFLINE=1
(`corun --offline`) nothing is asked of the Hub, and what was fetched before is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from corun.errors import WeightsError, reason_of
from corun.files import checksum, user_path
from corun.networks.registry import names

HUB_PREFIX = "hf://"
HUB_WEIGHTS, HUB_GRAPH = "model.safetensors", "model.onnx"
"""The files of a repository, or of a folder, that are meant where none is named."""
HUB_CARD = "corun.json"
"""Says what the weights are, and under ``graph`` how the graph is called if otherwise."""
OFFLINE_VARIABLE = "HF_HUB_OFFLINE"


class NotOnHubError(WeightsError):
    """The Hub has no such file."""


@dataclass(frozen=True)
class HubFile:
    """A file on the Hub.

    Attributes:
        repository: "owner/name".
        file: its path there.
        revision: a branch, tag or commit; None: the newest.
    """

    repository: str
    file: str = HUB_WEIGHTS
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubFile:
        """Of hf://owner/name[@revision][/file], also without hf://.

        Raises:
            WeightsError: it is not of that form.
        """
        found = re.fullmatch(
            r"([\w.-]+/[\w.-]+)(?:@([^/@]+))?(?:/(.+))?", text.removeprefix(HUB_PREFIX)
        )
        if found is None:
            raise WeightsError(f"{text}: expected hf://owner/name, @revision and /file if wanted")
        return cls(found[1], found[3] or HUB_WEIGHTS, found[2])


def network_file(text: str) -> Path:
    """The file of that name, of that folder, or of hf://owner/name[@revision][/file].

    Raises:
        WeightsError: there is none, it cannot be read or fetched, or it arrived damaged.
    """
    if text.startswith(HUB_PREFIX):
        return fetch(HubFile.parse(text))
    try:
        path = user_path(text)
        found = path.exists()
        inside = path / HUB_WEIGHTS
        if path.is_dir() and inside.is_file():
            return inside
    except (OSError, RuntimeError, ValueError) as error:
        said = f"{text[:200]}: cannot be read ({reason_of(error)})"
        raise WeightsError(f"{said}; check the name") from error
    if not found:
        raise WeightsError(f"{text}: neither a model's name nor a file; the models are {names()}")
    return path


def graph_file(text: str) -> Path | None:
    """The graph of that folder or repository, for where torch is not used; None of anything else.

    Raises:
        WeightsError: the repository has none, or it cannot be fetched.
    """
    if not text.startswith(HUB_PREFIX):
        folder = user_path(text)
        card = folder / HUB_CARD
        graph = folder / _graph_name(card.read_bytes() if card.is_file() else b"{}")
        return graph if graph.is_file() else None
    wanted = HubFile.parse(text)
    if wanted.file != HUB_WEIGHTS or text.endswith(HUB_WEIGHTS):
        return None
    try:
        name = _graph_name(fetch(replace(wanted, file=HUB_CARD)).read_bytes())
    except WeightsError:  # a repository without a card; whether the Hub answers is seen below
        name = HUB_GRAPH
    try:
        return fetch(replace(wanted, file=name))
    except NotOnHubError as error:
        raise WeightsError(
            f"{text}: has no graph ({name}), and its weights need torch; install it with: pip "
            f"install 'corun-dehaze[torch]', or make a graph where it is: corun export {text} -o "
            f"{HUB_GRAPH}"
        ) from error


def _graph_name(card: bytes) -> str:
    """What a card calls the graph beside it, if that is a plain name."""
    try:
        said = json.loads(card)["graph"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return HUB_GRAPH
    plain = isinstance(said, str) and re.fullmatch(r"\w[\w.-]*\.onnx", said)
    return said if plain else HUB_GRAPH


def offline() -> bool:
    """Whether the Hub is not to be asked."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() in ("1", "true", "yes", "on")


def fetch(wanted: HubFile) -> Path:
    """A file of the Hub in the cache, fetched if need be, its checksum compared.

    Raises:
        WeightsError: it is not there, cannot be fetched, or is damaged.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    home = os.environ.get("CORUN_HOME")
    text = f"{HUB_PREFIX}{wanted.repository}/{wanted.file}"
    try:
        path = Path(
            hf_hub_download(
                wanted.repository,
                wanted.file,
                revision=wanted.revision,
                cache_dir=Path(home).expanduser() / "hub" if home else None,
                local_files_only=offline(),
            )
        )
        stated = path.resolve().name  # in the cache a file is called by its checksum
        if not _is_checksum(stated) and not offline():
            address = hf_hub_url(wanted.repository, wanted.file, revision=wanted.revision)
            stated = get_hf_file_metadata(address).etag or ""
        sound = not _is_checksum(stated) or stated == _digest(path, stated)
        if not sound:
            path.resolve().unlink()
    except LocalEntryNotFoundError as error:
        reason = "it was not fetched before, and" if offline() else "the Hub does not answer, and"
        raise WeightsError(
            f"{text}: {reason} the cache has no copy; fetch it where there is a network"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).splitlines()[0]
        absent = isinstance(error, EntryNotFoundError)
        raise (NotOnHubError if absent else WeightsError)(
            f"{text}: cannot be fetched ({reason}); download it yourself and give the file"
        ) from error
    if not sound:
        raise WeightsError(
            f"{text}: its copy here is damaged (the checksum is not the Hub's) and was removed; "
            "run it again to fetch it anew"
        )
    return path


def _is_checksum(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) is not None


def _digest(path: Path, like: str) -> str:
    """What the Hub names a file by: SHA-256 of large ones, git's SHA-1 of small ones."""
    if len(like) == 64:
        return checksum(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
