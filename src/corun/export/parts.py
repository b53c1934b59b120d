"""The two parts of a CORUN that are exported, as modules that can be traced at any size."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import ExportError
from corun.export.brought_part import BroughtPart, TracedPart
from corun.export.picture_geometry import (
    as_number,
    between_cells,
    enlarged_rows_and_columns,
    padding_index,
    side_weights,
    working_sides,
)
from corun.networks.brought import BroughtNetwork
from corun.networks.corun import CORUN, explain

PartName = Literal["whole", "stages"]
PARTS: tuple[str, ...] = get_args(PartName)

LARGEST_SIDE = (1 << 16) - 1
"""Pixels; what the arithmetic of the sizes is declared to hold for."""
LARGEST_BATCH = 1 << 12


class StagesPart(TracedPart):
    """The stages on a working picture: what reduction, padding and the last step go around.

        working → gain, offset, transmission, airlight,

    the :class:`~corun.networks.corun.Maps`; of a network without a step at full size

        working → scene, transmission, airlight.

    Args:
        network: in evaluation mode.
    """

    input_name = "working"

    def __init__(self, network: CORUN) -> None:
        super().__init__()
        self.network = network

    @property
    def output_names(self) -> tuple[str, ...]:
        """Of the results, in their order."""
        if self.network.config.full_size_step:
            return ("gain", "offset", "transmission", "airlight")
        return ("scene", "transmission", "airlight")

    @property
    def multiple(self) -> int:
        """Of which the sides of the input must be multiples, pixels."""
        return self.network.config.multiple

    def forward(self, working: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """RGB, sRGB-encoded, [0,1], its sides multiples of :attr:`multiple` → the results."""
        # As sizes of which nothing is known a program also holds where a map is one cell high; of
        # a side that is no multiple more pixels are asked for than there are, which is an error.
        batch, channels, height, width = working.shape
        working = working.reshape(
            batch, channels, _next_multiple(height, self), _next_multiple(width, self)
        )
        if self.network.config.full_size_step:
            return tuple(self.network.maps(working))
        scene, transmission = self.network(working)
        transmission, airlight = explain(working, scene, transmission)
        return scene.clamp(0.0, 1.0), transmission, airlight

    def scene(
        self, outputs: tuple[Tensor, ...], picture: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 3 h w"]:
        """The clear working picture that results stand for, RGB, [0,1]."""
        if not self.network.config.full_size_step:
            return outputs[0]
        maps = torch.cat(outputs[:2], 1)
        maps = F.interpolate(maps, size=tuple(picture.shape[-2:]), mode="bilinear")
        return (maps[:, 1:] + maps[:, :1] * picture).clamp(0.0, 1.0)

    def dynamic_shapes(self) -> dict[str, Any]:
        """Batch, height and width of the input are free."""
        most = LARGEST_SIDE // self.multiple
        rows = torch.export.Dim("rows", min=1, max=most)
        columns = torch.export.Dim("columns", min=1, max=most)
        batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
        return {self.input_name: {0: batch, 2: self.multiple * rows, 3: self.multiple * columns}}

    def example(self) -> Float[Tensor, "2 3 h w"]:
        """A picture to trace with."""
        return torch.full((2, 3, 5 * self.multiple, 7 * self.multiple), 0.5)

    def output_shapes(self) -> dict[str, tuple[str | int, ...]]:
        """Of each result, with a name for each free size."""
        channels = {"offset": 3, "scene": 3}
        grid = ("cell_rows", "cell_columns")
        if not self.network.config.full_size_step:
            grid = ("height", "width")
        return {
            name: ("batch", 3, 1, 1)
            if name == "airlight"
            else ("batch", channels.get(name, 1), *grid)
            for name in self.output_names
        }


class WholePart(TracedPart):
    """Everything from a picture of any size to the clear picture of that size.

        hazy → scene, transmission, airlight,

    as :meth:`~corun.networks.corun.CORUN.explained`, the scene clamped to [0,1]: padding, the
    reduction of large pictures and the last step are inside.

    Args:
        network: in evaluation mode.
    """

    input_name = "hazy"
    output_names = ("scene", "transmission", "airlight")
    multiple = 1

    def __init__(self, network: CORUN) -> None:
        super().__init__()
        self.network = network

    def forward(self, hazy: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """RGB, sRGB-encoded, [0,1], at least 1×1 → J in [0,1], T in [0.03, 1], A in [0,1]."""
        config = self.network.config
        height, width = hazy.shape[-2:]
        sides = working_sides(
            as_number(height),
            as_number(width),
            limit=config.working_pixels,
            multiple=config.multiple,
        )
        rows = _as_size(sides.rows) * config.multiple
        columns = _as_size(sides.columns) * config.multiple
        if config.working_pixels:
            across = side_weights(width, columns, sides, hazy)
            working = side_weights(height, rows, sides, hazy) @ (hazy @ across.T)
        else:
            working = hazy.index_select(2, padding_index(height, rows, sides.reflected))
            working = working.index_select(3, padding_index(width, columns, sides.reflected))
        if not config.full_size_step:
            scene, transmission = (_first(value, height, width) for value in self.network(working))
            transmission, airlight = explain(hazy, scene, transmission)
            return scene.clamp(0.0, 1.0), transmission, airlight
        gain, offset, transmission, airlight = self.network.maps(working)
        maps = torch.cat((gain, offset, transmission), 1)
        covered_rows = torch.where(sides.reduced, as_number(height), as_number(rows))
        covered_columns = torch.where(sides.reduced, as_number(width), as_number(columns))
        large = enlarged_rows_and_columns(
            maps,
            between_cells(height, maps.shape[2], covered_rows, maps.dtype),
            between_cells(width, maps.shape[3], covered_columns, maps.dtype),
        )
        scene = large[:, 1:4] + large[:, :1] * hazy
        return scene.clamp(0.0, 1.0), large[:, 4:], airlight

    def reference(self, picture: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """What :meth:`forward` must return: the network's own way, which decides by branches."""
        scene, transmission, airlight = self.network.explained(picture)
        return scene.clamp(0.0, 1.0), transmission, airlight

    def dynamic_shapes(self) -> dict[str, Any]:
        """Batch, height and width of the input are free."""
        return {
            self.input_name: {
                0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH),
                2: torch.export.Dim("height", min=1, max=LARGEST_SIDE),
                3: torch.export.Dim("width", min=1, max=LARGEST_SIDE),
            }
        }

    def example(self) -> Float[Tensor, "2 3 h w"]:
        """A picture to trace with."""
        return torch.full((2, 3, 37, 53), 0.5)

    def output_shapes(self) -> dict[str, tuple[str | int, ...]]:
        """Of each result, with a name for each free size."""
        return {
            "scene": ("batch", 3, "height", "width"),
            "transmission": ("batch", 1, "height", "width"),
            "airlight": ("batch", 3, 1, 1),
        }


