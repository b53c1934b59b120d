"""The drawing surface of the scene renderer: a pinhole camera, linear light and a depth buffer.

World coordinates in metres: X to the right, Y up, Z forward; the ground is Y = 0 and the camera
stands above the origin, looking along +Z, its view shifted so that the horizon lies where wanted.
A pixel's ray is (x, −y, 1) with x and y the ray grid of the canvas, so Z is the depth buffer.
Colours are linear RGB; the display curve is applied at the end.

Every painted thing comes with a coverage α for soft edges; the depth of a pixel is that of the last
thing that covers at least half of it, so depth is exact and never blended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""float32 throughout; the type checker cannot follow NumPy's promotion rules that far."""

Number = float | int

Texture = Callable[[Array, Array, Array, Array], Array]
"""(s, t, footprint of s, footprint of t), metres on a face, each (n,) → linear RGB (n, 3)."""

_FAR = np.float32(1e9)
_HORIZON = np.float32(1e3)
"""Metres; no face of a scene is farther."""


def vector(x: Number, y: Number, z: Number) -> Array:
    """A point, direction or colour."""
    return np.array([x, y, z], dtype=np.float32)


class Canvas:
    """Colour and depth buffers with a camera.

    Attributes:
        colour: (h, w, 3), linear RGB.
        z: (h, w), distance along the viewing axis in metres; 1e9 where there is only sky.
        x: (1, w), the rays' X slope. y: (h, 1), their downward slope; 0 on the horizon.
        focal: in pixels.
        camera_height: in metres above the ground.
    """

    def __init__(
        self, height: int, width: int, *, horizon: float, field: float, camera_height: float
    ) -> None:
        """``horizon``: share of the height above it; ``field``: width / focal length at 4:3."""
        self.height, self.width = height, width
        self.focal = float(np.sqrt(height * width * 4 / 3)) / field
        self.camera_height = camera_height
        self.x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / self.focal)[None, :]
        self.y = ((np.arange(height, dtype=np.float32) + 0.5 - horizon * height) / self.focal)[
            :, None
        ]
        self.horizon_row = horizon * height
        self.colour: Array = np.zeros((height, width, 3), dtype=np.float32)
        self.z: Array = np.full((height, width), _FAR, dtype=np.float32)

    def project(self, point: Array) -> tuple[float, float]:
        """(column, row) in pixels of a point in front of the camera."""
        column = point[0] / point[2] * self.focal + self.width / 2
        row = (self.camera_height - point[1]) / point[2] * self.focal + self.horizon_row
        return float(column), float(row)

    def window(
        self, left: Number, right: Number, top: Number, bottom: Number
    ) -> tuple[slice, slice] | None:
        """The pixels that a box touches, with one to spare; None where it is out of view."""
        rows = slice(max(0, int(top) - 1), min(self.height, int(bottom) + 2))
        columns = slice(max(0, int(left) - 1), min(self.width, int(right) + 2))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return rows, columns

    def paint(
        self,
        where: tuple[slice, slice],
        colour: Array,
        alpha: Array,
        z: Array | float,
    ) -> None:
        """Blend a colour over what lies behind it and record its depth."""
        behind = self.z[where]
        alpha = alpha * (z < behind)
        target = self.colour[where]
        target += alpha[..., None] * (colour - target)
        np.copyto(behind, np.asarray(z, dtype=np.float32), where=alpha >= 0.5)

    def face(
        self,
        corner: Array,
        along: Array,
        up: Array,
        size: tuple[float, float],
        texture: Texture,
        *,
        gable: float = 0.0,
    ) -> None:
        """Paint a rectangle in space.

        Args:
            corner: where s = t = 0.
            along: unit vector of s. up: unit vector of t, perpendicular to it.
            size: extent in s and t, metres.
            texture: its colour.
            gable: for a triangle on top: this many of the t-metres narrow to a ridge.
        """
        corners = [corner + along * size[0] * i + up * size[1] * j for i in (0, 1) for j in (0, 1)]
        nearest = 0.3
        if max(c[2] for c in corners) <= nearest:
            return
        if min(c[2] for c in corners) <= nearest:  # reaches beside the camera: look everywhere
            where = self.window(0, self.width, 0, self.height)
        else:
            seen = [self.project(c) for c in corners]
            where = self.window(
                min(p[0] for p in seen),
                max(p[0] for p in seen),
                min(p[1] for p in seen),
                max(p[1] for p in seen),
            )
        if where is None:
            return
        x, y = self.x[:, where[1]], self.y[where[0]]
        normal = np.cross(along, up)
        origin = corner - vector(0, self.camera_height, 0)
        facing = normal[0] * x - normal[1] * y + normal[2]
        facing = np.where(np.abs(facing) < 1e-6, np.float32(1e-6), facing)
        z = (np.float32(normal @ origin) / facing).astype(np.float32)
        # Towards its vanishing line a plane is endless and a pixel covers all of it.
        z = np.where((z > nearest) & (z < _HORIZON), z, _FAR)
        s = along[0] * x * z - along[1] * y * z + along[2] * z - np.float32(along @ origin)
        t = up[0] * x * z - up[1] * y * z + up[2] * z - np.float32(up @ origin)
        # How far s and t move from one pixel to the next, by the quotient rule.
        step = z / np.float32(self.focal)
        slope_x = normal[0] / facing
        slope_y = -normal[1] / facing
        ahead_s = s + np.float32(along @ origin)
        ahead_t = t + np.float32(up @ origin)
        foot_s = np.hypot(
            along[0] * step - ahead_s * slope_x / self.focal,
            -along[1] * step - ahead_s * slope_y / self.focal,
        ).astype(np.float32)
        foot_t = np.hypot(
            up[0] * step - ahead_t * slope_x / self.focal,
            -up[1] * step - ahead_t * slope_y / self.focal,
        ).astype(np.float32)
        foot_s, foot_t = np.maximum(foot_s, 1e-5), np.maximum(foot_t, 1e-5)
        inset = np.clip(t - (size[1] - gable), 0, None) * (size[0] / 2 / gable) if gable else 0.0
        # Grown by half a pixel, so that neighbouring faces leave no seam.
        alpha = (
            np.clip((s - inset) / foot_s + 1, 0, 1)
            * np.clip((size[0] - inset - s) / foot_s + 1, 0, 1)
            * np.clip(t / foot_t + 1, 0, 1)
            * np.clip((size[1] - t) / foot_t + 1, 0, 1)
        )
        seen = (alpha > 0) & (z < self.z[where]) & (z < _FAR)
        if not seen.any():
            return
        colour = texture(s[seen], t[seen], foot_s[seen], foot_t[seen])
        alpha, z = alpha[seen], z[seen]
        target = self.colour[where]
        behind = target[seen]
        target[seen] = behind + alpha[:, None] * (colour - behind)
        depth = self.z[where]
        depth[seen] = np.where(alpha >= 0.5, z, depth[seen])

    def distance(self) -> Array:
        """(h, w), metres along each line of sight; infinite for the sky."""
        reach = self.z * np.sqrt(1 + self.x**2 + self.y**2)
        return np.where(self.z < _FAR, reach, np.float32(np.inf)).astype(np.float32)


