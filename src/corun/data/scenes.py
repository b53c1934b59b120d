"""Rendered outdoor scenes with exact depth: truth for tests, documentation, training and the demo.

A seed decides everything: which of four kinds of place is shown (a street, open country, a
tree-lined avenue, a town seen from above), its layout, materials, weather and the sun. Rays are
cast from a pinhole camera that can stand anywhere in the place; nothing is read from disk. Sizes
and positions are in metres and the view scales with the picture, so one seed shows the same place
at every size. :func:`render` needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from corun.data.scene_materials import (
    paint_ground,
    paint_leaves,
    paint_plain,
    paint_sky,
    paint_walls,
)
from corun.data.scene_places import Array, Material, Place
from corun.data.scene_rays import (
    FARTHEST_LAND,
    GROUND,
    SKY,
    SKY_REACH,
    Hits,
    View,
    World,
    build_world,
    trace,
)

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLES_AT_ONCE = 250_000
"""Rays that are cast together: few enough for the processor's cache and for any memory."""


@dataclass(frozen=True)
class Camera:
    """A camera's pose, relative to the one that the scene itself has.

    Attributes:
        x: metres to the right. y: metres up. z: metres ahead.
        yaw: radians, turned to the right. pitch: radians, turned upwards.
        focal: focal length in units of √(height·width·4/3) pixels, which is the width of a 4:3
            picture; None for the scene's own, between 0.8 and 1.06.
    """

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    focal: float | None = None


class RenderedScene(NamedTuple):
    """A clear picture, its depth, and the camera that saw it."""

    clean: Array
    """(H, W, 3), RGB, sRGB-encoded, float32, [0,1]."""
    depth: Array
    """(H, W), distance along the line of sight, float32, [0,1]: larger = farther, sky exactly 1.

    Proportional to metres (1 is 266 m in streets, 336 m in the country, 420 m from above), up to
    0.97, so that exp(−2·β·depth) is homogeneous haze.
    """
    distance: Array
    """(H, W), the same in metres, float32; infinite where there is only sky."""
    view: View


class SceneTensors(NamedTuple):
    """A clear picture and its depth for torch."""

    image: Tensor
    """(3,H,W), RGB, sRGB-encoded, float32, [0,1]."""
    depth: Tensor
    """(1,H,W), as ``RenderedScene.depth``."""


def render_scene(height: int, width: int, seed: int) -> SceneTensors:
    """Render the outdoor scene that a seed stands for, as tensors, from the scene's own camera.

    Args:
        height: rows, at least 1.
        width: columns, at least 1.
        seed: any integer from 0.

    Raises:
        ValueError: a side is below 1 or the seed is negative.
    """
    import torch

    scene = render(seed, height, width)
    image = torch.from_numpy(scene.clean).permute(2, 0, 1).contiguous()
    return SceneTensors(image, torch.from_numpy(scene.depth)[None])


