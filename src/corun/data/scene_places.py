"""The places that the scene renderer shows: what stands where, of which size and colour.

World coordinates are metres: X to the right, Y up, Z ahead, the ground is Y = 0, and the scene's
own camera stands above the origin. Colours are linear RGB albedos.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""float32 unless said otherwise; the type checker cannot follow NumPy's promotion rules."""
Number = float | int
Vector = tuple[Number, Number, Number]
Material = Literal["plain", "wall", "leaf"]
Tree = Literal["broadleaf", "poplar", "conifer", "bush"]


@dataclass(frozen=True)
class Solid:
    """A convex body, or an ellipsoid whose surface has gaps, as a crown of leaves has.

    Local coordinates have their origin at ``foot`` and are turned by ``yaw`` about the Y axis.
    """

    foot: Vector
    half: Vector
    """Half the extents of a box around it along the local axes; a body stands on Y = 0."""
    yaw: Number
    planes: tuple[tuple[Number, Number, Number, Number], ...]
    """(n, b), n a local unit normal: the body is where n·p ≤ b. Empty for an ellipsoid."""
    material: Material
    colour: Vector
    style: tuple[Number, ...] = (0.0, 0.1, 26.0, 0.0, 0.0)
    """A key in [0,1), then of plain bodies the strength of their grain and its texels per metre of
    height; of walls the width of a bay, the height of a storey, a window's share of a bay and the
    height of the eaves; of leaves how ragged they are and their texels per metre."""


@dataclass
class Place:
    """Everything that a seed decides but the light; metres."""

    reach: Number
    """Distance of the hills."""
    eye: Number
    """Height of the scene's own camera."""
    horizon: Number
    """Share of the picture above the horizon."""
    focal: Number
    """Focal length in widths of a 4:3 picture of the same area."""
    half: Number
    """Half the carriageway."""
    pavement: Number = 0.0
    """Width of the pavement on either side; 0 for none."""
    offset: Number = 0.0
    bend: Number = 0.0
    """The road's centre line is at X = offset + bend·Z²."""
    gravel: bool = False
    fields: bool = False
    """The land is ploughed and sown; else it is grass."""
    crossings: tuple[Number, ...] = ()
    """Z of the cross streets."""
    solids: list[Solid] = field(default_factory=list)

    def road_centre(self, z: Any) -> Any:
        """X of the road's centre line at Z, a number or an array."""
        return self.offset + self.bend * z * z

    def is_clear(self, z: Number, margin: Number) -> bool:
        """Whether no cross street is within a margin."""
        return all(abs(z - crossing) > margin for crossing in self.crossings)

    def box(
        self,
        foot: Vector,
        size: Vector,
        colour: Vector,
        *,
        yaw: Number = 0.0,
        roof: Number = 0.0,
        taper: Number = 0.0,
        style: tuple[Number, ...] | None = None,
    ) -> None:
        """Add a box of a size along X, Y and Z, a building if it has a style.

        ``roof`` metres of a gable stand on it, with the ridge along Z; its front and back lean
        inwards by ``taper`` metres from the foot to the top.
        """
        x, y, z = size[0] / 2, size[1], size[2] / 2
        lean, slope = float(np.hypot(y, taper)), float(np.hypot(roof, x))
        planes = [(1.0, 0.0, 0.0, x), (-1.0, 0.0, 0.0, x)]
        planes += [(0.0, taper / lean, side * y / lean, z * y / lean) for side in (-1, 1)]
        for side in (-1, 1) if roof else (0,):
            planes.append((side * roof / slope, x / slope, 0.0, (y + roof) * x / slope))
        if not style:
            planes.append((0.0, -1.0, 0.0, 0.0))
        material: Material = "wall" if style else "plain"
        half, style = (x, y + roof, z), style or Solid.style
        self.solids.append(Solid(foot, half, yaw, tuple(planes), material, colour, style))

    def rod(
        self, foot: Vector, radius: Number, length: Number, colour: Vector, grain: Number = 0.1
    ) -> None:
        """Add an upright rod of eight sides."""
        sides = [(float(np.sin(a)), 0.0, float(np.cos(a))) for a in np.arange(8) * np.pi / 4]
        planes = (*((*side, radius) for side in sides), (0.0, 1.0, 0.0, length))
        half, style = (radius, length, radius), (0.0, grain, 6.0, 0.0, 0.0)
        self.solids.append(Solid(foot, half, 0.0, planes, "plain", colour, style))

    def leaves(
        self, foot: Vector, radii: Vector, colour: Vector, style: tuple[Number, ...]
    ) -> None:
        """Add a leafy ellipsoid; its texture is drawn along the line of sight from the origin."""
        yaw = float(np.arctan2(foot[0], foot[2]))
        self.solids.append(Solid(foot, radii, yaw, (), "leaf", colour, style))


