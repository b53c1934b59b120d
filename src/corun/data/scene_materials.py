"""How the rendered scenes look: light, sky, and a colour for every point of every surface.

Textures are functions of the place in the world, in metres, so that they stay where they are when
the camera moves. They are averaged over the spacing of the samples, so that far ones do not
flicker.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from corun.data.scene_places import Array, Place

_TEXELS = 512


@dataclass(frozen=True)
class Light:
    """Sunlight and skylight, linear RGB.

    A surface of albedo ρ and normal n sends back ρ·(sky + sun·max(0, n·towards)).
    """

    towards: Array
    """Unit vector to the sun."""
    sun: Array
    sky: Array
    zenith: Array
    """Colour of the sky overhead."""
    rim: Array
    """Colour of the sky at the horizon."""
    cover: float
    """How much of the sky is clouded: −0.5 for few, 1 for most."""
    shift: float
    """Where in the clouds this sky is, [0,1)."""


def make_light(rng: np.random.Generator) -> Light:
    """A day: the sun behind the camera's left or right shoulder, few clouds or many."""
    elevation = rng.uniform(0.45, 1.0)
    azimuth = rng.uniform(0.35, 1.25) * rng.choice((-1, 1))
    level = np.cos(elevation)
    warmth, cover = rng.uniform(0, 1), rng.uniform(-0.5, 1.0)
    return Light(
        _rgb(level * np.sin(azimuth), np.sin(elevation), -level * np.cos(azimuth)),
        _rgb(2.15, 2.0 - 0.16 * warmth, 1.8 - 0.42 * warmth) * np.float32(1.05 - 0.2 * cover),
        _rgb(0.42, 0.50, 0.64) * np.float32(0.95 + 0.15 * cover),
        _rgb(0.10, 0.27, 0.72) * np.float32(rng.uniform(0.85, 1.2)),
        _rgb(0.62 + 0.10 * warmth, 0.80, 0.96 - 0.06 * warmth),
        cover,
        rng.random(),
    )


