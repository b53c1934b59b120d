"""Pictures of equal size that wait for the network at the same time go through it together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from corun.dehazing.dehazed import Dehazed
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.maps import FrameMaps
from corun.errors import CorunError
from corun.pictures.reading import Picture
from corun.shapes import Shaped


@dataclass(eq=False)
class _Waiting:
    samples: Shaped[np.ndarray, "..."]
    maps: FrameMaps | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.maps is not None or self.error is not None


class MicroBatches:
    """A dehazer for many threads: one call of the network at a time, for all that wait alike.

    Whoever gets the network takes the others of its size along, up to `largest`; it waits for
    nobody, so that a lone picture is as fast as without.

    Args:
        dehazer: one whose `dehaze_picture` asks its own `maps`; others are called one by one.
        largest: pictures in one call at most.
        on_batch: told the size of each call.
    """

    def __init__(
        self, dehazer: Dehazer, *, largest: int = 4, on_batch: Callable[[int], None] | None = None
    ) -> None:
        self.dehazer = dehazer
        self._largest = largest
        self._on_batch = on_batch
        self._network = threading.Lock()
        self._changed = threading.Condition()
        self._busy = False
        self._waiting: list[_Waiting] = []
        # The same network and settings, but its question for maps comes here.
        self._asking = copy(dehazer)
        if dehazer.gives_maps:
            vars(self._asking)["maps"] = self._maps

    def dehaze(self, picture: Picture, *, strength: float) -> Dehazed:
        """As `Dehazer.dehaze_picture`."""
        if self.dehazer.gives_maps:
            return self._asking.dehaze_picture(picture, strength=strength)
        with self._network:
            return self.dehazer.dehaze_picture(picture, strength=strength)

    def _maps(self, pictures: Sequence[Shaped[np.ndarray, "..."]]) -> list[FrameMaps]:
        return [self._one(samples) for samples in pictures]

    def _one(self, samples: Shaped[np.ndarray, "..."]) -> FrameMaps:
        mine = _Waiting(samples)
        with self._changed:
            self._waiting.append(mine)
            # Who was taken along goes on at once, and does not wait for the next call.
            self._changed.wait_for(lambda: mine.done or self._is_next(mine))
            batch = [] if mine.done else self._taken_along(mine)
            self._busy = self._busy or bool(batch)
        if batch:
            try:
                self._answer(batch)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
        if mine.error is not None:
            raise mine.error
        assert mine.maps is not None
        return mine.maps

    def _is_next(self, mine: _Waiting) -> bool:
        return not self._busy and bool(self._waiting) and self._waiting[0] is mine

    def _taken_along(self, mine: _Waiting) -> list[_Waiting]:
        size = mine.samples.shape[:2]
        alike = [w for w in self._waiting if w.samples.shape[:2] == size and w is not mine]
        batch = [mine, *alike[: self._largest - 1]]
        self._waiting = [w for w in self._waiting if w not in batch]
        return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            found = self.dehazer.maps([w.samples for w in batch])
            for waiting, maps in zip(batch, found, strict=True):
                waiting.maps = maps
        except Exception:  # each is asked again by itself, and keeps its own error
            for waiting in batch:
                self._alone(waiting)
            return
        if self._on_batch is not None:
            self._on_batch(len(batch))

    def _alone(self, waiting: _Waiting) -> None:
        try:
            (waiting.maps,) = self.dehazer.maps([waiting.samples])
        except Exception as error:
            waiting.error = error if isinstance(error, CorunError) else RuntimeError(repr(error))
            waiting.error.__cause__ = error
