"""Weights of the published layout, filled by the fixture's rule."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import numpy as np
import torch

from corun.networks.corun import CORUN


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


def published_names(network: CORUN) -> dict[str, torch.Tensor]:
    """A tiny network under published names, by inverting the translation."""
    stages = network.config.stages
    parts = {0: "first", stages - 1: "last", **{k: f"basic.{k - 1}" for k in range(1, stages - 1)}}
    inner = {
        "lam": "trans_prox.step_lambda",
        "gamma": "dehaze_prox.step_lambda",
        "transmission_prior.": "trans_net.",
        "scene_prior.": "dehaze_net.",
        "bottleneck.": "bottleneck.blocks.0.",
        "attention.position_in.": "0.pos_emb.0.",
        "attention.position_out.": "0.pos_emb.2.",
        "attention.": "0.",
        "ffn.expand.": "1.fn.net.0.",
        "ffn.depthwise.": "1.fn.net.2.",
        "ffn.project.": "1.fn.net.4.",
        ".norm.": ".1.norm.",
    }
    result = {}
    for name, tensor in network.state_dict().items():
        _, number, rest = name.split(".", 2)
        rest = re.sub(r"encoder\.(\d+)\.", r"encoder_layers.\1.0.blocks.0.", rest)
        rest = re.sub(r"decoder\.(\d+)\.", r"decoder_layers.\1.2.blocks.0.", rest)
        rest = re.sub(r"down\.(\d+)\.", r"encoder_layers.\1.1.body.0.", rest)
        rest = re.sub(r"up\.(\d+)\.", r"decoder_layers.\1.0.body.0.", rest)
        rest = re.sub(r"fuse\.(\d+)\.", r"decoder_layers.\1.1.", rest)
        for ours, theirs in inner.items():
            if ours in ("lam", "gamma"):
                rest = theirs if rest == ours else rest
            else:
                rest = rest.replace(ours, theirs, 1)
        result[f"{parts[int(number)]}.{rest}"] = tensor
    return result
