"""Random textures of the scene renderer: tileable 1/f noise with a resolution pyramid."""

from __future__ import annotations

import numpy as np

from corun.data.scene_canvas import Array

_SIZE = 256


class Noise:
    """A periodic texture of noise whose amplitude falls as frequency^(−roll_off).

    Mean 0 and variance 1 at full resolution; coarser levels are averages of finer ones, so a far
    surface fades to its mean as a real one does.
    """

    def __init__(self, rng: np.random.Generator, roll_off: float) -> None:
        spectrum = np.fft.rfft2(rng.standard_normal((_SIZE, _SIZE), dtype=np.float32))
        frequency = np.hypot(np.fft.fftfreq(_SIZE)[:, None], np.fft.rfftfreq(_SIZE)[None, :])
        frequency[0, 0] = 1
        spectrum *= frequency**-roll_off
        spectrum[0, 0] = 0
        level: Array = np.fft.irfft2(spectrum, s=(_SIZE, _SIZE)).astype(np.float32)
        level /= level.std()
        levels = [level]
        while level.shape[0] > 1:
            half = level.shape[0] // 2
            level = level.reshape(half, 2, half, 2).mean(axis=(1, 3))
            levels.append(level)
        self._texels = np.concatenate([level.ravel() for level in levels])
        self._offsets = np.cumsum([0] + [level.size for level in levels[:-1]]).astype(np.int32)

    def at(self, u: Array, v: Array, footprint: Array | float = 1.0) -> Array:
        """Bilinear look-up.

        Args:
            u: across, in texels of the finest level. v: down. They broadcast.
            footprint: size of a pixel in texels; picks the level.
        """
        last = len(self._offsets) - 1
        coarseness = np.log2(np.maximum(np.atleast_1d(footprint), 1)) + 0.3
        level = np.clip(coarseness, 0, last).astype(np.int32)
        size = np.int32(_SIZE) >> level
        shrink = (size / np.float32(_SIZE)).astype(np.float32)
        offset = self._offsets[level]
        u0, fu, u1 = _cell(u * shrink, size)
        v0, fv, v1 = _cell(v * shrink, size)
        upper, lower = offset + v0 * size, offset + v1 * size
        texels = self._texels
        top = texels[upper + u0] * (1 - fu) + texels[upper + u1] * fu
        bottom = texels[lower + u0] * (1 - fu) + texels[lower + u1] * fu
        return np.asarray(top * (1 - fv) + bottom * fv, dtype=np.float32)


def _cell(coordinate: Array, size: Array) -> tuple[Array, Array, Array]:
    """The two texels beside a coordinate, wrapped around, and the weight of the second."""
    shifted = coordinate - np.float32(0.5)
    below = np.floor(shifted)
    index = below.astype(np.int32)
    return index & (size - 1), shifted - below, (index + 1) & (size - 1)
