"""What is set aside before a network sees a picture: uniform frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from corun.dehazing.engines.protocol import SceneAnswer
from corun.pictures.frames import inside_frame
from corun.shapes import Float32


def within_frame(
    scene: Callable[[Float32[np.ndarray, "h w 3"]], SceneAnswer],
    hazy: Float32[np.ndarray, "h w 3"],
) -> SceneAnswer:
    """The scene of what a frame leaves of a picture; the frame stays as it is, its T is 1.

    Args:
        scene: of one picture, as large as it.
        hazy: RGB in [0,1].
    """
    inside = inside_frame(hazy)
    if inside is None:
        return scene(hazy)
    found = scene(np.ascontiguousarray(hazy[inside]))
    whole = hazy.transpose(2, 0, 1)[None].copy()
    whole[..., inside[0], inside[1]] = found.scene
    if found.transmission is None:
        return SceneAnswer(whole, None, found.airlight)
    T = np.ones_like(whole[:, :1])
    T[..., inside[0], inside[1]] = found.transmission
    return SceneAnswer(whole, T, found.airlight)
