"""Tiny networks of seeded random weights, and a file of each kind, made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from corun.export import ExportReport, export_model
from corun.networks.checkpoints import save_network
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig


@contextmanager
def shapes_unchecked() -> Iterator[None]:
    """Shapes are not checked while tracing: a check is a branch on a size."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(autouse=True)
def _shapes_unchecked() -> Iterator[None]:
    with shapes_unchecked():
        yield


def tiny(**settings: int) -> CORUN:
    """A CORUN of a few hundred weights."""
    torch.manual_seed(0)
    config = CorunConfig(
        stages=1, dim=4, levels=1, ffn_expansion=1, transmission_step="least_squares", **settings
    )
    return CORUN(config).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def cells() -> CORUN:
    """With cells and a working size, as corun-lite; its sides are multiples of 4."""
    return tiny(cell=2, working_pixels=2000)


@pytest.fixture(scope="session")
def plain() -> CORUN:
    """Without a step at full size, as corun-base; its sides are multiples of 2."""
    return tiny()


@pytest.fixture(scope="session")
def weights(cells: CORUN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(path, cells)
    return path


@pytest.fixture(scope="session")
def whole_onnx(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    with shapes_unchecked():
        return export_model(weights, tmp_path_factory.mktemp("whole") / "whole.onnx")


@pytest.fixture(scope="session")
def stages_onnx(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """With half-precision weights."""
    path = tmp_path_factory.mktemp("stages") / "stages.onnx"
    with shapes_unchecked():
        return export_model(weights, path, part="stages", precision="float16")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four smooth pictures."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(4):
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(60, 230, (4, 5, 3), dtype=np.uint8))
        coarse.resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"{seed}.png")
    return folder
