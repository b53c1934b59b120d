"""A network that others bring as a module that can be traced, where its own code allows it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from corun.networks.brought import BroughtNetwork
from corun.networks.outputs import read_output

FEWEST_PIXELS = 16
"""Of a side, at least: below, other networks branch (paddings do not fit)."""
LARGEST_SIDE = 1 << 13
"""Pixels; what the arithmetic of the sizes is declared to hold for."""


class TracedPart(nn.Module):
    """What is exported: a module of one picture, whose first result is the clear picture."""

    def reference(self, picture: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """What the exported :meth:`forward` must return, run by torch."""
        return self(picture)  # type: ignore[no-any-return]

    def scene(
        self, outputs: tuple[Tensor, ...], picture: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 3 h w"]:
        """The clear picture that results stand for, RGB, [0,1]."""
        del picture
        return outputs[0]


class BroughtPart(TracedPart):
    """A picture to the clear picture of the same size, in [0,1].

        hazy → scene, and transmission where the network returns one.

    What is around the network in torch (padding) is left to the program that runs the graph.

    Args:
        network: in evaluation mode.
    """

    input_name = "hazy"

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        brought = network if isinstance(network, BroughtNetwork) else None
        self.multiple = 1 if brought is None else brought.multiple
        self.least = max(FEWEST_PIXELS, 0 if brought is None else brought.minimum)
        with torch.no_grad():
            found = read_output(network(self.example()), self.example(), strict=False)
        self.output_names = ("scene",) if found.transmission is None else ("scene", "transmission")

    def forward(self, hazy: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """RGB, sRGB-encoded, [0,1], its sides multiples of `multiple` → the results."""
        if isinstance(self.network, BroughtNetwork):
            scene, transmission = self.network.unpadded(hazy)
        else:
            scene, transmission = read_output(self.network(hazy), hazy, strict=False)
        scene = scene.clamp(0.0, 1.0)
        return (scene,) if transmission is None else (scene, transmission)

    def check_sizes(self) -> list[tuple[int, int, int]]:
        """Batch, height and width of four pictures to check with."""
        m = self.multiple
        least = -(-self.least // m)
        sizes = [(1, least, least), (1, least + 1, least + 2), (2, least + 3, least)]
        return [(b, h * m, w * m) for b, h, w in (*sizes, (1, 6 * least, 8 * least))]

    def dynamic_shapes(self) -> dict[str, Any]:
        """Batch, height and width of the input are free."""
        m = self.multiple
        least, most = -(-self.least // m), LARGEST_SIDE // m
        rows = torch.export.Dim("rows", min=least, max=most)
        columns = torch.export.Dim("columns", min=least, max=most)
        batch = torch.export.Dim("batch", min=1, max=1 << 12)
        return {self.input_name: {0: batch, 2: m * rows, 3: m * columns}}

    def example(self) -> Float[Tensor, "2 3 h w"]:
        """A picture to trace with."""
        sides = [self.multiple * (number + -(-self.least // self.multiple)) for number in (3, 5)]
        return torch.full((2, 3, *sides), 0.5)

    def output_shapes(self) -> dict[str, tuple[str | int, ...]]:
        """Of each result, with a name for each free size."""
        channels = {"scene": 3, "transmission": 1}
        return {name: ("batch", channels[name], "height", "width") for name in self.output_names}
