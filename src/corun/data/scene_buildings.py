"""Houses, blocks and towers of the rendered scenes: boxes with façades, roofs and shadows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from corun.data.scene_canvas import Array, Canvas, Texture, mix, smoothstep, stripes, vector
from corun.data.scene_land import Light
from corun.data.scene_noise import Noise

Style = Literal["house", "block", "tower"]

_WALLS = (
    (0.52, 0.42, 0.30),  # sandstone
    (0.58, 0.55, 0.50),  # plaster
    (0.34, 0.13, 0.085),  # brick
    (0.42, 0.22, 0.14),  # light brick
    (0.60, 0.50, 0.33),  # ochre
    (0.44, 0.46, 0.47),  # concrete
    (0.55, 0.36, 0.27),  # terracotta plaster
    (0.38, 0.44, 0.48),  # blue-grey
)
_ROOFS = ((0.32, 0.12, 0.07), (0.24, 0.10, 0.07), (0.12, 0.12, 0.13), (0.28, 0.17, 0.10))
_AWNINGS = ((0.45, 0.06, 0.05), (0.05, 0.20, 0.12), (0.06, 0.12, 0.30), (0.55, 0.40, 0.10))


@dataclass(frozen=True)
class Building:
    """An upright box [x0,x1] × [0,height] × [z0,z1] in metres; ``roof`` metres of gable on top."""

    x0: float
    x1: float
    z0: float
    z1: float
    height: float
    style: Style
    seed: int
    roof: float = 0.0


def paint_building(
    canvas: Canvas, building: Building, light: Light, noises: tuple[Noise, Noise]
) -> None:
    """Paint the faces of a building that can be seen."""
    rng = np.random.default_rng(building.seed)
    wall = np.array(_WALLS[int(rng.integers(len(_WALLS)))], dtype=np.float32)
    wall = wall * np.float32(rng.uniform(0.8, 1.12))
    facade = _Facade(building, wall, light, noises, rng)
    b = building
    up, right, forward = vector(0, 1, 0), vector(1, 0, 0), vector(0, 0, 1)
    wide, deep = b.x1 - b.x0, b.z1 - b.z0
    side = None
    if b.x0 > 0:
        side = (vector(b.x0, 0, b.z0), forward, -right)
    elif b.x1 < 0:
        side = (vector(b.x1, 0, b.z0), forward, right)
    if b.roof:
        _paint_roof(canvas, b, light, noises, rng)
    elif b.height < canvas.camera_height:
        _paint_flat_roof(canvas, b, light, noises)
    if side is not None:
        canvas.face(side[0], side[1], up, (deep, b.height), facade.texture(side[2], deep))
    canvas.face(
        vector(b.x0, 0, b.z0),
        right,
        up,
        (wide, b.height + b.roof),
        facade.texture(-forward, wide),
        gable=b.roof,
    )


def shadow_of_buildings(canvas: Canvas, buildings: list[Building], light: Light) -> Array:
    """(h, w): the share of sunlight that reaches the ground seen at each pixel, [0,1].

    The ray from the ground to the sun is cut with each box (the slab method); the length of the
    chord below the roof, in units of 0.4 m, softens the edge.
    """
    share: Array = np.ones((canvas.height, canvas.width), dtype=np.float32)
    lx, ly, lz = (float(v) if abs(float(v)) > 1e-3 else 1e-3 for v in light.towards)
    for b in buildings:
        throw = (b.height + 0.5 * b.roof) / ly
        reach_z = sorted((b.z0 - lz * throw, b.z1 - lz * throw, b.z0, b.z1))
        low, high = max(reach_z[0], 0.5), max(reach_z[-1], 1.0)
        top = int(max(0, canvas.horizon_row + canvas.camera_height / high * canvas.focal))
        bottom = int(
            min(canvas.height, canvas.horizon_row + canvas.camera_height / low * canvas.focal + 1)
        )
        if top >= bottom:
            continue
        z = canvas.camera_height / np.maximum(canvas.y[top:bottom], 1e-6)
        x = canvas.x * z
        cut_x = ((b.x0 - x) / lx, (b.x1 - x) / lx)
        cut_z = ((b.z0 - z) / lz, (b.z1 - z) / lz)
        enter = np.maximum(np.minimum(*cut_x), np.minimum(*cut_z)).clip(0, None)
        leave = np.minimum(np.maximum(*cut_x), np.maximum(*cut_z)).clip(None, throw)
        blocked = np.clip((leave - enter) / 0.4, 0, 1)
        share[top:bottom] = np.minimum(share[top:bottom], 1 - 0.94 * blocked)
    return share


class _Facade:
    """Colours of one building's walls."""

    def __init__(
        self,
        building: Building,
        wall: Array,
        light: Light,
        noises: tuple[Noise, Noise],
        rng: np.random.Generator,
    ) -> None:
        self.building, self.wall, self.light = building, wall, light
        self.gritty, self.cloudy = noises
        self.rooms = rng.random((64, 64), dtype=np.float32)
        self.shift = float(rng.uniform(0, 256))
        self.storey = float(rng.uniform(2.9, 3.5))
        self.bay = float(rng.uniform(2.0, 3.6))
        self.window = (float(rng.uniform(0.36, 0.55)), float(rng.uniform(0.48, 0.62)))
        self.shops = building.style == "block" and rng.random() < 0.7
        self.awning = np.array(_AWNINGS[int(rng.integers(len(_AWNINGS)))], dtype=np.float32)
        self.bands = rng.random() < 0.6
        self.glass = vector(0.05, 0.08, 0.11)
        if building.style == "tower":
            self.window = (float(rng.uniform(0.72, 0.9)), float(rng.uniform(0.6, 0.85)))
            self.glass = vector(0.06, 0.10, 0.13) * float(rng.uniform(0.8, 1.7))
        if building.style == "house":
            self.window = (0.34, 0.45)

    def texture(self, normal: Array, length: float) -> Texture:
        """The wall whose outward normal is given; a whole number of windows fits its length."""
        light = self.light.on(normal)
        sunny = float(normal @ self.light.towards) > 0
        side = float(abs(normal[0])) * 17
        bay = length / max(1, round(length / self.bay))
        return partial(self._colour, light=light, sunny=sunny, side=side, bay=bay)

    def _colour(
        self,
        s: Array,
        t: Array,
        foot_s: Array,
        foot_t: Array,
        light: Array,
        sunny: bool,
        side: float,
        bay: float,
    ) -> Array:
        foot = np.sqrt(foot_s * foot_t)
        grit = self.gritty.at(s * 22 + self.shift, t * 30 + side, foot * 26)
        stain = self.cloudy.at(s * 7 + self.shift, t * 1.3 + side, foot * 4)
        tone = 1 + 0.10 * grit + 0.09 * stain
        courses = stripes(t, foot_t, 0.3, 0, 0.035) + 0.6 * stripes(
            s + 0.3 * (np.floor(t / 0.3) % 2), foot_s, 0.6, 0, 0.03
        )
        tone = tone * (1 - 0.28 * np.minimum(courses, 1))
        tone = tone * (0.72 + 0.28 * smoothstep(0, 1.4, t))  # the ground takes light away
        wall = self.wall * tone[..., None]
        if self.bands:
            band = stripes(t, foot_t, self.storey, 0, 0.28)
            wall = mix(wall, self.wall * 1.25 + 0.03, 0.75 * band)
        colour = wall * light

        height = self.building.height
        first = 3.9 if self.shops else 0.0
        above = t - first
        half_s, half_t = self.window[0] / 2 * bay, self.window[1] / 2 * self.storey
        mid_s, mid_t = bay / 2, self.storey * 0.54
        grid = partial(self._grid, s, above, foot_s, foot_t, mid_s, mid_t)
        frame, pane = grid(half_s + 0.11, half_t + 0.11), grid(half_s, half_t)
        mullion = stripes(s - mid_s + 0.04, foot_s, bay, 0, 0.08)
        # Whole windows only: as many storeys as leave room for a cornice.
        storeys = np.floor((height - 0.65 - first - mid_t - half_t) / self.storey) + 1
        open_wall = smoothstep(0, 0.02, above) * (above < storeys * self.storey)
        frame, pane = frame * open_wall, pane * open_wall * (1 - 0.7 * mullion)
        trim = mix(self.wall, vector(0.72, 0.71, 0.68), 0.75) * light * 0.9
        colour = mix(colour, trim, frame)
        room = self.rooms[
            np.floor(s / bay).astype(np.int32) & 63,
            np.floor(above / self.storey).astype(np.int32) & 63,
        ]
        rise = np.clip(above / self.storey - np.floor(above / self.storey), 0, 1)
        reflected = 0.16 + 0.34 * smoothstep(0.25, 0.8, rise) * room
        reflected = reflected + 0.12 * np.clip(
            self.cloudy.at(s * 5 + self.shift + room * 40, t * 5, foot * 5), -1, 2
        )
        glass = self.glass + self.light.rim * 0.42 * np.clip(reflected, 0.04, 1)[..., None]
        curtain = (room > 0.72) * stripes(above - mid_t + half_t, foot_t, self.storey, 0.5, 3.0)
        glass = mix(glass, vector(0.52, 0.47, 0.40) * (light * 0.6 + 0.1), 0.7 * curtain)
        if sunny:  # the reveal above a window throws a shadow on it
            reveal = stripes(above - mid_t - half_t + 0.24, foot_t, self.storey, 0, 0.24)
            glass = glass * (1 - 0.6 * reveal)[..., None]
        colour = mix(colour, glass, pane)
        if self.shops:
            colour = self._shops(colour, s, t, foot_s, foot_t, light)
        if not self.building.roof:
            cornice = smoothstep(height - 0.62, height - 0.58, t)
            colour = mix(colour, (self.wall * 1.15 + 0.05) * light, cornice)
            under = smoothstep(height - 1.0, height - 0.62, t) * (1 - cornice)
            colour = colour * (1 - 0.45 * under)[..., None]
        return colour

    def _grid(
        self,
        s: Array,
        t: Array,
        foot_s: Array,
        foot_t: Array,
        mid_s: float,
        mid_t: float,
        half_s: float,
        half_t: float,
    ) -> Array:
        """Coverage of one rectangle per bay and storey."""
        half_s, half_t = min(half_s, mid_s), min(half_t, self.storey / 2 - 0.01)
        return stripes(s - mid_s + half_s, foot_s, 2 * mid_s, 0, 2 * half_s) * stripes(
            t - mid_t + half_t, foot_t, self.storey, 0, 2 * half_t
        )

    def _shops(
        self, colour: Array, s: Array, t: Array, foot_s: Array, foot_t: Array, light: Array
    ) -> Array:
        """Shop windows, their frames and striped awnings along the ground floor."""
        ground = np.clip((3.5 - t) / foot_t + 0.5, 0, 1)
        window = stripes(s, foot_s, 4.6, 0.35, 4.3) * np.clip((2.6 - t) / foot_t + 0.5, 0, 1)
        window = window * np.clip((t - 0.5) / foot_t + 0.5, 0, 1)
        foot = np.sqrt(foot_s * foot_t)
        goods = self.cloudy.at(s * 16 + self.shift, t * 20, foot * 18)
        shelves = stripes(t, foot_t, 0.55, 0, 0.06)
        inside = vector(0.11, 0.085, 0.06) * np.clip(1 + 0.5 * goods, 0.3, 2.2)[..., None]
        inside = inside * (1 - 0.5 * shelves)[..., None]
        mirrored = smoothstep(-0.4, 1.6, self.cloudy.at(s * 4, t * 3 + self.shift, foot * 4))
        inside = inside + self.light.rim * (0.03 + 0.13 * mirrored)[..., None]
        colour = mix(colour, self.wall * 0.55 * light, ground)
        colour = mix(colour, inside, window)
        awning = np.clip((t - 2.55) / foot_t + 0.5, 0, 1) * ground
        cloth = mix(self.awning, vector(0.7, 0.68, 0.62), stripes(s, foot_s, 0.8, 0, 0.4) * 0.8)
        cloth = cloth * (0.75 + 0.25 * (t - 2.55))[..., None]
        return mix(colour, cloth * (light * 0.8 + 0.15), awning * stripes(s, foot_s, 4.6, 0.2, 4.4))