_WALLS: tuple[Vector, ...] = (
    *((0.62, 0.54, 0.40), (0.46, 0.17, 0.11), (0.45, 0.44, 0.41), (0.52, 0.36, 0.26)),
    *((0.36, 0.38, 0.40), (0.70, 0.60, 0.34), (0.56, 0.30, 0.20), (0.44, 0.50, 0.54)),
)
_CARS: tuple[Vector, ...] = (
    *((0.45, 0.03, 0.03), (0.05, 0.10, 0.30), (0.60, 0.60, 0.60), (0.04, 0.04, 0.045)),
    *((0.75, 0.74, 0.72), (0.12, 0.16, 0.10), (0.50, 0.34, 0.05)),
)
_IRON, _GLASS, _TYRE = (0.10, 0.11, 0.115), (0.075, 0.10, 0.13), (0.02, 0.02, 0.02)
_BARK, _CONCRETE = (0.15, 0.11, 0.08), (0.42, 0.40, 0.37)
_LEAVES: dict[Tree, Vector] = {
    "broadleaf": (0.115, 0.160, 0.040),
    "poplar": (0.140, 0.180, 0.050),
    "conifer": (0.055, 0.100, 0.045),
    "bush": (0.095, 0.140, 0.045),
}
_HEIGHTS = {"broadleaf": (6, 11), "poplar": (9, 15), "conifer": (7, 14), "bush": (1.0, 2.6)}


def lay_out(kind: int, rng: np.random.Generator) -> Place:
    """Lay out a street (0), open country (1), an avenue (2) or a town from above (3)."""
    if kind in (0, 2):
        place = _road(rng, built_up=kind == 0)
    else:
        place = _country(rng) if kind == 1 else _overlook(rng)
    for distance in (0.75, 1.05):  # hills, the farther the higher, as far as one may look
        tall = place.reach * distance**2 * float(rng.uniform(0.10, 0.17))
        for azimuth in np.arange(-2.0, 2.0, 0.28) + rng.uniform(0, 0.28):
            wide = place.reach * float(rng.uniform(0.24, 0.40))
            away = place.reach * distance * float(rng.uniform(0.97, 1.03))
            foot = (away * float(np.sin(azimuth)), 0.0, away * float(np.cos(azimuth)))
            radii = (wide, tall * float(rng.uniform(0.45, 1.15)), 0.08 * place.reach)
            tone = float(rng.uniform(0.8, 1.25))
            place.leaves(
                foot, radii, (0.075 * tone, 0.105 * tone, 0.042), (rng.random(), 0.05, 0.9)
            )
    return place


def _road(rng: np.random.Generator, *, built_up: bool) -> Place:
    """A street between blocks of flats, or an avenue between trees with houses behind."""
    u = rng.uniform
    place = Place(
        reach=190.0,
        eye=u(1.9, 4.0),
        horizon=u(0.53, 0.65),
        focal=1 / u(0.95, 1.25),
        half=u(3.4, 5.0),
        pavement=u(2.0, 3.6),
        offset=u(-2.4, 2.4),
        bend=0.0 if built_up else u(-0.0012, 0.0012),
        crossings=(u(24, 42), u(85, 115)) if built_up else (),
    )
    edge = place.half + place.pavement
    kind: Tree = "broadleaf" if u() < 0.7 else "poplar"
    for side in (-1, 1):
        z = u(-30, -18)
        while z < 165:
            deep = u(10, 22) if built_up else u(9, 13)
            blocking = [c for c in place.crossings if z < c + 5.5 and z + deep > c - 5.5]
            if blocking and (deep := blocking[0] - 5.5 - z) < 5:
                z = blocking[0] + 5.5
                continue
            wide = u(10, 15) if built_up else u(8, 11)
            x = place.road_centre(z) + side * (edge + wide / 2 + (0.2 if built_up else u(7, 10)))
            tall = (u(18, 32) if u() < 0.2 else u(8, 16)) if built_up else u(4.5, 7.2)
            _building(place, rng, (x, z + deep / 2), (wide, tall, deep), house=not built_up)
            if not built_up:
                for _ in range(2):
                    beside = x - side * (wide / 2 + u(1.2, 3))
                    _tree(place, rng, beside, z + u(-1, deep + 4), "bush", u(0.9, 2.0))
            z += deep + (5.0 * (u() < 0.25) if built_up else u(5, 14))
        for z in np.arange(u(9, 15), 150, u(9, 15)):
            if place.is_clear(z, 7) and (not built_up or u() < 0.75):
                x = place.road_centre(z) + side * (place.half + 1.0 if built_up else edge + 1.6)
                _tree(place, rng, x, z, kind, u(4.5, 7.5) if built_up else None)
        for z in np.arange(15.0 + 6 * side, 150, 26):
            if place.is_clear(z, 5):
                x = place.road_centre(z) + side * (place.half + 0.45)
                place.rod((x, 0, z), 0.08, 6.4, _IRON)
                place.box((x - side * 0.8, 6.35, z), (1.7, 0.09, 0.09), _IRON)
                place.box((x - side * 1.6, 6.25, z), (0.75, 0.16, 0.32), (0.2, 0.2, 0.2))
        _cars(place, rng, side, share=0.45 if built_up else 0.2)
    return place


