"""The public calls: `corun.dehaze`, `corun.load` and `corun.list_models`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from corun.dehazing.dehazed import Dehazed, Pixels
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.devices import choose_device
from corun.networks.checkpoints import load_network
from corun.networks.registry import DEFAULT_MODEL, MODELS


def load(
    name_or_path: str | Path = DEFAULT_MODEL, *, device: str = "auto", dtype: str = "auto"
) -> Dehazer:
    """Loads a network once, to be called on many pictures.

    Args:
        name_or_path: a name of `list_models`, a weights file (.safetensors or a published .pth),
            or hf://owner/repository/file.
        device: "auto" (the first of CUDA, Apple GPU and CPU that is there), "cpu", "cuda",
            "cuda:1", "mps".
        dtype: "auto", "float32", "bfloat16" or "float16".

    Raises:
        WeightsError: no such model, or the file is unreadable or of another layout.
        DeviceError: the device or precision is not available.
    """
    chosen = choose_device(device)
    loaded = load_network(name_or_path, device=chosen)
    return Dehazer(
        loaded.network, name=loaded.name, card=loaded.card, device=str(chosen), dtype=dtype
    )


def dehaze(
    image: str | Path | Pixels,
    model: str | Path = DEFAULT_MODEL,
    *,
    strength: float = 1.0,
    device: str = "auto",
    dtype: str = "auto",
) -> Dehazed:
    """Removes the haze from one picture.

    Size, type and range come out as they went in; see `Dehazer.__call__` for what is accepted.
    A registered model stays loaded between calls; for a weights file use `load` once.

    Args:
        image: a path, a Pillow image, an array (H,W) or (H,W,C), or a tensor (H,W), (C,H,W) or
            (B,C,H,W), C from 1 to 4.
        model: a name of `list_models`, or a weights file.
        strength: how much of the haze goes, 0 (none) to 1.
        device: where to compute; "auto", "cpu", "cuda", "mps".
        dtype: in which precision; "auto", "float32", "bfloat16", "float16".

    Raises:
        CorunError: the picture, the model or the device cannot be used; the message says why.
    """
    dehazer = (
        _registered(str(model), device, dtype)
        if str(model) in MODELS
        else load(model, device=device, dtype=dtype)
    )
    return dehazer(image, strength=strength)


def list_models() -> dict[str, str]:
    """The models that `load` knows by name, each with a line about it."""
    return {name: card.summary for name, card in MODELS.items() if card.trained}


@lru_cache(maxsize=2)
def _registered(name: str, device: str, dtype: str) -> Dehazer:
    return load(name, device=device, dtype=dtype)
