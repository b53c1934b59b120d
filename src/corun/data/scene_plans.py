"""Where things stand: the four kinds of place that the renderer shows, laid out at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corun.data.scene_buildings import Building
from corun.data.scene_land import Road
from corun.data.scene_trees import Kind


@dataclass
class Tree:
    """An upright sprite; metres."""

    x: float
    z: float
    height: float
    kind: Kind
    mirror: bool
    tint: float


@dataclass
class Plan:
    """What stands where, before anything is painted."""

    road: Road
    reach: float
    """Metres to the foot of the farthest hill."""
    camera_height: float
    horizon: float
    """Share of the picture above it."""
    field: float
    """Width / focal length at 4:3."""
    hill_height: float
    fields: bool
    buildings: list[Building]
    trees: list[Tree]
    posts: list[tuple[float, float, float]]
    """x, z and the arm's reach."""


def plan_scene(kind: int, rng: np.random.Generator) -> Plan:
    """Lay out a street (0), open country (1), an avenue (2) or a town from above (3)."""
    return (_street, _country, _avenue, _overlook)[kind](rng)


def _street(rng: np.random.Generator) -> Plan:
    """Blocks of flats and shops on both sides of a road."""
    half = float(rng.uniform(3.3, 5.0))
    pavement = float(rng.uniform(2.2, 3.8))
    offset = float(rng.uniform(-2.6, 2.6))
    near = float(rng.uniform(22, 40))
    road = Road(offset, 0.0, half, pavement, crossings=[near, near + float(rng.uniform(45, 70))])
    front = half + pavement + 0.2
    buildings = _row(rng, road, front, -1) + _row(rng, road, front, 1)
    trees = []
    for side in (-1, 1):
        gap = float(rng.uniform(9, 15))
        kind: Kind = "poplar" if rng.random() < 0.3 else "broadleaf"
        for z in np.arange(rng.uniform(9, 16), 150, gap):
            if _near(float(z), road.crossings, 6.0) or rng.random() < 0.25:
                continue
            tall = float(rng.uniform(4.5, 7.5)) * (1.3 if kind == "poplar" else 1.0)
            trees.append(_tree(rng, offset + side * (half + 1.0), float(z), tall, kind))
    posts = [
        (offset + side * (half + 0.45), float(z), -side * 1.6)
        for side in (-1, 1)
        for z in np.arange(14 + 6 * side, 150, 24)
        if not _near(float(z), road.crossings, 5.0)
    ]
    return Plan(
        road,
        190.0,
        float(rng.uniform(1.9, 4.2)),
        float(rng.uniform(0.55, 0.66)),
        float(rng.uniform(1.0, 1.25)),
        float(rng.uniform(14, 26)),
        False,
        buildings,
        trees,
        posts,
    )


def _row(rng: np.random.Generator, road: Road, front: float, side: int) -> list[Building]:
    """Buildings wall to wall along one side, open at the cross streets."""
    row = []
    z = float(rng.uniform(-14, 4))
    while z < 170:
        deep = float(rng.uniform(11, 24))
        crossing = next((c for c in road.crossings if z < c + 5.5 and z + deep > c - 5.5), None)
        if crossing is not None:
            deep = crossing - 5.5 - z
        if deep > 5:
            tower = rng.random() < 0.2
            height = float(rng.uniform(20, 34) if tower else rng.uniform(8, 17))
            near = road.offset + side * (front + float(rng.choice([0.0, 0.0, 0.6])))
            far = near + side * float(rng.uniform(10, 16))
            row.append(
                Building(
                    min(near, far),
                    max(near, far),
                    z,
                    z + deep,
                    height,
                    "tower" if tower else "block",
                    int(rng.integers(1 << 30)),
                )
            )
        z += max(deep, 0)
        if crossing is not None:
            z = crossing + 5.5
        elif rng.random() < 0.12:
            z += float(rng.uniform(3, 9))
    return row