def _country(rng: np.random.Generator) -> Place:
    """A road through fields with hedges, poles, scattered houses and trees."""
    u = rng.uniform
    place = Place(
        reach=240.0,
        eye=u(1.8, 6.0),
        horizon=u(0.42, 0.56),
        focal=1 / u(0.95, 1.2),
        half=u(1.8, 3.2),
        offset=u(-3, 3),
        bend=u(-0.0035, 0.0035),
        gravel=bool(u() < 0.5),
        fields=True,
    )
    for _ in range(rng.integers(4, 9)):
        z, side = u(24, 130), -1 if u() < 0.5 else 1
        x = place.road_centre(z) + side * u(12, 13 + 0.5 * z)
        size = (u(7, 10), u(3.2, 5.8), u(9, 15))
        _building(place, rng, (x, z), size, house=True, yaw=u(-0.6, 0.6))
    for z in np.arange(u(14, 40), 160, 34):
        x = place.road_centre(z) - place.half - 3.5
        place.rod((x, 0, z), 0.13, 7.5, _BARK, grain=0.3)
        place.box((x, 6.9, z), (1.8, 0.14, 0.12), _BARK)
    spots = []
    for _ in range(rng.integers(26, 44)):
        z, side = u(9, 13) ** u(0.9, 2.0), -1 if u() < 0.5 else 1
        spots.append((place.road_centre(z) + side * u(place.half + 3, 12 + 0.7 * z), z, ""))
    for _ in range(rng.integers(1, 4)):  # hedges
        start, z, lean = u(-90, 10), u(45, 130), u(-0.25, 0.25)
        spots += [(x, z + lean * x, "bush") for x in np.arange(start, start + u(30, 80), 3.4)]
    houses = [s for s in place.solids if s.material == "wall"]
    for x, z, wanted in spots:
        taken = any(np.hypot(x - s.foot[0], z - s.foot[2]) < s.half[2] + 3 for s in houses)
        if not taken and abs(x - place.road_centre(z)) > place.half + 2:
            kind = rng.choice(("broadleaf", "broadleaf", "conifer", "poplar", "bush"))
            _tree(place, rng, x, z, wanted or kind, u(1.8, 3.4) if wanted else None)
    return place


def _overlook(rng: np.random.Generator) -> Place:
    """A town seen from a height: blocks and towers along a grid of streets, parks between."""
    u = rng.uniform
    place = Place(
        reach=300.0,
        eye=u(16, 26),
        horizon=u(0.30, 0.40),
        focal=1 / u(0.95, 1.2),
        half=u(4, 5.5),
        pavement=3.0,
        offset=u(-9, 9),
        crossings=tuple(np.arange(u(-4, 14), 220, u(30, 38)).tolist()),
    )
    edge = place.half + place.pavement
    for low, far in zip(place.crossings, place.crossings[1:], strict=False):
        for side in (-1, 1):
            x = edge + 1.0
            while x < 50 + 0.7 * far:
                wide = u(11, 19)
                middle = place.offset + side * (x + wide / 2)
                if u() < 0.18:
                    for _ in range(6):
                        at = middle + u(-0.5, 0.5) * wide
                        _tree(place, rng, at, u(low + 7, far - 7), "broadleaf", u(5, 9))
                else:
                    tall = place.eye * u(1, 1.9) if far > 75 and u() < 0.3 else u(6, 14)
                    at, size = (low + far) / 2, (wide, tall, far - low - 13)
                    _building(place, rng, (middle, at), size, house=False)
                x += wide + u(1.5, 7)
            for z in np.arange(low + 9, far - 6, 9.5):
                _tree(place, rng, place.offset + side * (edge - 0.8), z, "broadleaf", u(4, 6.5))
    for side in (-1, 1):
        _cars(place, rng, side, share=0.5)
    return place


