"""What travels to a device and back; no GPU is needed, and none is run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.engines import torch_engine
from corun.dehazing.engines.torch_engine import TorchEngine
from corun.networks.corun import CORUN, CorunConfig, Maps


def test_only_the_working_picture_goes_to_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A film's frame, of any size, stays where it is; the device is torch's that has no memory."""
    monkeypatch.setattr(torch_engine, "choose_device", lambda name: torch.device("meta"))
    torch.manual_seed(0)
    config = CorunConfig(
        stages=1, dim=4, levels=1, ffn_expansion=1, transmission_step="least_squares", cell=4,
        working_pixels=64 * 48,
    )  # fmt: skip
    network = CORUN(config)
    went: list[tuple[str, tuple[int, ...]]] = []

    def maps(working: torch.Tensor) -> Maps:
        went.append((working.device.type, tuple(working.shape)))
        height, width = (side // config.cell for side in working.shape[-2:])
        found = torch.full((1, 1, height, width), 2.0), torch.full((1, 3, height, width), -0.5)
        return Maps(*found, torch.ones(1, 1, height, width), torch.ones(1, 3, 1, 1))

    monkeypatch.setattr(network, "maps", maps)
    dehazer = Dehazer(TorchEngine(network), name="toy", threads=1)
    assert dehazer.gives_maps
    frame = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    clear = dehazer(frame).image
    (where, shape) = went[0]
    assert (where, len(went)) == ("meta", 1)
    assert shape[2] * shape[3] < 1.2 * config.working_pixels
    expected = np.clip(np.rint(2 * frame.astype(np.float32) - 127.5), 0, 255)
    assert np.abs(np.asarray(clear).astype(int) - expected).max() <= 1
