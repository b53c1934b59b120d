"""Rendered outdoor scenes with exact depth: truth for tests, documentation and the demo.

A seed decides everything: which of four kinds of place is shown (a street, a tree-lined avenue,
open country, a town seen from above), its layout, materials, weather and the sun. The picture is
ray-cast face by face and textured with filtered noise, in linear light, in plain numpy; nothing is
read from disk. Sizes and positions are in metres and the view scales with the picture, so one seed
shows the same place at every size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from corun.data.scene_buildings import Building, paint_building, shadow_of_buildings
from corun.data.scene_canvas import Array, Canvas, smoothstep, vector
from corun.data.scene_land import Light, paint_ground, paint_hills, paint_sky
from corun.data.scene_noise import Noise
from corun.data.scene_plans import Plan, Tree, plan_scene
from corun.data.scene_trees import Kind, Sprite, draw_sprite, paint_post, paint_sprite

_SKY_REACH = 1.4
"""Where the sky stands, at depth 1, in distances of the farthest hill's foot."""
_FARTHEST_LAND = 0.97


class RenderedScene(NamedTuple):
    """A clear picture and its depth."""

    image: Tensor
    """(3,H,W), RGB, sRGB-encoded, float32, [0,1]."""
    depth: Tensor
    """(1,H,W), distance along the line of sight, float32, [0,1]: larger = farther, sky exactly 1.

    Proportional to metres (1 is 266 m in streets, 336 m in the country, 420 m from above), so that
    exp(−2·β·depth) is homogeneous haze.
    """


def render_scene(height: int, width: int, seed: int) -> RenderedScene:
    """Render the outdoor scene that a seed stands for.

    Args:
        height: rows, at least 1.
        width: columns, at least 1.
        seed: any integer from 0.

    Returns:
        The picture and its exact depth.

    Raises:
        ValueError: a side is below 1 or the seed is negative.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a scene needs at least 1×1 pixels, got {height}×{width}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    rng = np.random.default_rng([seed, 0xC0121])
    plan = plan_scene(seed % 4, rng)
    light = _light(rng)
    gritty, cloudy = Noise(rng, 0.45), Noise(rng, 1.25)
    canvas = Canvas(
        height,
        width,
        horizon=plan.horizon,
        field=plan.field,
        camera_height=plan.camera_height,
    )
    paint_sky(canvas, light, rng, cloudy)
    paint_hills(
        canvas,
        light,
        cloudy,
        rng,
        layers=int(rng.integers(2, 5)),
        nearest=0.62 * plan.reach,
        farthest=plan.reach,
        height=plan.hill_height,
    )
    shade = shadow_of_buildings(canvas, plan.buildings, light)
    _shade_under_trees(canvas, plan.trees, light, gritty, shade)
    paint_ground(
        canvas,
        light,
        rng,
        (gritty, cloudy),
        road=plan.road,
        farthest=plan.reach,
        fields=plan.fields,
        shade=shade,
    )
    _paint_standing(canvas, plan, light, (gritty, cloudy), rng)
    distance = canvas.distance()
    depth = np.where(
        np.isfinite(distance), np.minimum(distance / (_SKY_REACH * plan.reach), _FARTHEST_LAND), 1.0
    )
    return RenderedScene(
        torch.from_numpy(_develop(canvas.colour)).permute(2, 0, 1).contiguous(),
        torch.from_numpy(depth.astype(np.float32))[None],
    )


def _light(rng: np.random.Generator) -> Light:
    """A sunny day: the sun behind the camera's left or right shoulder."""
    elevation = float(rng.uniform(0.5, 0.95))
    azimuth = float(rng.uniform(0.35, 1.15)) * float(rng.choice([-1.0, 1.0]))
    towards = vector(
        float(np.cos(elevation) * np.sin(azimuth)),
        float(np.sin(elevation)),
        float(-np.cos(elevation) * np.cos(azimuth)),
    )
    warmth = float(rng.uniform(0, 1))
    return Light(
        towards=towards,
        sun=vector(2.15, 2.0 - 0.16 * warmth, 1.8 - 0.42 * warmth),
        sky=vector(0.42, 0.50, 0.64),
        zenith=vector(0.10, 0.27, 0.72) * float(rng.uniform(0.85, 1.2)),
        rim=vector(0.62 + 0.10 * warmth, 0.80, 0.96 - 0.06 * warmth),
    )


