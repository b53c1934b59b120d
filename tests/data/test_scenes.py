"""The scene renderer: exact depth, determinism, every size, a camera that moves, real variety."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.data import scene_rays
from corun.data.scene_materials import noise, stripes, within
from corun.data.scene_places import Place
from corun.data.scene_rays import GROUND, SKY, View, build_world, trace
from corun.data.scenes import Camera, RenderedScene, render, render_scene


@given(seed=st.integers(0, 2**40), height=st.integers(1, 50), width=st.integers(1, 50))
@settings(max_examples=12, deadline=None)
def test_any_seed_and_size(seed: int, height: int, width: int) -> None:
    image, depth = render_scene(height, width, seed)
    assert image.shape == (3, height, width)
    assert depth.shape == (1, height, width)
    assert image.dtype == depth.dtype == torch.float32
    assert 0 <= image.min() <= image.max() <= 1
    assert 0 < depth.min() <= depth.max() <= 1


def test_tensors_and_arrays_are_one_picture() -> None:
    arrays, tensors = render(6, 30, 40), render_scene(30, 40, 6)
    np.testing.assert_array_equal(arrays.clean, tensors.image.permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(arrays.depth, tensors.depth[0].numpy())


def test_rendering_needs_no_torch() -> None:
    code = "import sys; from corun.data.scenes import render; render(0, 8, 8); "
    code += "print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("seed", range(12))
def test_pictures_are_daylight_outdoors(seed: int) -> None:
    image, depth = render_scene(180, 240, seed)
    sky = depth[0] == 1
    land = ~sky
    assert 0.05 < sky.float().mean() < 0.6
    assert depth[0][land].max() < 1
    assert 0.3 < image.mean() < 0.75
    assert image.std() > 0.13  # contrast
    assert ((image >= 0.999).all(0)).float().mean() < 0.02  # not burnt out
    # The sky is bluer than the land and lies above it.
    blueness = image[2] - image[0]
    assert blueness[sky].mean() > blueness[land].mean() + 0.05
    rows = torch.arange(180.0)[:, None].expand(180, 240)
    assert rows[sky].mean() < rows[land].mean()
    # Sharp detail: neighbouring pixels of the land differ.
    step = image.diff(dim=2).abs().mean(0)[land[:, 1:]]
    assert step.mean() > 0.015


def test_a_seed_is_one_scene_and_seeds_differ() -> None:
    first = render(5, 60, 80)
    build_world.cache_clear()
    again = render(5, 60, 80)
    np.testing.assert_array_equal(first.clean, again.clean)
    np.testing.assert_array_equal(first.depth, again.depth)
    pictures = [render(seed, 60, 80) for seed in range(12)]
    for a in range(12):
        for b in range(a):
            assert np.abs(pictures[a].clean - pictures[b].clean).mean() > 0.05
            assert np.abs(pictures[a].depth - pictures[b].depth).mean() > 0.02


@pytest.mark.parametrize("seed", range(4))
def test_the_same_place_at_every_size(seed: int) -> None:
    large, small = render_scene(270, 360, seed), render_scene(90, 120, seed)
    reduced = torch.nn.functional.avg_pool2d(large.image[None], 3)[0]
    assert (reduced - small.image).abs().mean() < 0.05
    # The middle pixel of nine sees along the same ray.
    assert (large.depth[:, 1::3, 1::3] - small.depth).abs().median() < 1e-5


def test_strips_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = render(2, 40, 50)
    monkeypatch.setattr("corun.data.scenes._SAMPLES_AT_ONCE", 1)
    strips = render(2, 40, 50)
    np.testing.assert_allclose(strips.distance, whole.distance, rtol=1e-6)
    assert np.abs(strips.clean - whole.clean).max() < 1e-3


def _met(scene: RenderedScene, seed: int) -> np.ndarray:
    """What stands at each pixel: the index of a solid, GROUND or SKY."""
    view = scene.view
    rays = view.rays(np.arange(1, 2 * view.width, 1) / 2, np.arange(1, 2 * view.height, 1) / 2)
    return trace(build_world(seed), view, rays, (0.5, 0.5, 0.5)).solid[::2, ::2]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("camera", [Camera(), Camera(1.5, 0.7, 6.0, 0.4, -0.1, 1.3)])
def test_depth_is_the_distance_of_known_surfaces(seed: int, camera: Camera) -> None:
    """In closed form: the ground is Y = 0, and a wall's points satisfy its plane's equation."""
    scene = render(seed, 120, 160, camera)
    met, world = _met(scene, seed), build_world(seed)
    points = scene.view.points(np.where(np.isinf(scene.distance), 1, scene.distance))
    eye = world.place.eye + camera.y
    ground = met == GROUND
    assert ground.mean() > 0.02
    assert np.abs(points[ground, 1]).max() < 1e-3 * scene.distance[ground].max()
    # By similar triangles, from the pixel alone: metres ahead = height of the eye / slope.
    if not camera.pitch:
        slope = (np.arange(120) + 0.5 - scene.view.centre[1]) / scene.view.focal
        across = (np.arange(160) + 0.5 - scene.view.centre[0]) / scene.view.focal
        row, column = np.nonzero(ground)
        ahead = eye / slope[row]
        expected = ahead * np.sqrt(1 + slope[row] ** 2 + across[column] ** 2)
        np.testing.assert_allclose(scene.distance[ground], expected, rtol=1e-4)
    solids = world.place.solids
    for number in np.unique(met[met >= 0]):
        solid = solids[number]
        local = (points[met == number] - np.array(solid.foot)) @ world.axes[number].T
        tolerance = 2e-4 * scene.distance[met == number].max() + 1e-3
        if solid.planes:
            planes = np.array(solid.planes)
            outside = (local @ planes[:, :3].T - planes[:, 3]).max(axis=1)
            assert np.abs(outside).max() < tolerance
        else:
            radius = np.sqrt(((local / np.array(solid.half)) ** 2).sum(axis=1))
            assert np.abs(radius - 1).max() * min(solid.half) < tolerance
    in_units = {0: 266, 1: 336, 2: 266, 3: 420}[seed % 4]
    land = met != SKY
    np.testing.assert_allclose(scene.depth[land], scene.distance[land] / in_units, rtol=1e-5)
    assert (scene.depth[~land] == 1).all()
    assert np.isinf(scene.distance[~land]).all()


@given(
    foot=st.tuples(st.floats(-4, 4), st.floats(0, 1), st.floats(6, 20)),
    yaw=st.floats(-3, 3),
    size=st.tuples(st.floats(0.5, 5), st.floats(0.5, 5), st.floats(0.5, 5)),
)
@settings(max_examples=40, deadline=None)
def test_a_box_against_the_slab_method(
    foot: tuple[float, float, float], yaw: float, size: tuple[float, float, float]
) -> None:
    place = Place(reach=190.0, eye=2.0, horizon=0.5, focal=1.0, half=4.0)
    place.box(foot, size, (0.5, 0.5, 0.5), yaw=yaw)
    world = _furnished(place)
    view = View(30, 40, np.float32([0, 2, 0]), np.eye(3, dtype=np.float32), 35.0, (20.0, 15.0))
    rays = view.rays(np.arange(40) + 0.5, np.arange(30) + 0.5)
    hits = trace(world, view, rays, (0.5, 0.5, 1.0), only_solids=True)
    sin, cos = np.sin(yaw), np.cos(yaw)
    to_local = np.array([(cos, 0, -sin), (0, 1, 0), (sin, 0, cos)])
    start = to_local @ (view.position.astype(np.float64) - np.array(foot))
    towards = np.tensordot(to_local, rays.astype(np.float64), 1)
    low, high = (
        np.array([-size[0] / 2, 0, -size[2] / 2]),
        np.array([size[0] / 2, size[1], size[2] / 2]),
    )
    ends = [(bound - start)[:, None, None] / (towards + 1e-12) for bound in (low, high)]
    enter, leave = np.minimum(*ends).max(axis=0), np.maximum(*ends).min(axis=0)
    if enter.min() < 0.1:
        return  # the camera is in the box
    clear = np.abs(leave - enter) > 0.01  # within rounding, a ray may or may not graze an edge
    expected = np.where(leave > enter, enter, np.inf)
    np.testing.assert_allclose(hits.distance[clear], expected[clear], rtol=1e-3)


def _furnished(place: Place) -> scene_rays.World:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_rays, "lay_out", lambda *_: place)
        return build_world.__wrapped__(0)


def test_nearer_things_hide_farther_ones_in_any_order() -> None:
    for order in ((4.0, 9.0), (9.0, 4.0)):
        place = Place(reach=190.0, eye=1.0, horizon=0.5, focal=1.0, half=4.0)
        for z in order:
            place.box((0, 0, z + 0.5), (9, 9, 1), (0.5, 0.5, 0.5))
        view = View(8, 8, np.float32([0, 1, 0]), np.eye(3, dtype=np.float32), 30.0, (4.0, 4.0))
        rays = view.rays(np.arange(8) + 0.5, np.arange(8) + 0.5)
        hits = trace(_furnished(place), view, rays, (0.5, 0.5, 1.0))
        np.testing.assert_allclose(hits.distance * rays[2], 4.0, rtol=1e-5)


MOVES = [
    Camera(z=3.0),
    Camera(x=0.8, y=0.3),
    Camera(yaw=0.25, pitch=0.08),
    Camera(x=-0.5, z=1.5, yaw=-0.1, focal=1.2),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("camera", MOVES)
def test_a_moved_camera_sees_the_same_world(seed: int, camera: Camera) -> None:
    """Points of one view, put into another by their depth, have the other's distance and colour."""
    distances, colours, _ = _reprojected(seed, camera)
    assert distances < 0.005  # share of points whose distance is off by more than 1 %
    assert colours < 0.02