def _paint_roof(
    canvas: Canvas, b: Building, light: Light, noises: tuple[Noise, Noise], rng: np.random.Generator
) -> None:
    """Two tiled slopes with the ridge along Z, jutting out a little."""
    tile = np.array(_ROOFS[int(rng.integers(len(_ROOFS)))], dtype=np.float32)
    half, eaves = (b.x1 - b.x0) / 2, 0.35
    length = float(np.hypot(half, b.roof))
    for direction in (1.0, -1.0):
        up = vector(direction * half / length, b.roof / length, 0)
        normal = vector(-direction * b.roof / length, half / length, 0)
        start = vector(b.x0 if direction > 0 else b.x1, b.height, b.z0 - eaves) - up * eaves
        view = start - vector(0, canvas.camera_height, 0)
        if float(view @ normal) >= 0:
            continue
        texture = partial(
            _tiles,
            colour=tile * light.on(normal),
            noises=noises,
            shift=float(b.seed % 97),
        )
        canvas.face(start, vector(0, 0, 1), up, (b.z1 - b.z0 + 2 * eaves, length + eaves), texture)


def _tiles(
    s: Array,
    t: Array,
    foot_s: Array,
    foot_t: Array,
    *,
    colour: Array,
    noises: tuple[Noise, Noise],
    shift: float,
) -> Array:
    gritty, cloudy = noises
    foot = np.sqrt(foot_s * foot_t)
    row = stripes(t, foot_t, 0.32, 0, 0.07)
    gap = stripes(s + 0.15 * (np.floor(t / 0.32) % 2), foot_s, 0.3, 0, 0.04)
    tone = 1 + 0.20 * gritty.at(s * 12, t * 12, foot * 12)
    tone = tone + 0.14 * cloudy.at(s * 6 + shift, t * 6, foot * 6)
    tone = tone * (1 - 0.42 * row) * (1 - 0.18 * gap)
    return np.asarray(colour * tone[..., None], dtype=np.float32)