def _country(rng: np.random.Generator) -> Plan:
    """A road through fields with scattered houses and trees."""
    half = float(rng.uniform(1.7, 3.2))
    offset = float(rng.uniform(-3, 3))
    bend = float(rng.uniform(-0.0035, 0.0035))
    road = Road(offset, bend, half, 0.0, gravel=bool(rng.random() < 0.5))
    buildings = []
    for _ in range(int(rng.integers(3, 8))):
        z = float(rng.uniform(24, 130))
        side = float(rng.choice([-1.0, 1.0]))
        middle = float(road.centre(z)) + side * float(rng.uniform(11, 12 + 0.5 * z))
        wide, deep = float(rng.uniform(7, 11)), float(rng.uniform(9, 15))
        buildings.append(
            Building(
                middle - wide / 2,
                middle + wide / 2,
                z,
                z + deep,
                float(rng.uniform(3.4, 6.2)),
                "house",
                int(rng.integers(1 << 30)),
                roof=float(rng.uniform(2.4, 4.2)),
            )
        )
    kinds: list[Kind] = ["broadleaf", "broadleaf", "conifer", "poplar", "bush"]
    trees = []
    for _ in range(int(rng.integers(28, 60))):
        z = float(rng.uniform(9, 13) ** rng.uniform(0.9, 2.15))
        side = float(rng.choice([-1.0, 1.0]))
        x = float(road.centre(z)) + side * float(rng.uniform(half + 3, half + 9 + 0.7 * z))
        kind = kinds[int(rng.integers(len(kinds)))]
        trees.append(_tree(rng, x, z, _height(kind, rng), kind))
    for _ in range(int(rng.integers(1, 4))):  # hedgerows
        z0 = float(rng.uniform(45, 150))
        lean = float(rng.uniform(-0.3, 0.3))
        start = float(rng.uniform(-90, 10))
        for x in np.arange(start, start + rng.uniform(40, 110), 3.2):
            at = z0 + lean * float(x)
            if abs(x - float(road.centre(at))) > half + 2:
                trees.append(_tree(rng, float(x), at, float(rng.uniform(2, 4)), "bush"))
    trees = [t for t in trees if t.z > 6 and not _inside(t, buildings)]
    return Plan(
        road,
        240.0,
        float(rng.uniform(1.8, 6.0)),
        float(rng.uniform(0.42, 0.56)),
        float(rng.uniform(0.95, 1.2)),
        float(rng.uniform(22, 48)),
        True,
        buildings,
        trees,
        [],
    )


def _avenue(rng: np.random.Generator) -> Plan:
    """A road between rows of trees, houses in their gardens behind."""
    half = float(rng.uniform(3.0, 4.2))
    pavement = float(rng.uniform(1.6, 2.4))
    offset = float(rng.uniform(-2.5, 2.5))
    road = Road(offset, float(rng.uniform(-0.0012, 0.0012)), half, pavement)
    trees, buildings, posts = [], [], []
    kind: Kind = "broadleaf" if rng.random() < 0.65 else "poplar"
    for side in (-1, 1):
        for z in np.arange(rng.uniform(8, 14), 180, rng.uniform(9, 14)):
            x = float(road.centre(float(z))) + side * (half + pavement + 1.4)
            trees.append(_tree(rng, x, float(z), _height(kind, rng), kind))
        z = float(rng.uniform(6, 16))
        while z < 150:
            deep = float(rng.uniform(9, 13))
            near = float(road.centre(z)) + side * (half + pavement + float(rng.uniform(7, 10)))
            far = near + side * float(rng.uniform(8, 11))
            buildings.append(
                Building(
                    min(near, far),
                    max(near, far),
                    z,
                    z + deep,
                    float(rng.uniform(4.5, 7.5)),
                    "house",
                    int(rng.integers(1 << 30)),
                    roof=float(rng.uniform(2.2, 4.0)),
                )
            )
            trees += [
                _tree(
                    rng,
                    near - side * float(rng.uniform(1, 2.5)),
                    z + float(rng.uniform(-1, deep + 4)),
                    float(rng.uniform(0.9, 2.0)),
                    "bush",
                )
                for _ in range(3)
            ]
            z += deep + float(rng.uniform(5, 14))
        posts += [
            (float(road.centre(float(z))) + side * (half + 0.5), float(z), -side * 1.5)
            for z in np.arange(18 + 7 * side, 150, 30)
        ]
    trees = [t for t in trees if t.z > 6 and not _inside(t, buildings)]
    return Plan(
        road,
        190.0,
        float(rng.uniform(1.8, 3.2)),
        float(rng.uniform(0.52, 0.63)),
        float(rng.uniform(0.95, 1.2)),
        float(rng.uniform(16, 34)),
        False,
        buildings,
        trees,
        posts,
    )