def noise(u: Array, v: Array, footprint: Array) -> Array:
    """Three textures of noise, mean 0 and variance 1, that repeat every 512 texels.

    Args:
        u: (n,), n ≥ 1, across, in texels. v: (n,), down.
        footprint: (n,) or (1,), over how many texels each value is the mean.

    Returns:
        (n, 3): gritty noise, cloudy noise and other cloudy noise.
    """
    atlas, first_rows = _noise_atlas()
    level = np.log2(np.clip(footprint, 1, _TEXELS / 4)).astype(np.float32)
    below = level.astype(np.int32)
    values = []
    for number in (below, below + 1):
        shrink = np.ldexp(np.float32(1), -number)
        x, y = u * shrink - np.float32(0.5), v * shrink - np.float32(0.5)
        turns = np.float32(1 / _TEXELS) / shrink
        x = x - np.floor(x * turns) / turns
        y = y - np.floor(y * turns) / turns + first_rows[number]
        rows = (-(-len(u) // 1024), 1024)  # OpenCV takes no more than 32767 in a row
        found = cv2.remap(atlas, np.resize(x, rows), np.resize(y, rows), cv2.INTER_LINEAR)
        values.append(found.reshape(-1, 3)[: len(u)])
    return np.asarray(values[0] + (values[1] - values[0]) * (level - below)[:, None])


@lru_cache(maxsize=1)
def _noise_atlas() -> tuple[Array, Array]:
    """Noise and its reductions to half the size, one below the other, and their first rows.

    Each has its first row and column again at its end, so that it can be read across its edge.
    """
    rng = np.random.default_rng(0xC0121)
    frequency = np.hypot(np.fft.fftfreq(_TEXELS)[:, None], np.fft.rfftfreq(_TEXELS)[None, :])
    frequency[0, 0] = np.inf
    planes = []
    for roll_off in (0.45, 1.25, 1.25):  # the amplitude falls as frequency^(−roll_off)
        spectrum = np.fft.rfft2(rng.standard_normal((_TEXELS, _TEXELS))) * frequency**-roll_off
        plane = np.fft.irfft2(spectrum, s=(_TEXELS, _TEXELS))
        planes.append(plane / plane.std())
    level, levels = np.stack(planes, axis=-1).astype(np.float32), []
    while (side := level.shape[0]) > 1:
        levels.append(np.pad(level, ((0, 1), (0, 1), (0, 0)), mode="wrap"))
        level = level.reshape(side // 2, 2, side // 2, 2, 3).mean(axis=(1, 3))
    padded = [np.pad(one, ((0, 0), (0, _TEXELS + 1 - len(one)), (0, 0))) for one in levels]
    first_rows = np.cumsum([0] + [len(one) for one in levels[:-1]])
    return np.concatenate(padded), first_rows.astype(np.float32)


def stripes(x: Array, footprint: Array, period: Any, start: Any, end: Any) -> Array:
    """Share of [x ± footprint/2] that is in stripes from start to end of every period."""
    share, width = (end - start) / period, footprint / period
    middle = (x - start) / period

    def area(at: Array) -> Array:
        whole = np.floor(at)
        return np.asarray(whole * share + np.minimum(at - whole, share))

    return np.asarray((area(middle + width / 2) - area(middle - width / 2)) / width, np.float32)


def within(x: Array, footprint: Array, low: Any, high: Any) -> Array:
    """Share of [x ± footprint/2] that is between two bounds."""
    inside = np.minimum(x + footprint / 2, high) - np.maximum(x - footprint / 2, low)
    return np.asarray(np.clip(inside / footprint, 0, 1), dtype=np.float32)


def paint_sky(light: Light, eye: Array, ray: Array) -> Array:
    """Colour of the sky, (n, 3): a gradient, a glow at the sun's side, clouds overhead."""
    x, y, z = ray.T
    rise = np.maximum(y, 0)
    sky = _mix(light.rim, light.zenith, 1.05 * (1 - np.exp(-3.2 * rise)))
    sky *= (1 + 0.25 * x * light.towards[0] * np.exp(-4 * rise))[:, None]
    reach = 1 / (rise + np.float32(0.07))  # in heights of the clouds, bent down to the horizon
    u = (x * reach + eye[0] / 900) * 24 + np.float32(_TEXELS * light.shift)
    v, foot = (z * reach + eye[2] / 900) * 24, 0.03 * reach**2
    thick = 0.8 * noise(u, v, foot)[:, 1] + 0.35 * noise(u * 4, v * 4, 4 * foot)[:, 2]
    relief = thick - noise(u + 4 * np.sign(light.towards[0]), v - 3, foot)[:, 1]
    density = _ramp(0.9 - light.cover, 1.9 - light.cover, thick) * _ramp(-0.02, 0.12, rise)
    grey = 0.93 + 0.10 * np.clip(relief, -1.5, 1.5) - 0.2 * _ramp(1.0, 3.0, thick)
    return _mix(sky, _rgb(1.02, 1.01, 1.0) * grey[:, None], density)


def paint_ground(place: Place, key: float, x: Array, z: Array, step: tuple[Array, Array]) -> Array:
    """Albedo of the plane Y = 0, (n, 3): grass or fields, road, markings, kerbs, pavements.

    ``step``: spacing of the samples along X and Z, metres.
    """
    across, ahead = step
    foot = np.sqrt(across * ahead)
    fine, middle = noise(x * 34, z * 34, foot * 34), noise(x * 3, z * 3, foot * 3)
    broad = noise(x * 0.35 + _TEXELS * np.float32(key), z * 0.35, foot * 0.35)
    grit, worn = fine[:, 0], middle[:, 1]
    dry = 0.75 * _ramp(-1.2, 1.4, broad[:, 1] + 0.5 * worn)
    colour = _mix(_rgb(0.085, 0.130, 0.035), _rgb(0.22, 0.20, 0.08), dry)
    if place.fields:
        colour = _mix(colour, *_fields(key, x, z, step))
    colour *= np.clip(1 + 0.34 * grit + 0.22 * middle[:, 2], 0.25, 2)[:, None]
    aside, half, edge = x - place.road_centre(z), place.half, place.half + place.pavement

    def streets(to: float, beside: float) -> Array:
        """Share of the road, up to a distance from its middle, and of the cross streets."""
        share = within(aside, across, -to, to)
        for c in place.crossings:
            share = np.maximum(share, within(z, ahead, c - beside, c + beside))
        return share

    if place.pavement:
        joints = np.maximum(stripes(aside, across, 0.9, 0, 0.05), stripes(z, ahead, 0.9, 0, 0.05))
        slabs = (0.24 + 0.12 * key) * (1 - 0.22 * joints) * (1 + 0.11 * grit + 0.07 * worn)
        colour = _mix(colour, _rgb(1.0, 0.96, 0.9) * slabs[:, None], streets(edge, 5.2))
        kerb = 0.41 * (1 + 0.1 * grit[:, None])
        colour = _mix(colour, kerb, within(aside, across, -half - 0.22, half + 0.22))
    side = np.abs(aside)
    if place.gravel:
        ruts = 0.25 * np.exp(-(((side - 0.85) / 0.35) ** 2))
        stones = _rgb(0.30, 0.24, 0.17) * ((1 + 0.30 * grit + 0.14 * worn) * (1 + ruts))[:, None]
        return _mix(colour, stones, within(side + 0.25 * worn, across, -9, half))
    wheels = 0.10 * np.exp(-(((side % 3.3) - 1.65) ** 2) / 0.9)
    patched = 0.16 * _ramp(1.2, 1.4, broad[:, 2] + 0.3 * worn)
    tar = np.maximum(1 + 0.24 * grit + 0.10 * worn - patched - wheels, 0.2)
    colour = _mix(colour, _rgb(0.135, 0.132, 0.13) * tar[:, None], streets(half, 4.0))
    paint = np.maximum(
        within(aside, across, -0.07, 0.07) * stripes(z, ahead, 8.0, 0.0, 3.0),
        within(side, across, half - 0.42, half - 0.30),
    )
    bars = stripes(aside, across, 1.0, 0.0, 0.5) * within(side, across, 0, half - 0.3)
    for c in place.crossings:
        beside = np.abs(z - c)
        paint = np.maximum(
            paint * (1 - within(beside, ahead, -9, 8.2)), bars * within(beside, ahead, 4.6, 7.6)
        )
    return _mix(colour, _rgb(0.62, 0.62, 0.60), paint * np.clip(0.82 + 0.16 * grit, 0, 1))


_CROPS = ((0.40, 0.32, 0.11), (0.19, 0.13, 0.085), (0.11, 0.17, 0.04), (0.34, 0.33, 0.06))


def _fields(key: float, x: Array, z: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
    """Crops of fields and how far each covers the grass."""
    long, wide = 34 + 20 * key, 52 - 16 * key
    turned_x, turned_z = x + 0.25 * z, z - 0.2 * x
    column, row = np.floor(turned_x / wide), np.floor(turned_z / long)
    kind, other = _hash(column, row, key), _hash(column, row, key + 0.37)
    crop = np.array(_CROPS, np.float32)[(kind * 4).astype(np.int64)] * (0.8 + 0.4 * other)[:, None]
    ploughed = other > 0.5
    rows = stripes(np.where(ploughed, x, z), np.where(ploughed, *step), 0.9, 0, 0.4)
    cover = within(turned_x - column * wide, step[0], 1.5, wide - 1.5)
    cover = cover * within(turned_z - row * long, step[1], 1.5, long - 1.5)
    return crop * (1 - 0.3 * rows)[:, None], cover * (kind < 0.85)


def paint_walls(
    light: Light,
    base: Array,
    style: Array,
    where: tuple[Array, Array, Array],
    step: tuple[Array, Array],
    roof: Array,
) -> Array:
    """Albedo of buildings, (n, 3): masonry, windows with frames and sills, tiled roofs.

    Args:
        light: the panes mirror its sky.
        base: (n, 3), colour of the masonry. style: (n, 5), as of ``Solid``.
        where: metres along the wall from its middle, up from its foot, and half its length, (n,).
        step: spacing of the samples along and up, metres, (n,).
        roof: (n,), whether the point is on a roof.
    """
    (along, up, half), (foot_s, foot_t) = where, step
    key, bay, storey, share, eaves = style.T
    foot = np.sqrt(foot_s * foot_t)
    grit = noise(along * 30 + key * 512, up * 30, foot * 30)[:, 0]
    stain = noise(along * 1.7 + key * 512, up * 0.9, foot * 1.7)[:, 1]
    course = np.where(key % 0.5 < 0.25, np.float32(0.21), np.float32(0.42))
    odd = course * (np.floor(up / course) % 2)
    joints = np.maximum(
        stripes(up, foot_t, course, 0, 0.025), stripes(along + odd, foot_s, 2 * course, 0, 0.025)
    )
    colour = base * ((1 - 0.28 * joints) * (1 + 0.10 * grit + 0.09 * stain))[:, None]
    column, floor = np.floor(along / bay + 0.5), np.floor(up / storey)
    across, rise = along - column * bay, up - floor * storey  # from the middle of the bay
    side, sill, lintel = bay * share / 2, 0.30 * storey, 0.82 * storey
    fits = (np.abs(column) * bay + side < half - 0.25) & ((floor + 0.9) * storey < eaves) & ~roof

    def window(grown: float, low: Array, high: Array) -> Array:
        inside = within(across, foot_s, -side - grown, side + grown)
        return np.asarray(inside * within(rise, foot_t, low, high) * fits)

    colour = _mix(colour, 0.5 * colour + 0.28, window(0.2, sill - 0.24, sill - 0.10))
    frame = np.where((key * 7 % 1)[:, None] > 0.4, np.float32(0.6), _rgb(0.12, 0.10, 0.09))
    colour = _mix(colour, frame, window(0.1, sill - 0.1, lintel + 0.1))
    lively = _hash(column, floor, key)
    glass = light.rim * (0.10 + 0.30 * lively * rise / storey)[:, None] + np.float32(0.02)
    curtain = (lively > 0.72) & (rise > sill + (lively - 0.6) * storey)
    glass = np.where(curtain[:, None], glass * 0.6 + 0.16, glass)
    glass *= (1 - 0.6 * within(rise, foot_t, lintel - 0.16, lintel))[:, None]  # the lintel's shadow
    pane = window(0.0, sill, lintel) * (1 - within(across, foot_s, -0.04, 0.04))
    colour = _mix(colour, glass, pane)
    tiles = np.maximum(stripes(up, foot_t, 0.24, 0, 0.05), stripes(along, foot_s, 0.3, 0, 0.03))
    tile = np.where(key[:, None] > 0.4, _rgb(0.34, 0.13, 0.08), _rgb(0.13, 0.13, 0.14))
    tile = tile * ((1 - 0.45 * tiles) * (1 + 0.20 * grit + 0.12 * stain))[:, None]
    return np.where(roof[:, None], tile, colour).astype(np.float32)


def paint_plain(base: Array, style: Array, point: Array, step: Array) -> Array:
    """Albedo of metal, paint, concrete and bark, (n, 3): one colour with grain."""
    _, strength, upright, _, _ = style.T
    x, y, z = point.T
    grain = noise((x + 0.7 * z) * 26, (y + 0.7 * x - z) * upright, step * 26)
    tone = np.clip(1 + strength * grain[:, 0] + 0.06 * grain[:, 1], 0.3, 2)
    return np.asarray(base * tone[:, None])


def paint_leaves(base: Array, style: Array, local: Array, step: Array) -> Array:
    """Albedo of crowns and wooded hills, (n, 3), drawn along their local Z axis."""
    key, _, scale, _, _ = style.T
    u, v = local[:, 0] * scale + key * _TEXELS, local[:, 1] * scale
    leaves, fine = noise(u, v, step * scale), noise(u * 3.1, v * 3.1, step * scale * 3.1)
    tone = 1 + 0.30 * leaves[:, 0] + 0.25 * fine[:, 0] + 0.15 * leaves[:, 2]
    sere = 0.5 * _ramp(0.4, 1.6, leaves[:, 1])[:, None] * _rgb(0.5, 0.3, 0.1)
    return np.asarray(base * (1 + sere) * np.clip(tone, 0.25, 2)[:, None], np.float32)


def _mix(first: Array, second: Array, share: Array) -> Array:
    """first·(1 − share) + second·share, a share for every point."""
    return np.asarray(first + (second - first) * share[:, None], dtype=np.float32)


def _ramp(low: float, high: float, value: Array) -> Array:
    """0 below low, 1 above high, 3u² − 2u³ between."""
    u = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(u * u * (3 - 2 * u))


def _hash(column: Array, row: Array, key: Any) -> Array:
    """A number in [0,1) for every cell of a grid, different for every key."""
    wave = np.sin(column * 12.9898 + row * 78.233 + key * 437.1) * 4375.85
    return np.asarray(np.minimum(wave - np.floor(wave), 0.999), dtype=np.float32)


def _rgb(red: Any, green: Any, blue: Any) -> Array:
    return np.array([red, green, blue], dtype=np.float32)
