"""CORUN as an architecture of spandrel, so that chaiNNer and others load our weights files.

    import corun.integrations.spandrel
    corun.integrations.spandrel.register()
    spandrel.ModelLoader().load_from_file("model.safetensors")

spandrel hands over tensors without a file's header, so the hyper-parameters are read off their
shapes. One leaves no trace there: how many pixels the stages of a network with a full-size step
see; it is taken to be what `corun-lite` has.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from corun.errors import MissingExtraError, WeightsError
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.networks.published_layout import build_filled, is_published, load_published
from corun.networks.registry import LITE_CONFIG

try:
    from spandrel import (
        MAIN_REGISTRY,
        Architecture,
        ArchSupport,
        ImageModelDescriptor,
        ModelTiling,
        SizeRequirements,
    )
except ImportError as error:
    raise MissingExtraError("spandrel", "spandrel") from error

FIRST_PRIOR = "unfolding.0.scene_prior"
EMBEDDING = f"{FIRST_PRIOR}.embedding.weight"
EXPAND = f"{FIRST_PRIOR}.encoder.0.ffn.expand.weight"
PUBLISHED = "first.dehaze_net.embedding.weight"


class CorunArchitecture(Architecture[CORUN]):  # type: ignore[misc]
    """CORUN, in our layout and in the published one."""

    def __init__(self) -> None:
        super().__init__(id="CORUN", name="CORUN", detect=detected)

    def load(self, state_dict: Mapping[str, Tensor]) -> ImageModelDescriptor[CORUN]:
        """The network behind spandrel's call: RGB in [0,1], (B,3,H,W), to the clear scene.

        Raises:
            WeightsError: the tensors do not fit CORUN.
        """
        if is_published(state_dict):
            network = load_published(state_dict, "the file")
        else:
            network = build_filled(inferred_config(state_dict), state_dict, "the file")
        return ImageModelDescriptor(
            network,
            state_dict,
            architecture=self,
            purpose="Restoration",
            tags=[f"{network.config.stages} stages", f"{network.config.dim}dim"],
            supports_half=False,
            supports_bfloat16=True,
            scale=1,
            input_channels=3,
            output_channels=3,
            size_requirements=SizeRequirements(),
            tiling=ModelTiling.DISCOURAGED,
            call_fn=lambda model, image: model(image).scene,
        )


def detected(state_dict: Mapping[str, object]) -> bool:
    """Whether the names are those of a CORUN."""
    return {EMBEDDING, EXPAND} <= state_dict.keys() or PUBLISHED in state_dict


def inferred_config(state: Mapping[str, Tensor]) -> CorunConfig:
    """Hyper-parameters from the names and shapes of our layout.

    A scene prior sees Ĵ, T and what averages over r×r cells lost: 3 + 1 + 3r² channels, 4 without.

    Raises:
        WeightsError: no CORUN has these shapes.
    """
    dim, channels = state[EMBEDDING].shape[:2]
    cell = isqrt((channels - 4) // 3) if channels > 4 else 1
    if channels not in (4, 4 + 3 * cell**2) or dim < 1:
        raise WeightsError(f"the file: {EMBEDDING} of {channels} channels is no CORUN's")
    encoder = f"{FIRST_PRIOR}.encoder."
    return CorunConfig(
        stages=len({name.split(".")[1] for name in state if name.startswith("unfolding.")}),
        dim=dim,
        levels=len({n[len(encoder) :].split(".")[0] for n in state if n.startswith(encoder)}),
        ffn_expansion=state[EXPAND].shape[0] // dim,
        transmission_step="least_squares" if cell > 1 else "paper",
        cell=cell,
        working_pixels=LITE_CONFIG.working_pixels if "log_gamma" in state else 0,
    )


def register() -> None:
    """Makes CORUN known to spandrel's main registry; a second call does nothing."""
    architecture = CorunArchitecture()
    if architecture.id not in {support.architecture.id for support in MAIN_REGISTRY}:
        MAIN_REGISTRY.add(ArchSupport.from_architecture(architecture))
