"""Sky, hills and ground of the rendered scenes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from corun.data.scene_canvas import Array, Canvas, mix, smoothstep, stripes, vector
from corun.data.scene_noise import Noise


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

    def on(self, normal: Array) -> Array:
        """Light falling on a face, (3,)."""
        up = np.float32(0.75 + 0.25 * normal[1])
        return self.sky * up + self.sun * np.float32(max(0.0, float(normal @ self.towards)))


@dataclass(frozen=True)
class Road:
    """A road along the view and what lies beside it; metres."""

    offset: float
    """X of the centre line at the camera."""
    bend: float
    """Curvature: the centre line is at offset + bend·Z²."""
    half: float
    """Half the carriageway."""
    pavement: float
    """Width of the pavement on either side; 0 for none."""
    gravel: bool = False
    crossings: list[float] = field(default_factory=list)
    """Z of the cross streets."""

    def centre(self, z: Array | float) -> Array | float:
        return self.offset + self.bend * z * z


def paint_sky(canvas: Canvas, light: Light, rng: np.random.Generator, noise: Noise) -> None:
    """Gradient, glow around the sun's side and a layer of clouds on a plane overhead."""
    cover, wisps = rng.uniform(-0.5, 0.9), rng.random() < 0.3
    shift_u, shift_v = rng.uniform(0, 256, 2)
    rows = int(np.clip(np.ceil(canvas.horizon_row) + 2, 1, canvas.height))
    elevation = np.maximum(-canvas.y[:rows], 0)
    elevation = elevation / np.sqrt(1 + canvas.x**2 + elevation**2)
    sky = mix(light.rim, light.zenith, (1 - np.exp(-elevation * 3.2)) * 1.05)
    azimuth = canvas.x * light.towards[0] / np.sqrt(1 + canvas.x**2)
    sky = sky * (1 + 0.25 * np.clip(azimuth, -1, 1) * np.exp(-elevation * 4))[..., None]
    reach = 26 / (elevation + 0.10)
    u = canvas.x * reach * (0.55 if wisps else 1.0) + np.float32(shift_u)
    v = reach * (1.9 if wisps else 1.2) + np.float32(shift_v)
    footprint = np.maximum(reach / canvas.focal, 1e-3) * (1 + reach / 60)
    thick = noise.at(u, v, footprint)
    density = smoothstep(0.95 - cover * 0.9, 2.2 - cover * 0.9, thick)
    if wisps:
        density *= 0.6
    density = density * smoothstep(-0.02, 0.12, elevation)
    sunward = np.float32(np.sign(light.towards[0]) * 5)
    relief = thick - noise.at(u + sunward, v - 3, footprint)
    grey = smoothstep(1.2, 3.2, thick)
    cloud = (
        vector(1.02, 1.01, 1.0)
        * (0.92 + 0.10 * np.clip(relief, -1.5, 1.5) - 0.22 * grey)[..., None]
    )
    canvas.colour[:rows] = mix(sky, cloud, density)
    canvas.colour[rows:] = light.rim


