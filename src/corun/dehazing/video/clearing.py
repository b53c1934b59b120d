"""Frames in, clear frames out: the network's maps, made steady, applied to each frame."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterable

import numpy as np

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.maps import FrameMaps
from corun.dehazing.video.background import in_background
from corun.dehazing.video.motion import (
    Small,
    at,
    motion_between,
    positions,
    small_picture,
)
from corun.dehazing.video.source import Film, Moment
from corun.dehazing.video.stability import Look, agreement, steadied
from corun.shapes import Shaped

REACH = 16
"""R, frames before and after that a frame's maps are made of."""
LIVE_REACH = 4
"""Frames before, of a live stream: there are none after, and a longer window would lag."""
LOOK_EVERY = 4
"""The network looks at every fourth frame of a film; the others have their maps of these."""
FOLLOWED = 0.8
"""Mean agreement with the frame last looked at below which the network looks again at once."""
LEAD = REACH + 2 * LOOK_EVERY
"""Frames before a run from which an unbroken run's maps are had again: some more than the filter
looks back, since what the network looks at is known at every fourth frame."""
HELD = REACH + 8
"""Frames of a file that are in memory at a time: those ahead, and those that wait to be cleared or
encoded."""

Rgb = Shaped[np.ndarray, "_ _ 3"]  # turned, rows and columns change places


class Clearing:
    """How the frames of a film are cleared.

    Args:
        dehazer: the network; one that gives no maps clears each frame by itself.
        film: what the frames are of.
        strength: how much of the haze goes, [0,1].
        side_by_side: whether the hazy frame stands left of the clear one.
    """

    def __init__(
        self, dehazer: Dehazer, film: Film, *, strength: float = 1.0, side_by_side: bool = False
    ) -> None:
        self._dehazer, self._film = dehazer, film
        self._strength, self._side_by_side = strength, side_by_side

    def of_file(
        self, moments: Iterable[Moment], first: int
    ) -> Generator[tuple[Moment, Rgb], None, None]:
        """The clear frames of a file from number `first` on; those before are only looked at."""
        if not self._dehazer.gives_maps:
            for moment in moments:
                if moment.number >= first:
                    yield moment, self._by_itself(moment)
            return
        looks = in_background(self._looks(moments, LOOK_EVERY), 2)
        try:
            for moment, maps in steadied(looks, behind=REACH, ahead=REACH):
                if moment.number >= first:
                    yield moment, self._finished(moment, maps)
        finally:
            looks.close()

    def of_stream(self, moments: Iterable[Moment]) -> Generator[tuple[Moment, Rgb], None, None]:
        """The clear frames of a live stream, each before the next one is taken."""
        if not self._dehazer.gives_maps:
            yield from ((moment, self._by_itself(moment)) for moment in moments)
            return
        for moment, maps in steadied(self._looks(moments, 1), behind=LIVE_REACH, ahead=0):
            yield moment, self._finished(moment, maps)

    def _looks(self, moments: Iterable[Moment], every: int) -> Generator[Look[Moment], None, None]:
        before: Small | None = None
        seen: Small | None = None  # last looked at by the network
        where = np.empty((0, 0, 2), np.float32)  # the frame's cells in that
        grid, covered = (0, 0), (0, 0)
        for moment in moments:
            upright = self._upright(moment.rgb)
            maps = None
            if before is None:
                (maps,) = self._dehazer.maps([upright])
                grid, covered = maps.coefficients.shape[:2], maps.covered
            small = small_picture(upright, grid, covered)
            motion = None if before is None else motion_between(before, small)
            if motion is not None and seen is not None and not motion.cut:
                back = positions(motion.backward)
                where = back if seen is before else at(where, back)
                followed = float(agreement(seen.cells, small.cells, where)[1].mean())
                if moment.number % every == 0 or followed < FOLLOWED:
                    (maps,) = self._dehazer.maps([upright])
            elif maps is None:
                (maps,) = self._dehazer.maps([upright])
            yield Look(moment, small, motion, maps)
            before = small
            if maps is not None:
                seen = small

    def _finished(self, moment: Moment, maps: FrameMaps) -> Rgb:
        upright = self._upright(moment.rgb)
        clear = self._dehazer.apply(upright, maps, strength=self._strength)
        return self._as_stored(upright, clear)

    def _by_itself(self, moment: Moment) -> Rgb:
        upright = self._upright(moment.rgb)
        clear = self._dehazer(upright, strength=self._strength).image
        assert isinstance(clear, np.ndarray)
        return self._as_stored(upright, clear)

    def _upright(self, rgb: Rgb) -> Rgb:
        """As a player shows it, which networks know better than what lies on its side."""
        return np.ascontiguousarray(np.rot90(rgb, self._film.turns))

    def _as_stored(self, hazy: Rgb, clear: Rgb) -> Rgb:
        shown = np.concatenate((hazy, clear), axis=1) if self._side_by_side else clear
        return np.ascontiguousarray(np.rot90(shown, -self._film.turns))


def fingerprint(dehazer: Dehazer) -> int:
    """CRC-32 of what the dehazer makes of one picture, so that another model is told from it."""
    across, down = np.arange(96, dtype=np.uint16), np.arange(64, dtype=np.uint16)[:, None]
    picture = np.stack([(k * across + (7 - k) * down) % 200 + 40 for k in (2, 3, 5)], axis=2)
    picture = picture.astype(np.uint8)
    if dehazer.gives_maps:
        return zlib.crc32(dehazer.maps([picture])[0].coefficients.tobytes())
    clear = dehazer(picture).image
    assert isinstance(clear, np.ndarray)
    return zlib.crc32(clear.tobytes())
