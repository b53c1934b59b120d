"""A small unfolding network behind the dehazer."""

from __future__ import annotations

import pytest
import torch

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import from_network
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig


@pytest.fixture(scope="session")
def tiny() -> Dehazer:
    torch.manual_seed(0)
    config = CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=1)
    return from_network(CORUN(config), name="tiny", device="cpu")
