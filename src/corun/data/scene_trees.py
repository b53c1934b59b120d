"""Trees, bushes and lamp posts of the rendered scenes.

A tree is drawn once as a picture with coverage (a sprite) out of leafy blobs lit from one side, and
stands in the scene, at any size, as an upright plane at its trunk's distance.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from corun.data.scene_canvas import Array, Canvas, vector
from corun.data.scene_land import Light
from corun.data.scene_noise import Noise

Kind = Literal["broadleaf", "poplar", "conifer", "bush"]

_LEAVES = {
    "broadleaf": (0.105, 0.148, 0.038),
    "poplar": (0.135, 0.175, 0.048),
    "conifer": (0.05, 0.095, 0.04),
    "bush": (0.085, 0.13, 0.042),
}
_WIDTH = {"broadleaf": 0.95, "poplar": 0.42, "conifer": 0.55, "bush": 1.5}


class Sprite(NamedTuple):
    """A tree with its resolution pyramid."""

    levels: list[Array]
    """(n, n, 4): premultiplied linear RGB and coverage, finest first."""
    aspect: float
    """Width / height."""


def draw_sprite(
    kind: Kind, size: int, light: Light, noise: Noise, rng: np.random.Generator
) -> Sprite:
    """Draw a tree of a kind, ``size`` pixels tall (a power of two)."""
    aspect = _WIDTH[kind]
    picture: Array = np.zeros((size, size, 4), dtype=np.float32)
    across = (((np.arange(size, dtype=np.float32) + 0.5) / size - 0.5) * aspect)[None, :]
    level = (1 - (np.arange(size, dtype=np.float32) + 0.5) / size)[:, None]
    leaf = np.array(_LEAVES[kind], dtype=np.float32) * np.float32(rng.uniform(0.85, 1.2))
    leaf = leaf * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    if kind != "bush":
        _trunk(picture, across, level, light, noise, kind)
    for cx, cy, radius in _crown(kind, rng):
        _blob(picture, (across, level), (cx, cy, radius), leaf, light, noise, rng)
    levels = [picture]
    while levels[-1].shape[0] > 2:
        half = levels[-1].shape[0] // 2
        levels.append(levels[-1].reshape(half, 2, half, 2, 4).mean(axis=(1, 3)))
    return Sprite(levels, aspect)


def paint_sprite(
    canvas: Canvas,
    sprite: Sprite,
    *,
    x: float,
    z: float,
    height: float,
    mirror: bool = False,
    tint: float = 1.0,
) -> None:
    """Stand a tree of ``height`` metres on the ground at (x, z)."""
    left, top = canvas.project(vector(x - height * sprite.aspect / 2, height, z))
    right, bottom = canvas.project(vector(x + height * sprite.aspect / 2, 0, z))
    where = canvas.window(left, right, top, bottom)
    if where is None or bottom - top < 0.5:
        return
    wanted = np.log2(max(1.0, sprite.levels[0].shape[0] / (bottom - top)))
    picture = sprite.levels[int(np.clip(wanted + 0.25, 0, len(sprite.levels) - 1))]
    n = picture.shape[0]
    columns = np.arange(where[1].start, where[1].stop, dtype=np.float32) + 0.5
    rows = np.arange(where[0].start, where[0].stop, dtype=np.float32) + 0.5
    u = (columns - left) / max(right - left, 1e-3)
    v = (rows - top) / max(bottom - top, 1e-3)
    u0, u1, fu, inside_u = _taps(1 - u if mirror else u, n)
    v0, v1, fv, inside_v = _taps(v, n)
    upper, lower = picture[v0], picture[v1]
    blend = upper + (lower - upper) * fv[:, None, None]
    texel = blend[:, u0] + (blend[:, u1] - blend[:, u0]) * fu[None, :, None]
    alpha = texel[..., 3] * inside_v[:, None] * inside_u[None, :]
    colour = texel[..., :3] / np.maximum(texel[..., 3:], 1e-4) * np.float32(tint)
    canvas.paint(where, colour, alpha, z)


def paint_post(canvas: Canvas, *, x: float, z: float, height: float, reach: float) -> None:
    """A lamp post with an arm of ``reach`` metres, negative to the left."""
    half = 0.07
    column, foot = canvas.project(vector(x, 0, z))
    end, head = canvas.project(vector(x + reach, height, z))
    where = canvas.window(min(column, end) - 2, max(column, end) + 2, head - 2, foot)
    if where is None:
        return
    columns = np.arange(where[1].start, where[1].stop, dtype=np.float32)[None, :] + 0.5
    rows = np.arange(where[0].start, where[0].stop, dtype=np.float32)[:, None] + 0.5
    wide = half / z * canvas.focal
    strength = min(1.0, 2 * wide)
    edge = max(wide, 0.5)
    post = np.clip(edge - np.abs(columns - column) + 0.5, 0, 1) * (rows > head) * (rows < foot)
    between = (columns > min(column, end)) * (columns < max(column, end))
    arm = np.clip(edge - np.abs(rows - head) + 0.5, 0, 1) * between
    near_end = np.abs(columns - end) < 0.55 / z * canvas.focal
    lamp = near_end * np.clip(2 * edge - np.abs(rows - head) + 0.5, 0, 1)
    alpha = np.maximum(np.maximum(post, arm), lamp) * np.float32(strength)
    canvas.paint(where, vector(0.13, 0.14, 0.145) * np.ones_like(alpha)[..., None], alpha, z)


def _crown(kind: Kind, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Blobs (across, level, radius) in tree heights, from the back and below to the front."""
    blobs: list[tuple[float, float, float]] = []
    if kind == "conifer":
        for level in np.linspace(0.10, 0.965, 22):
            spread = (0.25 * (1 - level) + 0.004) * float(rng.uniform(0.8, 1.15))
            for place in np.linspace(-1, 1, 2 + round(7 * (1 - level))):
                sag = 0.05 * abs(place) * (1 - level)  # branches hang towards their tips
                blobs.append(
                    (
                        float(place) * spread + float(rng.normal(0, 0.006)),
                        float(level - sag + rng.normal(0, 0.008)),
                        0.016 + 0.11 * spread,
                    )
                )
        return blobs
    shape = {
        "broadleaf": (0.36, 0.30, 0.65, 54),
        "poplar": (0.13, 0.41, 0.56, 44),
        "bush": (0.56, 0.32, 0.40, 34),
    }
    spread, tall, middle, count = shape[kind]
    for _ in range(count):
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        small = float(rng.uniform(0.26, 0.52)) * min(spread, tall) * (1.2 - 0.5 * radius)
        blobs.append(
            (
                float(np.cos(angle) * radius * (spread - 0.3 * small)),
                float(middle + np.sin(angle) * radius * (tall - 0.3 * small)),
                small,
            )
        )
    blobs.sort(key=lambda blob: blob[1] + float(rng.normal(0, 0.16)))
    return blobs