@pytest.mark.parametrize("seed", range(4))
def test_a_wrong_depth_is_found_by_reprojection(seed: int) -> None:
    """The test above measures something: with depths 30 % too great it fails."""
    distances, colours, points = _reprojected(seed, Camera(x=1.5, y=0.3), scale=1.3)
    assert points > 1000
    assert distances > 0.9
    assert colours > 0.035


def _reprojected(seed: int, camera: Camera, scale: float = 1.0) -> tuple[float, float, int]:
    """Share of points with another distance, mean difference of colours, number of points.

    Only what both see counts: points that the other view has something before, or that lie at an
    outline, are left out.
    """
    here, there = render(seed, 240, 320), render(seed, 240, 320, camera)
    land = np.isfinite(here.distance) & ~_outlines(here)
    points = here.view.points(np.where(land, here.distance, 1) * np.float32(scale))[land]
    column, row, ahead = there.view.project(points)
    inside = (ahead > 0.5) & (column > 1) & (row > 1) & (column < 318) & (row < 238)
    x, y = column[inside].astype(int), row[inside].astype(int)
    expected = np.linalg.norm(points[inside] - there.view.position, axis=1)
    found, smooth = there.distance[y, x], ~_outlines(there)[y, x]
    visible = smooth & (found > 0.9 * expected / scale)
    # Within a pixel the distance of a slanting surface changes: compare with the pixels around.
    low, high = (_extreme(there.distance, f)[y, x] for f in (np.minimum, np.maximum))
    off = (expected < 0.99 * low) | (expected > 1.01 * high)
    colour = np.abs(_bilinear(there.clean, column[inside], row[inside]) - here.clean[land][inside])
    return float(off[visible].mean()), float(colour[visible].mean()), int(visible.sum())