def _overlook(rng: np.random.Generator) -> Plan:
    """A town seen from a height: blocks and towers along a grid of streets, parks between."""
    half, pavement = float(rng.uniform(4, 5.5)), 3.0
    offset = float(rng.uniform(-9, 9))
    block = float(rng.uniform(30, 38))
    crossings = [float(c) for c in np.arange(rng.uniform(30, 48), 230, block)]
    road = Road(offset, 0.0, half, pavement, crossings=crossings)
    buildings, trees = [], []
    high = float(rng.uniform(16, 26))
    for low, far in zip([crossings[0] - block, *crossings], crossings, strict=False):
        for side in (-1, 1):
            x = half + pavement + 1.0
            while x < 60 + 0.75 * far:
                wide = float(rng.uniform(11, 19))
                left = offset + (x if side > 0 else -x - wide)
                if rng.random() < 0.16:
                    trees += [
                        _tree(
                            rng,
                            left + float(rng.uniform(0, wide)),
                            float(rng.uniform(low + 7, far - 7)),
                            float(rng.uniform(5, 9)),
                            "broadleaf",
                        )
                        for _ in range(9)
                    ]
                else:
                    tower = far > 75 and rng.random() < 0.3
                    tall = float(rng.uniform(1.0, 1.9) * high if tower else rng.uniform(6, 15))
                    buildings.append(
                        Building(
                            left,
                            left + wide,
                            low + 6.5,
                            far - 6.5,
                            tall,
                            "tower" if tower else "block",
                            int(rng.integers(1 << 30)),
                        )
                    )
                x += wide + float(rng.uniform(1.5, 7))
        for side in (-1, 1):
            for z in np.arange(low + 8, far - 6, 8.5):
                at = offset + side * (half + pavement - 0.8)
                trees.append(_tree(rng, at, float(z), float(rng.uniform(4, 6.5)), "broadleaf"))
    trees = [t for t in trees if t.z > 10]
    return Plan(
        road,
        300.0,
        high,
        float(rng.uniform(0.30, 0.40)),
        float(rng.uniform(0.95, 1.2)),
        float(rng.uniform(26, 52)),
        False,
        [b for b in buildings if b.z1 > 8],
        trees,
        [],
    )


def _tree(rng: np.random.Generator, x: float, z: float, height: float, kind: Kind) -> Tree:
    return Tree(x, z, height, kind, bool(rng.random() < 0.5), float(rng.uniform(0.82, 1.18)))


def _height(kind: Kind, rng: np.random.Generator) -> float:
    low, high = {
        "broadleaf": (6.0, 11.0),
        "poplar": (9.0, 15.0),
        "conifer": (7.0, 14.0),
        "bush": (1.2, 2.6),
    }[kind]
    return float(rng.uniform(low, high))


def _near(z: float, places: list[float], reach: float) -> bool:
    return any(abs(z - place) < reach for place in places)


def _inside(tree: Tree, buildings: list[Building]) -> bool:
    return any(b.x0 - 1 < tree.x < b.x1 + 1 and b.z0 - 1 < tree.z < b.z1 + 1 for b in buildings)