def _blob(
    picture: Array,
    grid: tuple[Array, Array],
    blob: tuple[float, float, float],
    leaf: Array,
    light: Light,
    noise: Noise,
    rng: np.random.Generator,
) -> None:
    """One clump of leaves: ragged at the edge, lit where it faces the sun."""
    across, level = grid
    cx, cy, radius = blob
    size = picture.shape[0]
    reach = 1.45 * radius
    columns = np.flatnonzero(np.abs(across[0] - cx) < reach)
    rows = np.flatnonzero(np.abs(level[:, 0] - cy) < reach)
    if not columns.size or not rows.size:
        return
    where = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    a, b = (across[:, where[1]] - cx) / radius, (level[where[0]] - cy) / radius
    shift = rng.uniform(0, 256, 2).astype(np.float32)
    texel = 150.0
    leaves = noise.at(a * radius * texel + shift[0], b * radius * texel + shift[1], texel / size)
    rho = np.sqrt(a * a + b * b)
    alpha = np.clip((1 + 0.36 * leaves - rho) * radius * size * 0.55 + 0.5, 0, 1)
    depth = np.sqrt(np.clip(1 - rho * rho, 0.02, 1))
    lambert = a * light.towards[0] + b * light.towards[1] - depth * light.towards[2]
    # Leaves let light through and shade each other: softer than Lambert, and grained.
    sunlit = np.clip(0.26 + 0.60 * lambert, 0.02, 1) * np.clip(1 + 0.75 * leaves, 0.08, 2.6)
    whole = (cx + a * radius) * light.towards[0] + (cy + b * radius - 0.55) * light.towards[1]
    inner = np.clip(0.62 + 0.95 * whole, 0.28, 1.05)  # darker underneath and away from the sun
    colour = leaf * (
        light.sky * (0.62 * inner * np.clip(1 + 0.45 * leaves, 0.25, 1.9))[..., None]
        + light.sun * (sunlit * inner)[..., None]
    )
    target = picture[where]
    target[..., :3] += alpha[..., None] * (colour - target[..., :3])
    target[..., 3] += alpha * (1 - target[..., 3])


def _trunk(
    picture: Array, across: Array, level: Array, light: Light, noise: Noise, kind: Kind
) -> None:
    top = 0.55 if kind == "broadleaf" else 0.3
    half = (0.026 if kind == "broadleaf" else 0.016) * (1 - 0.6 * level) + 0.012 * np.exp(
        -level * 40
    )
    alpha = np.clip((half - np.abs(across)) * picture.shape[0] + 0.5, 0, 1) * (level < top)
    bark = 1 + 0.3 * noise.at(across * 260, level * 60, 1.0)
    turn = np.clip(across / np.maximum(half, 1e-3), -1, 1) * light.towards[0]
    glow = light.sky * 0.6 + light.sun * np.clip(0.35 + 0.5 * turn, 0, 1)[..., None]
    colour = vector(0.16, 0.12, 0.085) * glow * bark[..., None]
    picture[..., :3] += alpha[..., None] * (colour - picture[..., :3])
    picture[..., 3] += alpha * (1 - picture[..., 3])


def _taps(u: Array, n: int) -> tuple[Array, Array, Array, Array]:
    """Bilinear taps of a coordinate in [0,1], and 1 where it is inside."""
    position = u * n - 0.5
    below = np.floor(position).astype(np.int32)
    inside = ((u >= 0) & (u <= 1)).astype(np.float32)
    return (
        np.clip(below, 0, n - 1),
        np.clip(below + 1, 0, n - 1),
        (position - below).astype(np.float32),
        inside,
    )
