"""What can be loaded by name: an explicit table of models and their facts.

Nothing here imports torch before a network is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corun.errors import WeightsError
from corun.files import shipped
from corun.networks.corun_config import CorunConfig


@dataclass(frozen=True)
class ModelCard:
    """Facts about a model that can be loaded by name.

    Attributes:
        name: what it is called.
        summary: one line for people.
        config: hyper-parameters of the CORUN behind it; None where there is no network.
        weights: file name inside the package, or None where nothing is shipped.
        graph: file name, inside the package, of its stages as an ONNX graph, or None.
        trained: whether it is useful without a weights file of the user's.
        supports_half: whether float16 keeps the result.
        supports_bfloat16: whether bfloat16 keeps the result.
        bfloat16_on_cpu: whether it is what a CPU with bfloat16 instructions should use: faster,
            and above 50 dB of the float32 result.
        licence: of the weights.
    """

    name: str
    summary: str
    config: CorunConfig | None
    weights: str | None = None
    graph: str | None = None
    trained: bool = True
    supports_half: bool = False
    supports_bfloat16: bool = True
    bfloat16_on_cpu: bool = False
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


MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(
            name="corun-lite",
            summary="CORUN for CPUs and video: unfolds at a quarter of the size, finishes at full",
            config=LITE_CONFIG,
            weights="corun-lite.safetensors",
            graph="corun-lite.onnx",
        ),
        ModelCard(
            name="corun-base",
            summary="CORUN at the published size: 4 stages, 18.67 M parameters",
            config=BASE_CONFIG,
            trained=False,
        ),
        ModelCard(
            name="dcp",
            summary="dark-channel prior with guided filter, the classical baseline",
            config=None,
            supports_bfloat16=False,
        ),
    )
}
DEFAULT_MODEL = "corun-lite"


def names() -> str:
    """The registered names, for messages."""
    return ", ".join(MODELS)


def require_trained(card: ModelCard) -> None:
    """Refuse a model that is only useful with a file of weights.

    Raises:
        WeightsError: no trained weights are shipped for it.
    """
    if not card.trained:
        raise WeightsError(
            f"{card.name}: no trained weights are shipped for it; give a weights file instead of "
            "the name (corun models convert makes one of a published checkpoint)"
        )


def weights_path(card: ModelCard) -> Path | None:
    """The shipped weights of a model, or None for a model without any.

    Raises:
        WeightsError: the package was installed without the file it names.
    """
    return None if card.weights is None else _shipped(card, card.weights)


def graph_path(card: ModelCard) -> Path | None:
    """The shipped graph of a model, or None for a model without one.

    Raises:
        WeightsError: the package was installed without the file it names.
    """
    return None if card.graph is None else _shipped(card, card.graph)


def _shipped(card: ModelCard, name: str) -> Path:
    path = shipped(name)
    if not path.is_file():
        raise WeightsError(
            f"{path}: a file of {card.name} is missing from this installation; "
            "reinstall corun-dehaze"
        )
    return path
