"""torch as an engine: GPUs, published checkpoints, networks that are not exported."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn

from corun.dehazing.engines.protocol import (
    Batch,
    EngineFacts,
    MapsAnswer,
    SceneAnswer,
)
from corun.dehazing.engines.torch_devices import choose_device, dtype_from_name
from corun.networks.corun import CORUN
from corun.networks.outputs import NetworkOutput, read_output
from corun.networks.reduction import pad_to_multiple
from corun.networks.registry import ModelCard


class TorchEngine:
    """A module run by torch.

    A CORUN with a full-size step gives maps. On a GPU a photo goes to the device whole, is reduced
    and finished there and comes back once; on a CPU, and for frames of films and photos that the
    device has no memory for, only the working picture goes to the network and only maps of its
    cells come back. Of other networks the whole picture goes there, and the scene comes back.

    Args:
        network: maps RGB in [0,1], (B,3,H,W), to anything that
            :func:`corun.networks.outputs.read_output` reads as a clear scene of that shape and
            perhaps a transmission; a NamedTuple or mapping may have an `airlight` (B,3,1,1) too.
        name: what to call it in messages.
        size_multiple: height and width the network accepts are multiples of this.
        card: facts about the network, for one of the registered models.
        device: "auto", "cpu", "cuda", "cuda:1", "mps", "xpu".
        dtype: "auto", "float32", "bfloat16" or "float16" (mixed precision, by autocast).

    Raises:
        DeviceError: the device or precision is not available.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str = "custom",
        size_multiple: int = 1,
        card: ModelCard | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.dtype = dtype_from_name(dtype, self.device, card)
        self.name, self._size_multiple = name, size_multiple
        self.network = network.to(self.device).eval()
        config = network.config if isinstance(network, CORUN) else None
        maps = config is not None and config.full_size_step
        self.facts = EngineFacts(
            "torch",
            str(self.device),
            str(self.dtype).removeprefix("torch."),
            gives_maps=maps,
            multiple=config.multiple if config and maps else size_multiple,
            working_pixels=config.working_pixels if config and maps else 0,
            bytes_per_pixel=config.bytes_per_pixel if config else 24,
            learned_frames=config is not None and config.full_size_step,
            keeps_pictures=maps and self.device.type != "cpu",
        )

    def run(self, pictures: Batch) -> MapsAnswer | SceneAnswer:
        """See the protocol."""
        batch = torch.from_numpy(pictures)
        if self.facts.gives_maps:
            network = self.network
            assert isinstance(network, CORUN)
            with torch.no_grad(), self._precision():
                maps = network.maps(batch.to(self.device))
            return MapsAnswer(*(value.float().cpu().numpy() for value in maps))
        found, airlight = self.estimate(batch)
        scene, transmission = (None if v is None else v.cpu().numpy() for v in found)
        assert scene is not None
        return SceneAnswer(
            scene, transmission, None if airlight is None else airlight.cpu().numpy()
        )

    def estimate(
        self, hazy: Float[Tensor, "b 3 h w"]
    ) -> tuple[NetworkOutput, Float[Tensor, "b 3 1 1"] | None]:
        """Scene and transmission, and the airlight where the network has one.

        Args:
            hazy: P, RGB, sRGB-encoded, in [0,1], on any device.

        Returns:
            float32 on the engine's device; nothing is clamped.
        """
        height, width = hazy.shape[-2:]
        working = hazy.to(self.device, torch.float32)
        with torch.no_grad():
            padded = pad_to_multiple(working, self._size_multiple)
            with self._precision():
                network = self.network
                output = (
                    network.explained(padded) if isinstance(network, CORUN) else network(padded)
                )
            scene, transmission = read_output(output, padded, strict=False)
            airlight = _airlight(output)
            if transmission is not None:
                transmission = transmission[..., :height, :width].float()
            return (
                NetworkOutput(scene[..., :height, :width].float(), transmission),
                None if airlight is None else airlight.float(),
            )

    def take_notes(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def _precision(self) -> torch.autocast | nullcontext[None]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def _airlight(output: object) -> Float[Tensor, "b 3 1 1"] | None:
    """The airlight (B,3,1,1), from a network that names one."""
    found = (
        output.get("airlight") if isinstance(output, dict) else getattr(output, "airlight", None)
    )
    fits = isinstance(found, Tensor) and found.ndim == 4 and found.shape[1:] == (3, 1, 1)
    return found if fits else None