def _paint_standing(
    canvas: Canvas,
    plan: Plan,
    light: Light,
    noises: tuple[Noise, Noise],
    rng: np.random.Generator,
) -> None:
    """Everything upright, the far before the near."""
    sprites: dict[Kind, list[Sprite]] = {}
    for kind in dict.fromkeys(tree.kind for tree in plan.trees):
        tallest = max(
            (t.height / t.z for t in plan.trees if t.kind == kind and t.z > 1), default=0.1
        )
        wanted = np.clip(tallest * canvas.focal, 16, 256 if canvas.height < 800 else 512)
        size = 1 << int(np.ceil(np.log2(wanted)))
        sprites[kind] = [draw_sprite(kind, size, light, noises[0], rng) for _ in range(2)]
    things: list[tuple[float, int, Building | Tree | tuple[float, float, float]]] = []
    things += [(max(b.z0, 0.0), 0, b) for b in plan.buildings]
    things += [(t.z, 1, t) for t in plan.trees]
    things += [(p[1], 2, p) for p in plan.posts]
    for number, (_, _, thing) in enumerate(sorted(things, key=lambda item: -item[0])):
        if isinstance(thing, Building):
            paint_building(canvas, thing, light, noises)
        elif isinstance(thing, Tree):
            sprite = sprites[thing.kind][number % 2]
            paint_sprite(
                canvas,
                sprite,
                x=thing.x,
                z=thing.z,
                height=thing.height,
                mirror=thing.mirror and abs(float(light.towards[0])) < 0.35,
                tint=thing.tint,
            )
        else:
            paint_post(canvas, x=thing[0], z=thing[1], height=6.5, reach=thing[2])


def _shade_under_trees(
    canvas: Canvas, trees: list[Tree], light: Light, noise: Noise, shade: Array
) -> None:
    """Darken the ground where crowns stand between it and the sun, with dapples of light."""
    for tree in trees:
        crown = tree.height * (0.3 if tree.kind == "bush" else 0.6)
        cast = crown / float(light.towards[1])
        x = tree.x - float(light.towards[0]) * cast * 0.75
        z = tree.z - float(light.towards[2]) * cast * 0.75
        wide = tree.height * (0.5 if tree.kind in ("broadleaf", "bush") else 0.22)
        deep = wide * 1.3 + 0.3 * tree.height
        if z - deep < 1:
            continue
        left, top = canvas.project(vector(x - wide, 0, z + deep))
        left = min(left, canvas.project(vector(x - wide, 0, z - deep))[0])
        right, bottom = canvas.project(vector(x + wide, 0, z - deep))
        right = max(right, canvas.project(vector(x + wide, 0, z + deep))[0])
        where = canvas.window(left, right, top, bottom)
        if where is None:
            continue
        ground_z = canvas.camera_height / np.maximum(canvas.y[where[0]], 1e-6)
        ground_x = canvas.x[:, where[1]] * ground_z
        radius = np.hypot((ground_x - x) / wide, (ground_z - z) / deep)
        foot = ground_z / np.float32(canvas.focal)
        dapple = noise.at(ground_x * 5, ground_z * 3, foot * 9)
        cover = smoothstep(1.0, 0.55, radius + 0.16 * dapple)
        shade[where] = np.minimum(shade[where], 1 - 0.85 * cover)


def _develop(colour: Array) -> Array:
    """Linear light → sRGB-encoded [0,1]: a film-like shoulder, a little saturation, the curve."""
    exposed = np.maximum(colour, 0) * np.float32(1.25)
    mapped = exposed * (1 + exposed / 5.0) / (1 + 0.72 * exposed)
    grey = mapped.mean(axis=2, keepdims=True)
    mapped = np.clip(grey + (mapped - grey) * np.float32(1.12), 0, 1)
    encoded = np.where(mapped <= 0.0031308, mapped * 12.92, 1.055 * mapped ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(encoded, 0, 1), dtype=np.float32)