Part = StagesPart | WholePart | BroughtPart


def part_of(network: nn.Module, part: str, name: str) -> Part:
    """The part of a network that is exported.

    Args:
        network: in evaluation mode.
        part: one of :data:`PARTS`.
        name: of the network, for messages.

    Raises:
        ExportError: there is no such part of this network.
    """
    if part not in PARTS:
        raise ExportError(f"{part}: no such part; the parts are {', '.join(PARTS)}")
    if not isinstance(network, CORUN):
        if part != "whole":
            raise ExportError(f"{name}: has no {part}, which are CORUN's; leave out --part")
        if isinstance(network, BroughtNetwork) and network.square:
            raise ExportError(f"{name}: takes square pictures only, which no other program knows")
        return BroughtPart(network)
    return WholePart(network) if part == "whole" else StagesPart(network)


def _first(value: Float[Tensor, "b c h w"], height: int, width: int) -> Tensor:
    """The upper left of a map; gathered, since a graph does not know that it is large enough."""
    return value.index_select(2, torch.arange(height)).index_select(3, torch.arange(width))


def _next_multiple(length: int, part: StagesPart) -> int:
    return _as_size((as_number(length) + (part.multiple - 1)) // part.multiple) * part.multiple


def _as_size(number: Tensor) -> int:
    """A number of the graph as a size, of which nothing is known but that it is one."""
    size = cast(int, number.item())
    torch._check(size >= 1)  # type: ignore[no-untyped-call]
    torch._check(size <= LARGEST_SIDE)  # type: ignore[no-untyped-call]
    return size
