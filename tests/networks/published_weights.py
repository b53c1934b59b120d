"""Weights of the published layout, filled by the fixture's rule."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch


def published_state(fixtures: Path, stages: int = 4) -> dict[str, torch.Tensor]:
    """The state dict whose outputs ``official_corun_io.npz`` holds."""
    layout = json.loads((fixtures / "official_corun_state_dict.json").read_text())
    dropped = tuple(f"basic.{i}." for i in range(stages - 2, 2))
    return {
        name: filled(name, shape)
        for name, shape in layout.items()
        if not name.startswith(dropped or ("-",))
    }


def filled(name: str, shape: list[int]) -> torch.Tensor:
    """One tensor by the rule."""
    n = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("step_lambda"):
        values = 0.55 + 0.05 * n
    elif name.endswith(("rescale", "norm.weight")):
        values = 1 + 0.1 * n
    elif name.endswith("bias"):
        values = 0.05 * n
    else:
        values = 0.7 * n / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))