def paint_hills(
    canvas: Canvas,
    light: Light,
    noise: Noise,
    rng: np.random.Generator,
    *,
    layers: int,
    nearest: float,
    farthest: float,
    height: float,
) -> None:
    """Ridges one behind the other, wooded below and bare or grassy above.

    A layer is a slope leaning away from the viewer: its depth grows from its foot to its ridge.
    """
    distances = np.linspace(farthest, nearest, layers)
    for number, foot in enumerate(distances):
        tall = height * float(rng.uniform(0.7, 1.3)) * (1 - 0.55 * number / max(1, layers))
        shift = float(rng.uniform(0, 256))
        across = canvas.x * np.float32(foot)
        long_wave = noise.at(across * 0.22 + shift, np.float32(shift * 0.37) + 0 * across, 1.0)
        detail = noise.at(across * 1.9 + shift, np.float32(shift * 0.71) + 0 * across, 1.0)
        ridge = tall * np.maximum(0.55 + 0.33 * long_wave + 0.028 * detail, 0.12)
        level = canvas.camera_height - canvas.y * np.float32(foot)
        step = float(foot / canvas.focal)
        alpha = np.clip((ridge - level) / step + 0.5, 0, 1)
        top = int(max(0, np.floor(canvas.project(vector(0, float(ridge.max()), float(foot)))[1])))
        bottom = int(min(canvas.height, np.ceil(canvas.project(vector(0, -1, float(foot)))[1]) + 1))
        if top >= bottom:
            continue
        where = (slice(top, bottom), slice(0, canvas.width))
        level, alpha = level[top:bottom], alpha[top:bottom]
        share = np.clip(level / ridge, 0, 1)
        z = np.float32(foot) + share * np.float32(0.25 * (farthest - nearest) / layers + 6)
        woods = noise.at(across * 5.0 + shift, level * 7.0 + shift, step * 5)
        relief = noise.at(across * 0.8 + level * 0.6 + shift, level * 1.3 - shift, step)
        sunward = np.float32(np.sign(light.towards[0]) * 2.5)
        lean = relief - noise.at(
            across * 0.8 + level * 0.6 + shift + sunward, level * 1.3 - shift + 2, step
        )
        forest = vector(0.040, 0.070, 0.026) * float(rng.uniform(0.8, 1.3))
        meadow = vector(0.13, 0.15, 0.055) * float(rng.uniform(0.7, 1.1))
        albedo = mix(forest, meadow, 0.8 * smoothstep(0.4, 1.2, relief + 0.6 * share - 0.3))
        shade = np.clip(0.72 + 0.55 * lean, 0.15, 1.4)
        shade = shade * np.clip(1 + 0.45 * woods, 0.3, 2.0)
        glow = light.sky * 0.8 + light.sun * 0.75 * shade[..., None]
        # A clear day still has a little air: far ridges lean to the sky's colour.
        colour = mix(albedo * glow, light.rim * 0.8, 0.10 * (layers - number) / layers)
        canvas.paint(where, colour, alpha, z)


def paint_ground(
    canvas: Canvas,
    light: Light,
    rng: np.random.Generator,
    noises: tuple[Noise, Noise],
    *,
    road: Road,
    farthest: float,
    fields: bool,
    shade: Array | None,
) -> None:
    """The plane Y = 0: grass or fields, road, markings, kerbs, pavements.

    ``shade``: (rows of the canvas, w), the share of sunlight that arrives.
    """
    gritty, cloudy = noises
    top = int(np.clip(np.floor(canvas.horizon_row), 0, canvas.height))
    where = (slice(top, canvas.height), slice(0, canvas.width))
    y = canvas.y[top:]
    if not y.size:
        return
    z = canvas.camera_height / np.maximum(y, 1e-6) + 0 * canvas.x
    seen = (z < farthest).astype(np.float32)
    z = np.minimum(z, np.float32(farthest))
    x = canvas.x * z - np.float32(road.offset) - np.float32(road.bend) * z * z
    across = z / np.float32(canvas.focal)
    ahead = across * z / np.float32(canvas.camera_height)
    coarse_foot = np.sqrt(across * ahead)

    colour = _grass(x, z, across, ahead, noises, rng, fields)
    grit = gritty.at(x * 55, z * 55, coarse_foot * 55)
    worn = cloudy.at(x * 2.1, z * 0.55, coarse_foot * 1.2)
    side = np.abs(x)
    if road.pavement:
        slab = 1 - 0.22 * np.maximum(
            stripes(x, across, 0.9, 0, 0.05), stripes(z, ahead, 0.9, 0, 0.05)
        )
        tone = float(rng.uniform(0.24, 0.36))
        pavement = (
            vector(1.0, 0.96, 0.9) * (tone * slab * (1 + 0.10 * grit + 0.08 * worn))[..., None]
        )
        colour = mix(colour, pavement, _below(side, road.half + road.pavement, across))
        kerb = vector(0.42, 0.41, 0.39) * (1 + 0.10 * grit)[..., None]
        colour = mix(colour, kerb, _below(side, road.half + 0.22, across))
    if road.gravel:
        ruts = np.exp(-(((side - 0.85) / 0.35) ** 2))
        surface = (
            vector(0.30, 0.24, 0.17)
            * ((1 + 0.30 * grit + 0.16 * worn) * (1 + 0.25 * ruts))[..., None]
        )
        edge = road.half + 0.28 * worn
    else:
        wheels = np.exp(-(((side % 3.3) - 1.65) ** 2) / 0.9)
        tar = smoothstep(1.5, 1.7, worn) * 0.18
        surface = (
            vector(0.135, 0.132, 0.13)
            * ((1 + 0.26 * grit + 0.14 * worn - tar) * (1 - 0.10 * wheels))[..., None]
        )
        edge = road.half + 0 * side
    colour = mix(colour, surface, np.clip((edge - side) / across + 0.5, 0, 1))
    for crossing in road.crossings:
        cross = _below(np.abs(z - crossing), 4.0, ahead)
        colour = mix(colour, surface, cross)
    if not road.gravel:
        paint = _markings(x, z, across, ahead, road) * np.clip(0.86 + 0.16 * grit, 0, 1)
        colour = mix(colour, vector(0.68, 0.67, 0.62), paint)
    sunny = 1.0 if shade is None else shade[top:]
    lit = light.sky * np.float32(1.0) + light.sun * light.towards[1] * np.asarray(sunny)[..., None]
    canvas.paint(where, colour * lit, seen, z)


