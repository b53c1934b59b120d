"""The protocol of engines: pictures in, the network's answer out, all of it in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from corun.shapes import Float32

Batch = Float32[np.ndarray, "b 3 h w"]


@dataclass(frozen=True)
class EngineFacts:
    """What the code around an engine has to know.

    Attributes:
        name: "onnx", "openvino", "torch" or "numpy".
        device: where it computes: "cpu", "cuda:0", ….
        dtype: in which precision: "float32", "bfloat16" or "float16".
        gives_maps: whether it answers a working picture with the maps of the full-size step, or a
            picture with a finished scene.
        multiple: of which the sides of what it is given are multiples, pixels.
        working_pixels: pixels above which a picture is reduced for it; 0 for never.
        bytes_per_pixel: what it takes at least, for each pixel it is given.
        learned_frames: whether it was trained on pictures with uniform frames; from the others
            that give finished scenes they are kept away.
        keeps_pictures: whether a photo goes to its device whole and is finished there, though it
            gives maps.
    """

    name: str
    device: str
    dtype: str
    gives_maps: bool
    multiple: int = 1
    working_pixels: int = 0
    bytes_per_pixel: int = 24
    learned_frames: bool = False
    keeps_pictures: bool = False


class MapsAnswer(NamedTuple):
    """What an engine that gives maps says of a batch, on the grid of the cells.

    Attributes:
        gain: a of the full-size step J* = b + a·P, unitless.
        offset: b, RGB.
        transmission: T, unitless, in [0.03, 1].
        airlight: A, RGB, [0,1].
    """

    gain: Float32[np.ndarray, "b 1 h w"]
    offset: Float32[np.ndarray, "b 3 h w"]
    transmission: Float32[np.ndarray, "b 1 h w"]
    airlight: Float32[np.ndarray, "b 3 1 1"]


class SceneAnswer(NamedTuple):
    """What an engine that gives finished scenes says of a batch.

    Attributes:
        scene: J, RGB, nominally in [0,1].
        transmission: T, unitless, or None from a network that estimates none.
        airlight: A, RGB, [0,1], or None.
    """

    scene: Float32[np.ndarray, "b 3 h w"]
    transmission: Float32[np.ndarray, "b 1 h w"] | None
    airlight: Float32[np.ndarray, "b 3 1 1"] | None


@runtime_checkable
class Engine(Protocol):
    """A loaded network; safe to call from several threads at a time."""

    @property
    def facts(self) -> EngineFacts:
        """What the code around it has to know."""

    def run(self, pictures: Batch) -> MapsAnswer | SceneAnswer:
        """The answer for RGB pictures, sRGB-encoded, in [0,1].

        Raises:
            DeviceError: not enough memory, or the device failed.
            NetworkOutputError: the network returned no scene of the batch's shape.
        """

    def take_notes(self) -> tuple[str, ...]:
        """What the user has to be told once, one line each: empty from then on."""
