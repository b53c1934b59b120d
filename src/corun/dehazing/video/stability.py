"""The maps of a film's frames, made steady over time without lagging behind it.

A network that looks at each frame alone answers the noise and the drift of the haze with maps that
flicker. What stands still in the world is the scene J = b + a·P′, seen through changing haze, so a
and J are averaged along the motion, over the frames from R before to R after that the network
looked at (J and T of the stages make both: a = T/(T² + γ), b = J − a·P′). With ⟨·⟩ that average,

    ⟨v⟩(x) = Σ_k w_k(x)·v_k(φ_k(x)) / Σ_k w_k(x),   w_k(x) = (R + 1 − |k|)·g_k(x),
    g_k(x) = Π_{j from 1 to k, looked at} exp(−(e_j(x)/τ)²),
    e_j(x) = mean over 3×3 cells and colours of |P′_{t+j}(φ_j(x)) − P′_t(x)|,
    P̂_k = g_k·P′_{t+k}(φ_k) + (1 − g_k)·P′_t,
    ã = ⟨a⟩,   J̃ = ⟨b + a·P̂⟩.

φ_k leads along the optical flow from frame to frame to where the cell x is in frame t+k; w_k is 0
where that is outside, and beyond a cut. The window is even-handed, so that what changes steadily is
neither early nor late. Where the picture does not move along (something comes into view, a light
goes on), e exceeds τ and the frame stands for itself; if nobody looked at it, its neighbours' maps
are applied to its own P′, and nothing of their scene shows.

b̃ = J̃ − ã·P′_t is made with the frame's own P′, so that the result is J̃ where the cells are looked
at, and the camera's noise in P′_t cancels there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np

from corun.dehazing.maps import FrameMaps
from corun.dehazing.video.motion import Motion, Small, at, moved_along, positions
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


def steadied(
    looks: Iterable[Look[Payload]], *, behind: int, ahead: int
) -> Generator[tuple[Payload, FrameMaps], None, None]:
    """The frames with their steady maps, in order.

    Args:
        looks: successive frames; the first of each scene must have maps.
        behind: frames before that count, R.
        ahead: frames after that count, R; live it is 0, since there are none yet.
    """
    window: deque[Look[Payload | None]] = deque()
    waiting: deque[Payload] = deque()  # not kept longer than needed: they are large
    place = 0  # frame to be yielded, its place in the window
    for look in looks:
        waiting.append(look.payload)
        window.append(Look(None, look.small, look.motion, look.maps))
        if len(window) - 1 - place >= ahead:
            yield waiting.popleft(), _steady(window, place, behind, ahead)
            place += 1
        while place > behind:
            window.popleft()
            place -= 1
    while place < len(window):
        yield waiting.popleft(), _steady(window, place, behind, ahead)
        place += 1


def agreement(
    there: Float32[np.ndarray, "h w 3"],
    here: Float32[np.ndarray, "h w 3"],
    where: Float32[np.ndarray, "h w 2"],
) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
    """P′ of another frame moved along, and how far it is the same picture, exp(−(e/τ)²).

    Args:
        there: P′ of the other frame.
        here: P′ of the frame itself.
        where: its cells in the other frame, φ.
    """
    seen, inside = moved_along(there, where)
    error = cv2.blur(cv2.transform(cv2.absdiff(seen, here), _MEAN), (3, 3))
    agrees = cv2.exp(cv2.multiply(error, error, scale=-1 / TOLERANCE**2))
    return seen, np.asarray(agrees, np.float32) * inside


_MEAN = np.full((1, 3), 1 / 3, np.float32)


def _steady(window: deque[Look[Payload | None]], place: int, behind: int, ahead: int) -> FrameMaps:
    here = window[place]
    cells = here.small.cells
    reach = max(behind, ahead)
    grid = cells.shape[:2]
    total = _Average(grid)
    if here.maps is not None:
        total.add(np.full(grid, reach + 1, np.float32), here.maps.coefficients, cells)
    nearest = here.maps
    for direction, steps in ((-1, behind), (1, ahead)):
        where: Float32[np.ndarray, "h w 2"] | None = None
        agrees = np.ones(grid, np.float32)
        for step in range(1, steps + 1):
            other = place + direction * step
            later = other + 1 if direction < 0 else other  # whose motion leads between the two
            if not 0 <= other < len(window) or window[later].begins:
                break
            motion = window[later].motion
            assert motion is not None
            flow = motion.backward if direction < 0 else motion.forward
            where = positions(flow) if where is None else where + at(flow, where)
            neighbour = window[other]
            if neighbour.maps is None:
                continue
            seen, still = agreement(neighbour.small.cells, cells, where)
            agrees = agrees * still
            shown = cells + agrees[..., None] * (seen - cells)
            moved = at(neighbour.maps.coefficients, where)
            weight = (reach + 1 - step) * np.maximum(agrees, np.float32(_LEAST_WEIGHT))
            total.add(weight, moved, shown)
            nearest = nearest or neighbour.maps
    assert nearest is not None, "the first frame of a scene has maps"
    gain, scene = total.means()
    offset = scene - gain[..., None] * cells
    return nearest._replace(coefficients=np.dstack((gain, offset)))


class _Average:
    """Σ w·v and Σ w, for a and J."""

    def __init__(self, grid: tuple[int, ...]) -> None:
        self._gain, self._weights = np.zeros(grid, np.float32), np.zeros(grid, np.float32)
        self._scene = np.zeros((*grid, 3), np.float32)

    def add(
        self,
        weight: Float32[np.ndarray, "h w"],
        coefficients: Float32[np.ndarray, "h w 4"],
        shown: Float32[np.ndarray, "h w 3"],
    ) -> None:
        """Another frame's a and b, moved along, and P̂."""
        self._weights += weight
        self._gain += weight * coefficients[..., 0]
        scene = coefficients[..., 1:] + coefficients[..., :1] * shown
        self._scene += weight[..., None] * scene

    def means(self) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w 3"]]:
        """ã and J̃."""
        return self._gain / self._weights, self._scene / self._weights[..., None]