def _extreme(values: np.ndarray, choose: np.ufunc) -> np.ndarray:
    padded = np.pad(values, 1, mode="edge")
    rows, columns = values.shape
    return choose.reduce(
        [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    )


def _outlines(scene: RenderedScene) -> np.ndarray:
    near, far = (_extreme(scene.distance, f) for f in (np.minimum, np.maximum))
    return far > 1.15 * near


def _bilinear(picture: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    left, top = np.floor(column - 0.5).astype(int), np.floor(row - 0.5).astype(int)
    x, y = (column - 0.5 - left)[:, None], (row - 0.5 - top)[:, None]
    upper = picture[top, left] * (1 - x) + picture[top, left + 1] * x
    return upper * (1 - y) + (picture[top + 1, left] * (1 - x) + picture[top + 1, left + 1] * x) * y


def test_projection_is_the_inverse_of_the_rays() -> None:
    view = render(0, 24, 32, Camera(1.0, 0.5, 2.0, 0.7, -0.3, 0.9)).view
    column, row, _ = view.project(view.points(np.full((24, 32), 7.0, np.float32)))
    np.testing.assert_allclose(column, np.broadcast_to(np.arange(32) + 0.5, (24, 32)), atol=1e-3)
    np.testing.assert_allclose(row, (np.arange(24) + 0.5)[:, None].repeat(32, 1), atol=1e-3)
    np.testing.assert_allclose(view.axes @ view.axes.T, np.eye(3), atol=1e-6)


def test_a_camera_turns_and_moves_as_it_says() -> None:
    at = np.float32([[0, 2, 30]])
    column, row, _ = render(1, 60, 80).view.project(at)
    for camera, moved_x, moved_y in (
        (Camera(yaw=0.1), -1, 0),
        (Camera(x=1.0), -1, 0),
        (Camera(pitch=0.1), 0, 1),
        (Camera(y=1.0), 0, 1),
    ):
        x, y, _ = render(1, 60, 80, camera).view.project(at)
        assert np.sign(np.round(x - column, 1)) == moved_x
        assert np.sign(np.round(y - row, 1)) == moved_y
    ahead = render(1, 60, 80, Camera(z=5.0)).view.project(at)[2]
    assert ahead == pytest.approx(25)


def test_the_sun_casts_shadows() -> None:
    """The same ground is darker where a wall stands between it and the sun."""
    place = Place(reach=190.0, eye=2.0, horizon=0.5, focal=1.0, half=4.0)
    place.box((0, 0, 12), (8, 8, 0.5), (0.5, 0.5, 0.5))
    world = _furnished(place)
    view, nearest = world.shadow
    behind = np.float32([0, 0, 12]) - world.light.towards * np.float32([1, 0, 1]) * 6
    for point, lit in ((behind, False), (np.float32([0, 0, 4]), True)):
        column, row, _ = (float(v[0]) for v in view.project(point[None]))
        distance = np.linalg.norm(point - view.position)
        assert (nearest[int(row), int(column)] > distance - 0.2) == lit


@given(
    start=st.floats(0, 1), extent=st.floats(0, 1), at=st.floats(-20, 20), foot=st.floats(0.01, 9)
)
@settings(max_examples=80, deadline=None)
def test_stripes_are_area_sampled(start: float, extent: float, at: float, foot: float) -> None:
    """Against the mean of many point samples; so is one stripe alone."""
    period, end = 1.7, start + extent * (1.7 - start)
    samples = at + foot * ((np.arange(4000) + 0.5) / 4000 - 0.5)
    phase = np.mod(samples, period)
    expected = ((phase >= start) & (phase < end)).mean()
    found = stripes(np.array([at]), np.array([foot]), period, start, end)[0]
    assert abs(found - expected) < 0.003
    alone = ((samples >= start) & (samples < end)).mean()
    assert abs(within(np.array([at]), np.array([foot]), start, end)[0] - alone) < 0.003


def test_noise_tiles_and_fades_with_distance() -> None:
    u = np.linspace(0, 512, 4001, dtype=np.float32)
    v, one = np.full_like(u, 17.3), np.ones_like(u)
    near = noise(u, v, one)
    assert near.shape == (4001, 3)
    # OpenCV interpolates in steps of 1/32 texel.
    assert np.abs(near - noise(u + 512, v - 512, one)).mean() < 0.02
    assert noise(u, v, 8 * one)[:, 0].std() < 0.6 * near[:, 0].std()
    blurred, between, coarser = (noise(u, v, foot * one) for foot in (4, 4 * 2**0.5, 8))
    np.testing.assert_allclose(between, (blurred + coarser) / 2, atol=1e-3)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("1×1", (0, 0, 10)),
        ("1×1", (0, 10, -3)),
        ("seed", (-1, 10, 10)),
        ("finite", (0, 10, 10, Camera(x=float("nan")))),
        ("finite", (0, 10, 10, Camera(yaw=float("inf")))),
        ("focal", (0, 10, 10, Camera(focal=0.0))),
        ("below the ground", (0, 10, 10, Camera(y=-50.0))),
    ],
)
def test_impossible_arguments_are_refused(message: str, arguments: tuple) -> None:
    with pytest.raises(ValueError, match=message):
        render(*arguments)
    if len(arguments) == 3:
        with pytest.raises(ValueError, match=message):
            render_scene(*arguments[1:], arguments[0])


def test_a_camera_beside_its_place_still_renders() -> None:
    """Turned back, far away, within a wall, straight up or down: a picture, never an error."""
    for camera in (
        Camera(yaw=3.1),
        Camera(z=900.0),
        Camera(x=9.0, z=14.0),
        Camera(pitch=1.57),
        Camera(pitch=-1.57),
    ):
        for seed in (0, 1):
            scene = render(seed, 24, 32, replace(camera, y=3.0))
            assert np.isfinite(scene.clean).all()
            assert ((scene.depth > 0) & (scene.depth <= 1)).all()
