"""Where a network's file is: on this disk, or on the Hub; nothing here imports torch."""

from __future__ import annotations

from pathlib import Path

from corun.errors import WeightsError
from corun.files import user_path
from corun.networks.registry import names

HUB_PREFIX = "hf://"


def network_file(text: str) -> Path:
    """The file of that name, or of hf://owner/repository/file, fetched into the Hub's cache.

    Raises:
        WeightsError: there is none, or it cannot be read or fetched.
    """
    if text.startswith(HUB_PREFIX):
        return _from_hub(text)
    try:
        path = user_path(text)
        found = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise WeightsError(f"{text[:200]}: cannot be read ({reason}); check the name") from error
    if not found:
        raise WeightsError(f"{text}: neither a model's name nor a file; the models are {names()}")
    return path


def _from_hub(text: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    parts = text.removeprefix(HUB_PREFIX).split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise WeightsError(f"{text}: expected hf://owner/repository/file")
    try:
        return Path(hf_hub_download("/".join(parts[:2]), parts[2]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{text}: cannot be fetched ({reason}); download it yourself and give the file"
        ) from error