def render(seed: int, height: int, width: int, camera: Camera | None = None) -> RenderedScene:
    """Render the outdoor scene that a seed stands for.

    The place is furnished for a camera within 60 m of its own one that does not look back.

    Args:
        seed: any integer from 0.
        height: rows, at least 1.
        width: columns, at least 1.
        camera: where it stands and looks; None for the scene's own.

    Raises:
        ValueError: a side is below 1, the seed is negative, a number of the camera is not finite,
            its focal length is not positive, or it is below the ground.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a scene needs at least 1×1 pixels, got {height}×{width}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    world = build_world(seed)
    view = _view(world.place, height, width, camera or Camera())
    colour: Array = np.empty((height, width, 3), np.float32)
    distance: Array = np.empty((height, width), np.float32)
    strip = max(1, _SAMPLES_AT_ONCE // (4 * width))
    for top in range(0, height, strip):
        bottom = min(height, top + strip)
        rays = view.rays(np.arange(2 * width + 1) / 2, np.arange(2 * top, 2 * bottom + 1) / 2)
        hits = trace(world, view, rays, (0.0, float(top), 0.5))
        colour[top:bottom] = _filtered(world, view, rays, hits)
        distance[top:bottom] = hits.distance[1::2, 1::2]
    sky_at = np.float32(SKY_REACH * world.place.reach)
    depth = np.where(np.isinf(distance), 1, np.minimum(distance / sky_at, FARTHEST_LAND))
    return RenderedScene(_develop(colour), depth.astype(np.float32), distance, view)


def _view(place: Place, height: int, width: int, camera: Camera) -> View:
    focal = place.focal if camera.focal is None else camera.focal
    numbers = (camera.x, camera.y, camera.z, camera.yaw, camera.pitch, focal)
    if not all(np.isfinite(numbers)):
        raise ValueError(f"a camera needs finite numbers, got {camera}")
    if focal <= 0:
        raise ValueError(f"focal must be positive, got {focal}")
    if place.eye + camera.y <= 0:
        raise ValueError(f"the camera would be {-place.eye - camera.y:.2f} m below the ground")
    sin, cos = np.sin(camera.yaw), np.cos(camera.yaw)
    rise, level = np.sin(camera.pitch), np.cos(camera.pitch)
    axes = [
        (cos, 0, -sin),
        (-sin * rise, level, -cos * rise),
        (sin * level, rise, cos * level),
    ]
    return View(
        height,
        width,
        np.array([camera.x, place.eye + camera.y, camera.z], np.float32),
        np.array(axes, np.float32),
        float(np.sqrt(height * width * 4 / 3) * focal),
        (width / 2, place.horizon * height),
    )


def _filtered(world: World, view: View, rays: Array, hits: Hits) -> Array:
    """Linear RGB, (h, w, 3), of pixels whose rays are every second one, from 1, of a finer grid.

    Where a pixel's nine rays meet one face, its colour is that of the middle one. Elsewhere it is
    their weighted mean, so that outlines are smooth.
    """
    met = hits.solid.astype(np.int32) * 16 + hits.face
    middle = met[1::2, 1::2]
    shape = middle.shape
    nine = [(down, right) for down in range(3) for right in range(3)]

    def sample(array: Array, down: int, right: int) -> Array:
        return array[down : down + 2 * shape[0] : 2, right : right + 2 * shape[1] : 2]

    mixed = np.any([sample(met, *offset) != middle for offset in nine], axis=0)
    wanted = np.zeros(met.shape, bool)
    for offset in nine:
        sample(wanted, *offset)[mixed] = True
    colour: Array = np.zeros((*met.shape, 3), np.float32)
    colour[wanted] = _shade(world, view, rays, hits, wanted, 0.5)
    weights = np.array([0.2, 0.6, 0.2], np.float32)
    mean = sum(weights[p[0]] * weights[p[1]] * sample(colour, *p)[mixed] for p in nine)
    wanted[:] = False
    wanted[1::2, 1::2] = ~mixed
    pixels: Array = np.empty((*shape, 3), np.float32)
    pixels[~mixed] = _shade(world, view, rays, hits, wanted, 1.0)
    pixels[mixed] = mean
    return pixels


_MATERIALS: tuple[Material, ...] = ("plain", "wall", "leaf")


def _shade(
    world: World, view: View, rays: Array, hits: Hits, wanted: Array, spacing: float
) -> Array:
    """Linear RGB, (n, 3), of what the wanted rays meet, averaged over so many pixels."""
    place, light = world.place, world.light
    solid, face, distances = hits.solid[wanted], hits.face[wanted], hits.distance[wanted]
    directions = rays[:, wanted].T
    colour: Array = np.empty((len(solid), 3), np.float32)
    kinds = np.array([_MATERIALS.index(s.material) for s in place.solids] + [GROUND, SKY], np.int8)
    kind = kinds[solid]  # the two last are those of GROUND, −2, and SKY, −1
    for what in np.unique(kind).tolist():
        chosen = kind == what
        ray, distance, which = directions[chosen], distances[chosen], solid[chosen]
        if what == SKY:
            colour[chosen] = paint_sky(light, view.position, ray)
            continue
        step = distance * np.float32(spacing / view.focal)
        point = view.position + distance[:, None] * ray
        if what == GROUND:
            steep = np.minimum(ray[:, 1], -1e-4)
            steps = step * np.hypot(1, ray[:, 0] / steep), step * np.hypot(1, ray[:, 2] / steep)
            albedo = paint_ground(place, world.key, point[:, 0], point[:, 2], steps)
            up = np.array([0, 1, 0], np.float32)
            normal, open_sky = np.broadcast_to(up, point.shape), np.ones_like(step)
        else:
            albedo, normal, open_sky = _surface(world, which, face[chosen], point, ray, step)
        sunlit = np.maximum(normal @ light.towards, 0)
        sunlit *= _sunlight(
            world.shadow, point + np.float32(0.1) * normal, what == _MATERIALS.index("leaf")
        )
        sky = open_sky * (0.75 + 0.25 * normal[:, 1])
        colour[chosen] = albedo * (light.sky * sky[:, None] + light.sun * sunlit[:, None])
    return colour


def _surface(
    world: World, number: Array, face: Array, point: Array, ray: Array, step: Array
) -> tuple[Array, Array, Array]:
    """Albedo (n, 3), normal (n, 3) and share of the open sky (n,) of points on solids of a kind."""
    used, of = np.unique(number, return_inverse=True)
    solids = [world.place.solids[index] for index in used]
    base, half = (
        np.array([getattr(s, name) for s in solids], np.float32)[of] for name in ("colour", "half")
    )
    style = np.array([(*s.style, 0, 0)[:5] for s in solids], np.float32)[of]
    axes = world.axes[number]
    local = np.einsum("nij,nj->ni", axes, point - world.feet[number])
    if solids[0].material == "leaf":
        normal = local / half**2
        normal = np.einsum(
            "nji,nj->ni", axes, normal / np.linalg.norm(normal, axis=1, keepdims=True)
        )
        open_sky = np.clip(0.55 + 0.5 * local[:, 1] / half[:, 1], 0.2, 1)
        return paint_leaves(base, style, local, step), normal, open_sky
    normal, open_sky = world.normals[number, face], np.clip(0.55 + 0.15 * local[:, 1], 0, 1)
    if solids[0].material == "plain":
        return paint_plain(base, style, point, step), normal, open_sky
    local_normal, local_ray = (np.einsum("nij,nj->ni", axes, v) for v in (normal, ray))
    long = np.abs(local_normal[:, 0]) > 0.3  # the face runs along the local Z axis
    steep = np.minimum((ray * normal).sum(axis=1), -1e-3)
    along, half_length, ray_along = (
        np.where(long, v[:, 2], v[:, 0]) for v in (local, half, local_ray)
    )
    steps = step * np.hypot(1, ray_along / steep), step * np.hypot(1, ray[:, 1] / steep)
    where, roof = (along, local[:, 1], half_length), normal[:, 1] > 0.2
    return paint_walls(world.light, base, style, where, steps, roof), normal, open_sky


def _sunlight(shadow: tuple[View, Array] | None, point: Array, leaf: bool) -> Array:
    """Share of the sunlight that reaches points, (n,), [0,1]; 1 outside the map of shadows."""
    assert shadow
    view, nearest = shadow
    column, row, _ = view.project(point)
    distance = np.linalg.norm(point - view.position, axis=1) - np.float32(0.5 if leaf else 0.25)
    x, y = column - np.float32(0.5), row - np.float32(0.5)
    known = (x >= 0) & (y >= 0) & (x < view.width - 1) & (y < view.height - 1)
    x, y = np.where(known, x, 0), np.where(known, y, 0)
    left, top = x.astype(np.int64), y.astype(np.int64)
    x, y = x - left, y - top
    share: Array = np.zeros(len(point), np.float32)
    for down, weight_y in ((0, 1 - y), (1, y)):
        for right, weight_x in ((0, 1 - x), (1, x)):
            share += weight_y * weight_x * (nearest[top + down, left + right] >= distance)
    return np.where(known, share, np.float32(1))


def _develop(colour: Array) -> Array:
    """Linear light → sRGB-encoded [0,1]: a film-like shoulder, a little saturation, the curve."""
    exposed = np.maximum(colour, 0) * np.float32(1.25)
    mapped = exposed * (1 + exposed / 5.0) / (1 + 0.72 * exposed)
    grey = mapped.mean(axis=2, keepdims=True)
    mapped = np.clip(grey + (mapped - grey) * np.float32(1.12), 0, 1)
    encoded = np.where(mapped <= 0.0031308, mapped * 12.92, 1.055 * mapped ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(encoded, 0, 1), dtype=np.float32)