def _paint_flat_roof(
    canvas: Canvas, b: Building, light: Light, noises: tuple[Noise, Noise]
) -> None:
    """Gravel seen from above, with a parapet and a few plant rooms."""
    glow = light.on(vector(0, 1, 0))
    size = (b.x1 - b.x0, b.z1 - b.z0)
    texture = partial(_gravel, size=size, glow=glow, noises=noises, shift=float(b.seed % 89))
    canvas.face(vector(b.x0, b.height, b.z0), vector(1, 0, 0), vector(0, 0, 1), size, texture)


def _gravel(
    s: Array,
    t: Array,
    foot_s: Array,
    foot_t: Array,
    *,
    size: tuple[float, float],
    glow: Array,
    noises: tuple[Noise, Noise],
    shift: float,
) -> Array:
    gritty, cloudy = noises
    foot = np.sqrt(foot_s * foot_t)
    tone = 0.28 * (1 + 0.12 * gritty.at(s * 14, t * 14, foot * 14))
    tone = tone * (1 + 0.10 * cloudy.at(s * 3 + shift, t * 3, foot * 3))
    edge = np.minimum(np.minimum(s, size[0] - s), np.minimum(t, size[1] - t))
    tone = tone * (1 + 0.45 * smoothstep(0.3, 0.45, edge))
    unit = stripes(s, foot_s, 7.0, 2.0, 4.5) * stripes(t, foot_t, 9.0, 3.0, 5.5)
    beside = stripes(s, foot_s, 7.0, 4.5, 5.0) * stripes(t, foot_t, 9.0, 3.2, 5.7)
    tone = tone * (1 + 0.16 * unit) * (1 - 0.45 * beside)
    return np.asarray(vector(1, 0.97, 0.92) * glow * tone[..., None], dtype=np.float32)
