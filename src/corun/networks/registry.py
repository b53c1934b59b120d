"""What can be loaded by name: an explicit table of models and their facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from torch import nn

from corun.errors import WeightsError
from corun.networks.corun import CORUN, CorunConfig


@dataclass(frozen=True)
class ModelCard:
    """Facts about a model that can be loaded by name.

    Attributes:
        name: what it is called.
        summary: one line for people.
        build: makes the network with random weights (or none, if it has none).
        multiple: the size multiple the network works at; it pads by itself.
        weights: file name inside the package, or None where nothing is shipped.
        trained: whether it is useful without a weights file of the user's.
        supports_half: whether float16 keeps the result.
        supports_bfloat16: whether bfloat16 keeps the result.
        bfloat16_on_cpu: whether it is what a CPU with bfloat16 instructions should use: faster,
            and above 50 dB of the float32 result.
        tiling_discouraged: whether it pools over the whole picture.
        licence: of the weights.
    """

    name: str
    summary: str
    build: Callable[[], nn.Module]
    multiple: int
    weights: str | None = None
    trained: bool = True
    supports_half: bool = False
    supports_bfloat16: bool = True
    bfloat16_on_cpu: bool = False
    tiling_discouraged: bool = True
    licence: str = "Apache-2.0"


BASE_CONFIG = CorunConfig()
LITE_CONFIG = CorunConfig(
    stages=2,
    dim=32,
    levels=2,
    ffn_expansion=2,
    transmission_step="least_squares",
    cell=4,
    working_pixels=307_200,  # 640×480
)


def _dark_channel() -> nn.Module:
    from corun.networks.dark_channel_network import DarkChannelNetwork

    return DarkChannelNetwork()


MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(
            name="corun-lite",
            summary="CORUN for CPUs and video: unfolds at a quarter of the size, finishes at full",
            build=lambda: CORUN(LITE_CONFIG),
            multiple=16,
            weights="corun-lite.safetensors",
        ),
        ModelCard(
            name="corun-base",
            summary="CORUN at the published size: 4 stages, 18.67 M parameters",
            build=lambda: CORUN(BASE_CONFIG),
            multiple=8,
            trained=False,
        ),
        ModelCard(
            name="dcp",
            summary="dark-channel prior with guided filter, the classical baseline",
            build=_dark_channel,
            multiple=1,
            supports_bfloat16=False,
        ),
    )
}
DEFAULT_MODEL = "corun-lite"


def names() -> str:
    """The registered names, for messages."""
    return ", ".join(MODELS)


def build_model(name: str) -> nn.Module:
    """Make a registered network without loading weights.

    Raises:
        WeightsError: there is no such model, or it is only useful with a file of weights.
    """
    if name not in MODELS:
        raise WeightsError(f"{name}: no such model; the models are {names()}")
    card = MODELS[name]
    if not card.trained:
        raise WeightsError(
            f"{name}: no trained weights are shipped for it; give a weights file instead of the "
            "name (corun models convert makes one of a published checkpoint)"
        )
    return card.build()


def weights_path(card: ModelCard) -> Path | None:
    """The shipped weights of a model, or None for a model without any.

    Raises:
        WeightsError: the package was installed without the file it names.
    """
    if card.weights is None:
        return None
    path = Path(str(files("corun") / "weights" / card.weights))
    if not path.is_file():
        raise WeightsError(
            f"{path}: the weights of {card.name} are missing from this installation; "
            "reinstall corun-dehaze"
        )
    return path
