"""The scene renderer: exact depth, determinism, every size, pictures worth looking at."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.data.scenes import Camera, render, render_scene

SEEDS = range(12)


@given(seed=st.integers(0, 2**40), height=st.integers(1, 50), width=st.integers(1, 50))
@settings(max_examples=15, deadline=None)
def test_any_seed_and_size(seed: int, height: int, width: int) -> None:
    image, depth = render_scene(height, width, seed)
    assert image.shape == (3, height, width)
    assert depth.shape == (1, height, width)
    assert image.dtype == depth.dtype == torch.float32
    assert 0 <= image.min() <= image.max() <= 1
    assert 0 < depth.min() <= depth.max() <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_pictures_are_daylight_outdoors(seed: int) -> None:
    image, depth = render_scene(180, 240, seed)
    sky = depth[0] == 1
    land = ~sky
    assert 0.05 < sky.float().mean() < 0.6
    assert depth[0][land].max() < 1
    assert 0.35 < image.mean() < 0.75
    assert image.std() > 0.15  # contrast
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
    first, again, other = (render_scene(60, 80, seed) for seed in (5, 5, 9))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.depth, again.depth)
    pictures = [render_scene(60, 80, seed).image for seed in range(6)]
    for a in range(6):
        for b in range(a):
            assert (pictures[a] - pictures[b]).abs().mean() > 0.05
    assert (first.image - other.image).abs().mean() > 0.05  # of the same kind of place


@pytest.mark.parametrize("seed", range(4))
def test_the_same_place_at_every_size(seed: int) -> None:
    large, small = render_scene(270, 360, seed), render_scene(90, 120, seed)
    reduced = torch.nn.functional.avg_pool2d(large.image[None], 3)[0]
    assert (reduced - small.image).abs().mean() < 0.05
    assert (large.depth[:, 1::3, 1::3] - small.depth).abs().median() < 0.002


def test_depth_grows_along_the_ground_ahead() -> None:
    """Country roads are open: down the picture's lower third, nearer rows are nearer."""
    _, depth = render_scene(240, 320, 1)
    ahead = depth[0, 170:].median(dim=1).values
    assert (ahead.diff() < 0).all()


def test_the_ground_is_a_plane_at_its_exact_distance() -> None:
    """Where nothing stands on it, points of the lower rows lie at height 0, in metres."""
    scene = render(1, 240, 320)
    points = scene.view.points(scene.distance)[215:]
    heights = points[..., 1]
    on_ground = np.abs(heights) < 1e-2
    assert on_ground.mean() > 0.5
    eye = scene.view.position
    rays = (points - eye) / scene.distance[215:, :, None]
    expected = -eye[1] / rays[..., 1]
    np.testing.assert_allclose(scene.distance[215:][on_ground], expected[on_ground], rtol=1e-3)


def test_distance_and_depth_tell_the_same() -> None:
    scene = render(2, 120, 160)
    land = np.isfinite(scene.distance)
    assert (scene.depth[~land] == 1).all()
    near = land & (scene.depth < 0.97)
    ratio = scene.distance[near] / scene.depth[near]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("moved", [Camera(x=0.6), Camera(z=2.0), Camera(yaw=0.05, y=0.3)], ids=str)
def test_two_cameras_see_one_world(seed: int, moved: Camera) -> None:
    """What one view sees is found by its distance in the other, with the same colour.

    With the distances wrong by 15 %, it is found less often.
    """
    first, second = render(seed, 180, 240), render(seed, 180, 240, moved)

    def found(factor: float) -> tuple[float, float]:
        points = first.view.points(
            np.where(np.isfinite(first.distance), first.distance, 0) * factor
        )
        column, row, ahead = second.view.project(points)
        i, j = np.floor(row).astype(int), np.floor(column).astype(int)
        inside = np.isfinite(first.distance) & (first.distance < 80) & (ahead > 0.5)
        inside &= (i >= 0) & (i < 180) & (j >= 0) & (j < 240)
        there = np.linalg.norm(points - second.view.position, axis=-1)[inside]
        seen = np.abs(second.distance[i[inside], j[inside]] / there - 1) < 0.03
        assert inside.mean() > 0.1
        difference = np.abs(second.clean[i[inside], j[inside]] - first.clean[inside]).mean(-1)
        return float(seen.mean()), float(np.median(difference[seen]))

    share, difference = found(1.0)
    wrong, _ = found(1.15)
    assert share > 0.75
    assert difference < 0.05
    assert wrong < share - 0.2 or moved.yaw  # turning alone moves nothing by its distance


def test_a_camera_that_cannot_be_is_refused() -> None:
    for camera in (Camera(y=-50.0), Camera(focal=0.0), Camera(yaw=float("nan"))):
        with pytest.raises(ValueError, match=r"camera|focal|ground|finite"):
            render(0, 10, 10, camera)


def test_rendering_needs_no_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from corun.data.scenes import render\n"
        "print(render(0, 8, 8).clean.shape)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "(8, 8, 3)", done.stderr


def test_impossible_sizes_and_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="1×1"):
        render_scene(0, 10, 0)
    with pytest.raises(ValueError, match="seed"):
        render_scene(10, 10, -1)