def stripes(
    coordinate: Array, footprint: Array, period: Number, start: Number, end: Number
) -> Array:
    """Coverage, [0,1], of the stripes [start, end) + n·period, averaged over the footprint.

    Exact area sampling in one dimension: far stripes fade to their mean instead of flickering.
    """
    first, share = start / period, (end - start) / period
    low = (coordinate - footprint / 2) / period
    high = (coordinate + footprint / 2) / period
    covered = _stripe_integral(high, first, share) - _stripe_integral(low, first, share)
    return np.asarray(covered / np.maximum(high - low, 1e-9))


def _stripe_integral(u: Array, first: float, share: float) -> Array:
    """∫ of the stripes [first, first + share) + n up to u."""
    whole = np.floor(u)
    return np.asarray(whole * np.float32(share) + np.clip(u - whole - first, 0, share))


def smoothstep(low: Number, high: Number, value: Array) -> Array:
    """0 below low, 1 above high, 3u² − 2u³ between."""
    u = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(u * u * (3 - 2 * u))


def mix(first: Array, second: Array, share: Array | float) -> Array:
    """first·(1 − share) + second·share; a share of one value per pixel is spread over RGB."""
    weight = share if np.isscalar(share) else np.asarray(share)[..., None]
    return np.asarray(first + (second - first) * weight, dtype=np.float32)