def _building(
    place: Place,
    rng: np.random.Generator,
    middle: tuple[Number, Number],
    size: Vector,
    *,
    house: bool,
    yaw: Number = 0.0,
) -> None:
    """A house with a gable and a chimney, or a block with a cornice and what stands on roofs."""
    u, (x, z) = rng.uniform, middle
    tone = u(0.65, 1.0)
    colour = _scaled(_WALLS[rng.integers(len(_WALLS))], tone)
    style = (u(), u(1.9, 3.4), u(2.7, 3.4), u(0.35, 0.5) if house else u(0.4, 0.8), size[1])
    roof = u(2.3, 4.0) if house else 0.0
    place.box((x, 0, z), size, colour, yaw=yaw, roof=roof, style=style)
    if house:
        x, z = x + 0.2 * size[2] * np.sin(yaw), z + 0.2 * size[2] * np.cos(yaw)
        chimney = (0.8, 0.45 * roof + 0.9, 0.8)
        place.box((x, size[1] + 0.55 * roof, z), chimney, (0.30, 0.14, 0.10), yaw=yaw)
        return
    place.box((x, size[1], z), (size[0] + 0.3, 0.35, size[2] + 0.3), _scaled(_CONCRETE, tone))
    for _ in range(rng.integers(0, 3)):
        foot = (x + u(-0.3, 0.3) * size[0], size[1] + 0.3, z + u(-0.3, 0.3) * size[2])
        place.box(foot, (u(0.8, 2.6), u(0.6, 2.2), 1.6), _scaled(_CONCRETE, 0.8))


def _tree(
    place: Place, rng: np.random.Generator, x: Number, z: Number, kind: Any, tall: Number | None
) -> None:
    """A trunk and a crown of leafy ellipsoids, fewer if it is far from the origin."""
    u = rng.uniform
    tall = tall or u(*_HEIGHTS[kind])
    tint = u(0.8, 1.2) * u(0.9, 1.1, 3)
    distance = np.hypot(x, z)
    count = int(np.clip(500 / distance, 2, 12))
    # X, Y, Z, radius, height / width, in heights of the tree
    blobs: list[tuple[Number, ...]]
    if kind == "broadleaf":
        spread = [(u(0.06, 0.25), angle) for angle in np.arange(count) * 2.4]
        blobs = [
            (out * np.cos(angle), u(0.45, 0.84), out * np.sin(angle), u(0.13, 0.19), 0.9)
            for out, angle in spread
        ]
    elif kind == "poplar":
        wide = [
            (up, u(0.8, 1.1) * (0.11 - 0.10 * abs(up - 0.45)))
            for up in np.linspace(0.22, 0.9, count)
        ]
        blobs = [(u(-0.05, 0.05), up, u(-0.05, 0.05), radius, 1.7) for up, radius in wide]
    elif kind == "conifer":
        levels = np.linspace(0.12, 0.94, count)
        blobs = [(u(-0.01, 0.01), up, 0.0, 0.22 * (1.06 - up), 0.5 + 0.6 * up) for up in levels]
    else:
        blobs = [
            (u(-0.4, 0.4), u(0.25, 0.5), u(-0.3, 0.3), u(0.3, 0.46), 0.9)
            for _ in range(max(2, count // 3))
        ]
    if kind != "bush":
        place.rod((x, 0, z), 0.025 * tall + 0.03, 0.62 * tall, _BARK, grain=0.35)
    leaf = tuple(float(c * k) for c, k in zip(_LEAVES[kind], tint, strict=True))
    for dx, dy, dz, radius, aspect in blobs:
        r, centre = tall * radius, (x + tall * dx, tall * dy, z + tall * dz)
        place.leaves(centre, (r, r * aspect, r), leaf, (u(), 0.42, 15.0))  # type: ignore[arg-type]


def _cars(place: Place, rng: np.random.Generator, side: int, share: Number) -> None:
    """Cars along the kerb where there is room, each with cabin, roof and wheels."""
    for z in np.arange(rng.uniform(8, 13), 110, 6.2):
        if rng.random() > share or not place.is_clear(z, 9):
            continue
        x, yaw = place.road_centre(z) + side * (place.half - 1.0), np.arctan(2 * place.bend * z)
        colour = _CARS[rng.integers(len(_CARS))]
        parts = [
            (0, 0.22, 1.76, 0.66, 4.2, colour, 0.12),
            (-0.25, 0.88, 1.56, 0.5, 2.5, _GLASS, 0.5),
        ]
        parts += [(-0.25, 1.38, 1.5, 0.05, 1.5, colour, 0.0)]
        parts += [(along, 0.0, 1.8, 0.62, 0.6, _TYRE, 0.1) for along in (-1.3, 1.3)]
        for along, up, wide, tall, long, paint, taper in parts:
            foot = (x + along * np.sin(yaw), up, z + along * np.cos(yaw))
            place.box(foot, (wide, tall, long), paint, yaw=yaw, taper=taper)


def _scaled(colour: Vector, factor: Number) -> Vector:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
