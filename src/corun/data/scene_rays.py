"""Casting rays through a place: pinhole cameras, and the first solid that each ray meets.

The sun is a camera too: what it sees first is lit, the rest is in shadow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from corun.data.scene_materials import Light, make_light, noise
from corun.data.scene_places import Array, Place, Solid, lay_out

SKY_REACH = 1.4
"""Where the sky stands, at depth 1, in distances of the hills."""
FARTHEST_LAND = 0.97
SKY, GROUND = -1, -2
"""What a ray meets where it meets no solid."""
_SHADOW_SIDE = 512


@dataclass(frozen=True)
class View:
    """A pinhole camera in the world: which ray a pixel sees, and where a point is seen.

    Attributes:
        height: rows. width: columns.
        position: (3,), metres.
        axes: (3, 3), rows are the unit vectors to the right, up and ahead.
        focal: pixels.
        centre: column and row, in pixels, of the ray straight ahead. The row is not the middle
            row: the lens is shifted instead of tilted, so that upright things stay upright.
    """

    height: int
    width: int
    position: Array
    axes: Array
    focal: float
    centre: tuple[float, float]

    def rays(self, columns: Array, rows: Array) -> Array:
        """Unit vectors, (3, rows, columns), of places in pixels; pixel 0 is centred on 0.5."""
        right = ((columns - self.centre[0]) / self.focal).astype(np.float32)[None, None, :]
        up = ((self.centre[1] - rows) / self.focal).astype(np.float32)[None, :, None]
        ahead = self.axes[:, :, None, None]
        rays = ahead[0] * right + ahead[1] * up + ahead[2]
        return np.asarray(rays / np.sqrt((rays * rays).sum(axis=0)))

    def points(self, distance: Array) -> Array:
        """World points, (H, W, 3), metres, that lie at a distance (H, W) along the pixels' rays."""
        rays = self.rays(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        return np.asarray(self.position + distance[..., None] * np.moveaxis(rays, 0, -1))

    def project(self, points: Array) -> tuple[Array, Array, Array]:
        """Column, row (pixels; pixel 0 is centred on 0.5) and metres ahead of points (..., 3).

        A point that is not ahead of the camera, where the third value is not positive, is not seen
        and its column and row mean nothing.
        """
        right, up, ahead = np.moveaxis((points - self.position) @ self.axes.T, -1, 0)
        scale = self.focal / np.where(np.abs(ahead) < 1e-6, np.float32(1e-6), ahead)
        return self.centre[0] + right * scale, self.centre[1] - up * scale, ahead


class World(NamedTuple):
    """A place and what the tracing and the shading of it need."""

    place: Place
    light: Light
    key: float
    bounds: Array
    """(n, 8, 3), corners of a box around each solid, metres."""
    feet: Array
    """(n, 3), of the solids, metres."""
    axes: Array
    """(n, 3, 3), rows are the solids' local axes."""
    normals: Array
    """(n, 10, 3), of the solids' faces, in the world."""
    shadow: tuple[View, Array] | None
    """What the sun sees, and how far from it."""


class Hits(NamedTuple):
    """What rays meet."""

    distance: Array
    """(h, w), metres, infinite for the sky."""
    solid: Array
    """(h, w), index of the solid, or what else it is."""
    face: Array
    """(h, w), index of the solid's face."""


@lru_cache(maxsize=4)
def build_world(seed: int) -> World:
    """Lay out the place of a seed, and cast its shadows."""
    rng = np.random.default_rng([seed, 0xC0121])
    place = lay_out(seed % 4, rng)
    solids, light = place.solids, make_light(rng)
    turns = [(np.cos(solid.yaw), np.sin(solid.yaw)) for solid in solids]
    axes = np.array([[(cos, 0, -sin), (0, 1, 0), (sin, 0, cos)] for cos, sin in turns])
    feet, half = (np.array([getattr(s, name) for s in solids]) for name in ("foot", "half"))
    corners = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), axis=-1).reshape(1, 8, 3)
    bounds = feet[:, None] + (corners * half[:, None]) @ axes
    bounds[..., 1] = np.maximum(bounds[..., 1], 0)  # the ground hides what is below
    normals = np.zeros((len(solids), 10, 3))
    for number, solid in enumerate(solids):
        if solid.planes:
            normals[number, : len(solid.planes)] = np.array(solid.planes)[:, :3] @ axes[number]
    b, f, a, n = (array.astype(np.float32) for array in (bounds, feet, axes, normals))
    world = World(place, light, rng.random(), b, f, a, n, shadow=None)
    return world._replace(shadow=_cast_shadows(world))


def _cast_shadows(world: World) -> tuple[View, Array]:
    """The distance from the sun, seen from 2 km, over the nearer part of the place."""
    place, ahead = world.place, -world.light.towards
    reach = 0.55 * place.reach
    right = np.cross([0, 0, 1], ahead)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(ahead, right), ahead]).astype(np.float32)
    position = np.array([0, 0, 0.45 * reach], np.float32) - 2000 * ahead
    side = _SHADOW_SIDE
    view = View(side, side, position, axes, 2000 * side / (1.25 * reach), (side / 2, side / 2))
    rays = view.rays(np.arange(side) + 0.5, np.arange(side) + 0.5)
    return view, trace(world, view, rays, (0.5, 0.5, 1.0), only_solids=True).distance