def _grass(
    x: Array,
    z: Array,
    across: Array,
    ahead: Array,
    noises: tuple[Noise, Noise],
    rng: np.random.Generator,
    fields: bool,
) -> Array:
    gritty, cloudy = noises
    foot = np.sqrt(across * ahead)
    blades = gritty.at(x * 34, z * 22, foot * 26)
    tufts = gritty.at(x * 5 + 77, z * 4, foot * 4.5)
    patches = cloudy.at(x * 1.3 + 31, z * 1.1, foot * 1.2)
    green = vector(0.10, 0.140, 0.040) * float(rng.uniform(0.85, 1.2))
    dry = vector(0.26, 0.22, 0.09) * float(rng.uniform(0.8, 1.1))
    colour = mix(green, dry, np.clip(0.22 + 0.2 * patches + 0.10 * tufts, 0, 0.9))
    if fields:
        plots = [
            vector(0.36, 0.29, 0.10),
            vector(0.12, 0.155, 0.045),
            vector(0.22, 0.15, 0.09),
            vector(0.085, 0.125, 0.04),
        ]
        turn = float(rng.uniform(-0.5, 0.5))
        u, w = x + turn * z, z - turn * x
        deep = float(rng.uniform(28, 45))
        plot = (np.floor(u / 38) * 3 + np.floor(w / deep)).astype(np.int32) % 4
        soil = np.stack(plots)[plot]
        rows = stripes(u, across + np.abs(turn) * ahead, 1.5, 0, 0.7)
        soil = soil * (0.82 + 0.36 * rows)[..., None]
        beyond = np.clip((np.abs(x) - 6 - 0.8 * patches) / np.maximum(across, 0.6), 0, 1)
        colour = mix(colour, soil, beyond)
    return np.asarray(
        colour * np.clip(1 + 0.42 * blades + 0.22 * tufts, 0.25, 2.2)[..., None], dtype=np.float32
    )


def _markings(x: Array, z: Array, across: Array, ahead: Array, road: Road) -> Array:
    """Coverage of white paint: a dashed centre line, edge lines, zebra crossings."""
    wide = np.maximum(across, 1e-4)

    def line(centre: float, half: float) -> Array:
        return np.clip((half - np.abs(x - centre)) / wide + 0.5, 0, 1) * np.minimum(
            1, 2 * half / wide
        )

    dashes = line(0.0, 0.08) * stripes(z, ahead, 9.0, 0, 4.0)
    edges = line(-road.half + 0.3, 0.07) + line(road.half - 0.3, 0.07)
    paint = np.maximum(dashes, edges)
    for crossing in road.crossings:
        on_junction = _below(np.abs(z - crossing), 4.2, ahead)
        paint = paint * (1 - on_junction)
        zebra = _below(np.abs(z - crossing + 6.2), 1.5, ahead) * _below(
            np.abs(x), road.half - 0.4, across
        )
        paint = np.maximum(paint, zebra * stripes(x, across, 1.0, 0, 0.5))
    return np.asarray(paint)


def _below(value: Array, limit: float, footprint: Array) -> Array:
    """Coverage of value < limit."""
    return np.asarray(np.clip((limit - value) / footprint + 0.5, 0, 1), dtype=np.float32)
