"""What an exported graph says about itself, and what its results mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from corun.dehazing.engines.protocol import Batch, EngineFacts, MapsAnswer, SceneAnswer
from corun.errors import ConfigurationError, NetworkOutputError, WeightsError, reason_of
from corun.files import stand_in
from corun.networks.corun_config import BOUNDS, CorunConfig
from corun.shapes import Float32

FACTS_KEY = "corun"
"""Under which `corun export` keeps the facts about a model, as one JSON text."""

DAMAGE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading damaged facts raises."""
LARGEST_MULTIPLE, MOST_PIXELS = 4096, BOUNDS["working_pixels"][1]

HEAD = 512
"""Bytes that tell a web page or a pointer from a graph."""

MAPS_NAMES = ("gain", "offset", "transmission", "airlight")
SCENE_NAMES = ("scene", "transmission", "airlight")


@dataclass(frozen=True)
class GraphFacts:
    """How a graph is called and read.

    Attributes:
        name: of the model inside.
        input_name: of the one input, RGB (B,3,H,W).
        output_names: of the results that are asked for.
        engine: what an engine says of it, whichever, on whatever device.
    """

    name: str
    input_name: str
    output_names: tuple[str, ...]
    engine: EngineFacts

    def engine_facts(self, engine: str, device: str, dtype: str) -> EngineFacts:
        """What the code around an engine has to know of this graph."""
        return replace(self.engine, name=engine, device=device, dtype=dtype)

    @classmethod
    def read(
        cls, path: str, text: str | None, inputs: Sequence[str], outputs: Sequence[str]
    ) -> GraphFacts:
        """The facts of a graph of ours, or of any with one picture in and one out.

        Args:
            path: of the file, for messages.
            text: what it says under :data:`FACTS_KEY`, or None.
            inputs: the names of its inputs.
            outputs: the names of its outputs.

        Raises:
            WeightsError: it is damaged, or has more than a picture as input.
        """
        if len(inputs) != 1 or not outputs:
            raise WeightsError(
                f"{path}: a graph with {len(inputs)} inputs and {len(outputs)} outputs is no "
                "dehazing network of one picture; make one with corun export"
            )
        if text is None:  # of another program: what comes first is the scene
            return cls(path, inputs[0], (outputs[0],), _any_engine(maps=False))
        try:
            said = json.loads(text)
            part, multiple = said["part"], int(said["multiple"])
            working_pixels, name = int(said["working_pixels"]), str(said["name"])
            config = None if said["config"] is None else CorunConfig(**said["config"])
            if not (1 <= multiple <= LARGEST_MULTIPLE and 0 <= working_pixels <= MOST_PIXELS):
                raise ValueError(f"{multiple}, {working_pixels}")
        except (*DAMAGE, ConfigurationError) as error:
            raise WeightsError(
                f"{path}: what it says about itself is damaged; export the model again"
            ) from error
        if config is None:  # a network that others brought
            return cls(name, inputs[0], tuple(outputs), _any_engine(maps=False, multiple=multiple))
        for names in (MAPS_NAMES, SCENE_NAMES):
            if tuple(outputs) == names:
                maps = names == MAPS_NAMES
                facts = _any_engine(
                    maps=maps,
                    multiple=multiple if part == "stages" else 1,
                    working_pixels=working_pixels if maps else 0,
                    bytes_per_pixel=config.bytes_per_pixel,
                    learned_frames=config.full_size_step,
                )
                return cls(name, inputs[0], names, facts)
        raise WeightsError(
            f"{path}: its results are {', '.join(outputs)}, not {', '.join(MAPS_NAMES)} or "
            f"{', '.join(SCENE_NAMES)}; export the model again"
        )

    def answer(self, results: Sequence[Any], pictures: Batch) -> MapsAnswer | SceneAnswer:
        """The results in their order, as the protocol has them.

        Raises:
            NetworkOutputError: they are no numbers, or not of the shapes that their names mean.
        """
        try:
            arrays = [np.asarray(result, np.float32) for result in results]
        except (ValueError, TypeError) as error:
            raise NetworkOutputError(
                f"{self.name}: its results are no arrays of numbers"
            ) from error
        count, _, height, width = pictures.shape
        if self.engine.gives_maps:
            cells = arrays[0].shape[-2:]
            self._require_shapes(arrays, [(count, c, *cells) for c in (1, 3, 1)])
            self._require_shapes(arrays[3:], [(count, 3, 1, 1)])
            return MapsAnswer(*arrays)
        if arrays[0].shape != pictures.shape:
            raise NetworkOutputError(
                f"{self.name}: must return a clear batch of shape {pictures.shape}; "
                f"it returned {arrays[0].shape}"
            )
        self._require_shapes(arrays[1:], [(count, 1, height, width), (count, 3, 1, 1)])
        return SceneAnswer(arrays[0], *[*arrays[1:3], None, None][:2])

    def _require_shapes(
        self, arrays: Sequence[Float32[np.ndarray, "..."]], shapes: Sequence[tuple[int, ...]]
    ) -> None:
        for array, shape in zip(arrays, shapes, strict=False):
            if array.shape != shape:
                raise NetworkOutputError(
                    f"{self.name}: returned {array.shape} where {shape} belongs; export it again"
                )


def _any_engine(*, maps: bool, **facts: Any) -> EngineFacts:
    return EngineFacts("", "", "", maps, **facts)


def require_any_size(path: str, floats: bool, shape: Sequence[Any]) -> None:
    """Refuse a graph that does not take photos of any size.

    Args:
        path: of the file, for messages.
        floats: whether its input is float32.
        shape: of its input; what is free is no integer.

    Raises:
        WeightsError: it takes other inputs, or one size alone.
    """
    if (
        not floats
        or (shape and len(shape) != 4)
        or (shape and isinstance(shape[1], int) and shape[1] not in (3, -1))
    ):
        raise WeightsError(
            f"{path}: takes no batch of RGB pictures (B,3,H,W) in float32, and is no dehazing "
            "network; make one with corun export"
        )
    fixed = [side for side in shape[2:] if isinstance(side, int) and side > 0]
    if fixed:
        raise WeightsError(
            f"{path}: takes pictures of {' x '.join(map(str, fixed))} only; export it with free "
            "height and width, as corun export does"
        )


def refusal(path: Path) -> str | None:
    """What a file is that no runtime reads, and what to do; None where it may be a graph."""
    try:
        with path.open("rb") as stream:
            instead = stand_in(stream.read(HEAD))
    except FileNotFoundError:
        return f"{path}: no such file"
    except OSError as error:
        return f"{path}: cannot be read ({reason_of(error)}); check what it is"
    weights = path.with_suffix(".bin")
    if instead is None and path.suffix.lower() == ".xml" and not weights.is_file():
        return f"{path}: its weights are missing; {weights.name} belongs beside it"
    return None if instead is None else f"{path}: {instead}"
