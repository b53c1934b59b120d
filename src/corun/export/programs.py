"""Tracing: a part as a torch.export program that holds at any size."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from corun.dehazing.engines.graph_facts import FACTS_KEY
from corun.export.exported import Exported, Facts
from corun.export.parts import Part


class HalfStored(nn.Module):
    """A part whose weights are stored as float16 and widened to float32 as they are used.

    Args:
        part: left as it is.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part = (part,)  # in a tuple, so that its own weights are no weights of this
        self._names: dict[str, str] = {}
        for name, weight in part.named_parameters():
            key = name.replace(".", "_")
            self._names[name] = key
            self.register_buffer(key, weight.detach().half())

    def forward(self, picture: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """As the part's."""
        weights = {name: getattr(self, key).float() for name, key in self._names.items()}
        results: tuple[Tensor, ...] = torch.func.functional_call(self._part[0], weights, (picture,))
        return results


def trace(part: Part, *, half: bool = False) -> torch.export.ExportedProgram:
    """The part as a program of free batch, height and width.

    Args:
        part: in evaluation mode, on the CPU.
        half: whether its weights are stored as float16.
    """
    shapes = part.dynamic_shapes()
    module: nn.Module = HalfStored(part).eval() if half else part
    shape = shapes[part.input_name]
    with torch.no_grad(), quiet():
        return torch.export.export(module, (part.example(),), dynamic_shapes=(shape,), strict=False)


def torch_program(part: Part, facts: Facts, *, half: bool) -> Exported:
    """A part as ``torch.export`` saves it (.pt2), with the facts as an extra file."""
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(
            trace(part, half=half), buffer, extra_files={f"{FACTS_KEY}.json": json.dumps(facts)}
        )
        content = buffer.getvalue()
        module = torch.export.load(io.BytesIO(content)).module()

    def run(picture: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return tuple(module(picture))

    return Exported({".pt2": content}, run)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch's exporters say of their own internals and of packages they could use."""
    import logging

    logger: Any = logging.getLogger("torch.onnx._internal.exporter")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
