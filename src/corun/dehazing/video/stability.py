"""The maps of a film's frames, made steady over time without lagging behind it.

A network that looks at each frame alone answers the noise and the drift of the haze with maps that
flicker. What stands still in the world is the scene J = b + a·P′, seen through changing haze, so J
and the gain a are averaged along the motion, from R frames before to R frames after (J and T of
the stages make both: a = T/(T² + γ), b = J − a·P′):

    J̃_t(x) = Σ_k w_k(x)·J_{t+k}(φ_k(x)) / Σ_k w_k(x),   ã_t alike,   k = −R … R,
    w_k(x) = (R + 1 − |k|) · Π_{j=1..|k|} exp(−(e_j(x)/τ)²),
    e_j(x) = mean over 3×3 cells and colours of |P′_{t±j}(φ_{±j}(x)) − P′_t(x)|,
    b̃_t = J̃_t − ã_t·P′_t.

φ_k leads along the optical flow from frame to frame to where the cell x is in frame t+k; w_k is 0
where that is outside, and beyond a cut. The window is even-handed, so that what changes steadily is
neither early nor late; where the picture does not move along (something comes into view, a light
goes on), e exceeds τ and the frame stands for itself. b̃ is made with the frame's own P′, so that
the result is J̃_t where the cells are looked at, and the camera's noise in P′_t cancels there.

A frame may have no maps of its own: it is then made of its neighbours', and the network need not
look at every one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np

from corun.dehazing.maps import FrameMaps
from corun.dehazing.video.motion import Motion, Small, moved_along, positions
from corun.shapes import Float32

Payload = TypeVar("Payload")

TOLERANCE = 0.08
"""τ, in units of P′."""
_LEAST_WEIGHT = 1e-6
"""Of any map inside the picture, so that a frame without maps has some at every cell."""


@dataclass
class Look(Generic[Payload]):
    """A frame on its way through the filter.

    Attributes:
        payload: what is to be cleared with the maps.
        small: of the frame.
        motion: from the frame before, None for the first.
        maps: of the network, None where it did not look.
    """

    payload: Payload
    small: Small
    motion: Motion | None
    maps: FrameMaps | None

    @property
    def begins(self) -> bool:
        """Whether it is the first frame of a scene."""
        return self.motion is None or self.motion.cut


@dataclass
class _Kept(Generic[Payload]):
    """A look with J and a stacked, (h,w,4), a first, once for all frames that use it."""

    look: Look[Payload]
    values: Float32[np.ndarray, "h w 4"] | None

    @classmethod
    def of(cls, look: Look[Payload]) -> _Kept[Payload]:
        if look.maps is None:
            return cls(look, None)
        values = look.maps.coefficients.copy()
        values[..., 1:] += values[..., :1] * look.small.cells
        return cls(look, values)


def steadied(
    looks: Iterable[Look[Payload]], *, behind: int, ahead: int
) -> Generator[tuple[Payload, FrameMaps], None, None]:
    """The frames with their steady maps, in order.

    Args:
        looks: successive frames; the first of each scene must have maps.
        behind: frames before that count, R.
        ahead: frames after that count, R; live it is 0, since there are none yet.
    """
    window: deque[_Kept[Payload]] = deque()
    at = 0  # of the frame that is next, in the window
    for look in looks:
        window.append(_Kept.of(look))
        if len(window) - 1 - at >= ahead:
            yield _steady(window, at, behind, ahead)
            at += 1
        while at > behind:
            window.popleft()
            at -= 1
    while at < len(window):
        yield _steady(window, at, behind, ahead)
        at += 1


def _steady(
    window: deque[_Kept[Payload]], at: int, behind: int, ahead: int
) -> tuple[Payload, FrameMaps]:
    here = window[at]
    cells = here.look.small.cells
    reach = max(behind, ahead)
    grid = cells.shape[:2]
    total = np.zeros((*grid, 4), np.float32)
    weights = np.zeros(grid, np.float32)
    if here.values is not None:
        total += (reach + 1) * here.values
        weights += reach + 1
    nearest = here.look.maps
    for direction, steps in ((-1, behind), (1, ahead)):
        where: Float32[np.ndarray, "h w 2"] | None = None
        agrees = np.ones(grid, np.float32)
        for step in range(1, steps + 1):
            other = at + direction * step
            later = other + 1 if direction < 0 else other  # whose motion leads between the two
            if not 0 <= other < len(window) or window[later].look.begins:
                break
            motion = window[later].look.motion
            assert motion is not None
            flow = motion.backward if direction < 0 else motion.forward
            where = positions(flow) if where is None else where + moved_along(flow, where)[0]
            neighbour = window[other]
            seen, inside = moved_along(neighbour.look.small.cells, where)
            error = cv2.blur(np.abs(seen - cells).mean(axis=2), (3, 3))
            agrees *= inside * np.exp(-np.square(error / np.float32(TOLERANCE)))
            if neighbour.values is None:
                continue
            weight = (reach + 1 - step) * np.maximum(agrees, _LEAST_WEIGHT)
            total += weight[..., None] * moved_along(neighbour.values, where)[0]
            weights += weight
            nearest = nearest or neighbour.look.maps
    assert nearest is not None, "the first frame of a scene has maps"
    steady = total / weights[..., None]
    steady[..., 1:] -= steady[..., :1] * cells
    return here.look.payload, nearest._replace(coefficients=steady)