def trace(
    world: World,
    view: View,
    rays: Array,
    grid: tuple[float, float, float],
    *,
    only_solids: bool = False,
) -> Hits:
    """The first thing that every ray meets.

    Args:
        world: what there is.
        view: where the rays start.
        rays: (3, h, w), unit vectors.
        grid: column and row of the first ray, and the spacing of rays, in pixels.
        only_solids: leaves the ground out.
    """
    shape = rays.shape[1:]
    distance = np.full(shape, np.inf, np.float32)
    hits = Hits(distance, np.full(shape, SKY, np.int16), np.zeros(shape, np.int8))
    if not only_solids:
        ground = -view.position[1] / np.minimum(rays[1], -1e-6)
        _keep(hits, (slice(None), slice(None)), ground, GROUND, 0, ground < _far(world.place))
    column, row, ahead = view.project(world.bounds)
    nearest = ahead.min(axis=1)
    edges = np.stack([row.min(1), row.max(1), column.min(1), column.max(1)])
    edges[:, nearest < 0.3] = [[-1e6], [1e6], [-1e6], [1e6]]  # reaches beside the camera
    index = (edges - np.array([grid[1], grid[1], grid[0], grid[0]])[:, None]) / grid[2]
    first = np.maximum(np.floor(index[::2]), 0).astype(np.int64)
    last = np.minimum(np.ceil(index[1::2]) + 1, np.array(shape)[:, None]).astype(np.int64)
    seen = np.flatnonzero((last > first).all(axis=0) & (ahead.max(axis=1) > 0))
    for number in seen[np.argsort(nearest[seen], kind="stable")]:
        window = tuple(slice(*ends) for ends in zip(first[:, number], last[:, number], strict=True))
        if hits.distance[window].max() <= nearest[number]:
            continue
        solid, towards = world.place.solids[number], rays[(slice(None), *window)]
        origin = view.position - world.feet[number]
        if solid.planes:
            distance, face = _meet_planes(solid, world.normals[number], origin, towards)
        else:
            step = grid[2] / view.focal
            distance, face = _meet_leaves(solid, world.axes[number], origin, towards, step), 0
        _keep(hits, window, distance, int(number), face, distance < np.inf)
    return hits


def _far(place: Place) -> float:
    """Metres from which on there is only sky."""
    return SKY_REACH * FARTHEST_LAND * place.reach


def _keep(
    hits: Hits,
    window: tuple[slice, ...],
    distance: Array,
    solid: int,
    face: Array | int,
    met: Array,
) -> None:
    """Take over what is nearer than what was met before."""
    nearer = met & (distance < hits.distance[window])
    np.copyto(hits.distance[window], distance, where=nearer)
    np.copyto(hits.solid[window], np.int16(solid), where=nearer)
    np.copyto(hits.face[window], face, where=nearer, casting="unsafe")


def _meet_planes(
    solid: Solid, normals: Array, origin: Array, rays: Array
) -> tuple[Array, Array | int]:
    """Distance to a convex body, infinite where missed, and the face: the last plane entered."""
    enter: Array = np.zeros(rays.shape[1:], np.float32)
    leave: Array = np.full(rays.shape[1:], np.inf, np.float32)
    face: Array = np.full(rays.shape[1:], -1, np.int8)
    for number, (plane, normal) in enumerate(zip(solid.planes, normals, strict=False)):
        gap = np.float32(plane[3] - normal @ origin)  # negative: the ray starts outside
        slope = sum(n * ray for n, ray in zip(normal, rays, strict=True) if n)
        with np.errstate(divide="ignore", invalid="ignore"):
            cut = gap / slope
        if gap >= 0:
            np.minimum(leave, cut, out=leave, where=slope > 0)
        else:
            entered = slope < 0
            leave[~entered] = -1
            later = entered & (cut > enter)
            np.copyto(enter, cut, where=later)
            np.copyto(face, np.int8(number), where=later)
    return np.where((face >= 0) & (enter < leave), enter, np.float32(np.inf)), face


def _meet_leaves(solid: Solid, axes: Array, origin: Array, rays: Array, step: float) -> Array:
    """Distance to the near side of an ellipsoid with gaps and a ragged rim, infinite where missed.

    What there is of it is a matter of the place on it alone, not of the camera: more in the
    middle, as seen along its local Z axis, and none far out.
    """
    to_sphere = axes / np.array(solid.half)[:, None]  # in float64: the sun is far
    start, ray = to_sphere @ origin, np.tensordot(to_sphere, rays, 1)
    length = np.einsum("ihw,ihw->hw", ray, ray)
    along = np.tensordot(start, ray, 1)
    chord = along * along - length * (start @ start - 1)
    found: Array = np.full(rays.shape[1:], np.inf, np.float32)
    met = np.nonzero(chord > 0)
    distance = (-along[met] - np.sqrt(chord[met])) / length[met]
    key, ragged, scale = solid.style
    x, y = ((start[i] + distance * ray[i][met]).astype(np.float32) for i in (0, 1))
    cover = np.float32(0.8) - x * x - y * y
    footprint = scale * step * float(np.linalg.norm(origin))
    rim = cover < 3.5 * ragged
    if footprint < 3 and rim.any():
        u = x[rim] * np.float32(scale * solid.half[0]) + np.float32(512 * key)
        v = y[rim] * np.float32(scale * solid.half[1])
        leaves = noise(u, v, np.array([footprint], np.float32))
        cover[rim] += ragged * (0.75 * leaves[:, 0] + 0.6 * leaves[:, 1])
    found[met] = np.where((cover > 0) & (distance > 0.1), distance, np.inf)
    return found
