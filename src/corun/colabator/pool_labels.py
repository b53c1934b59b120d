"""A label and its bytes: scene (8 bits), transmission at half size and weights (16 bits)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corun.colabator.evaluators.protocols import block_count
from corun.colabator.pool_files import PAGE


class Label(NamedTuple):
    """The pool's label of one photo.

    Attributes:
        scene: J*, RGB, [0,1].
        transmission: T̄ at half size, unitless, [0,1]; zeros where the network gives none.
        weights: trusted weights of the blocks, [0,1].
        quality: Q of the scene.
        density: D of the scene, [0,1].
        step: when it was made.
        first_quality: Q of the photo's first label.
        first_density: D of the photo's first label.
        replaced: how often the photo's label was replaced.
    """

    scene: Float[Tensor, "3 s s"]
    transmission: Float[Tensor, "1 t t"]
    weights: Float[Tensor, "1 m m"]
    quality: float
    density: float
    step: int
    first_quality: float
    first_density: float
    replaced: int


class LabelLayout:
    """How the labels of a pool are laid out.

    Args:
        side: height and width of the labels, pixels.
        block: side of the score blocks, pixels.

    Attributes:
        size: bytes of a label.
        stride: bytes from one label to the next: whole pages.
    """

    def __init__(self, side: int, block: int) -> None:
        self.side = side
        self.half = -(-side // 2)
        self.blocks = block_count(side, block)
        self.scene_bytes = 3 * side**2
        self.size = self.scene_bytes + 2 * self.half**2 + 2 * self.blocks**2
        self.stride = -(-self.size // PAGE) * PAGE

    def pack(
        self,
        scene: Float[Tensor, "3 s s"],
        transmission: Float[Tensor, "1 s s"] | None,
        weights: Float[Tensor, "1 m m"],
    ) -> bytes:
        """The bytes of a label; the transmission is averaged over 2×2 pixels.

        Raises:
            ValueError: the sizes are not those of this pool.
        """
        pixels = (scene.detach().float().clamp(0, 1) * 255).round().byte().cpu().contiguous()
        if transmission is None:
            half = torch.zeros(1, self.half, self.half)
        else:
            half = torch.nn.functional.avg_pool2d(
                transmission.detach().float()[None], 2, ceil_mode=True, count_include_pad=False
            )[0]
        pieces = (
            pixels.numpy().tobytes(),
            half.half().cpu().numpy().tobytes(),
            weights.detach().half().cpu().contiguous().numpy().tobytes(),
        )
        data = b"".join(pieces)
        if len(data) != self.size:
            raise ValueError(
                f"a label of this pool is {self.side} pixels square with {self.blocks} blocks a "
                f"side; got {tuple(scene.shape)} and {tuple(weights.shape)}"
            )
        return data

    def unpack(self, data: bytes, record: Any) -> Label:
        """The label that :meth:`pack` made these bytes of, with the scores of its record."""
        side, half, blocks = self.side, self.half, self.blocks
        scene = np.frombuffer(data, np.uint8, 3 * side**2).reshape(3, side, side)
        transmission = np.frombuffer(data, np.float16, half**2, self.scene_bytes)
        weights = np.frombuffer(data, np.float16, blocks**2, self.scene_bytes + 2 * half**2)
        return Label(
            torch.from_numpy(scene.astype(np.float32)) / 255,
            torch.from_numpy(transmission.astype(np.float32)).view(1, half, half),
            torch.from_numpy(weights.astype(np.float32)).view(1, blocks, blocks),
            float(record["quality"]),
            float(record["density"]),
            int(record["step"]),
            float(record["first_quality"]),
            float(record["first_density"]),
            int(record["replaced"]),
        )
