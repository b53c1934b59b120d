"""The scene renderer: exact depth, determinism, every size, pictures worth looking at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.data.scene_canvas import Canvas, stripes, vector
from corun.data.scene_noise import Noise
from corun.data.scenes import render_scene

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


def test_ground_distance_in_closed_form() -> None:
    """The ground seen at slope y below the horizon is at Z = camera height / y."""
    canvas = Canvas(48, 64, horizon=0.5, field=1.0, camera_height=2.0)
    canvas.face(
        vector(-500, 0, 0.5),
        vector(1, 0, 0),
        vector(0, 0, 1),
        (1000.0, 900.0),
        lambda s, t, fs, ft: np.ones((*s.shape, 3), dtype=np.float32),
    )
    x, y = np.broadcast_arrays(canvas.x, canvas.y)
    seen = (y > 0.01) & (y < 3)
    expected = 2.0 / y[seen] * np.sqrt(1 + x[seen] ** 2 + y[seen] ** 2)
    np.testing.assert_allclose(canvas.distance()[seen], expected, rtol=1e-4)
    assert np.isinf(canvas.distance()[y < -0.01]).all()


@given(
    corner=st.tuples(st.floats(-4, 1), st.floats(0, 2), st.floats(6, 20)),
    turn=st.floats(-1.2, 1.2),
)
@settings(max_examples=40, deadline=None)
def test_a_turned_face_lies_in_its_plane(corner: tuple[float, float, float], turn: float) -> None:
    """Every pixel of an upright rectangle satisfies its plane's equation, within its outline."""
    canvas = Canvas(60, 80, horizon=0.5, field=1.0, camera_height=1.5)
    along = vector(float(np.cos(turn)), 0, float(np.sin(turn)))
    places = []

    def texture(s: np.ndarray, t: np.ndarray, fs: np.ndarray, ft: np.ndarray) -> np.ndarray:
        places.append((s, t, fs, ft))
        return np.ones((*s.shape, 3), dtype=np.float32)

    canvas.face(vector(*corner), along, vector(0, 1, 0), (4.0, 3.0), texture)
    seen = canvas.z < 1e6
    if not seen.any():
        return
    x, y = np.broadcast_arrays(canvas.x, canvas.y)
    z = canvas.z[seen]
    point = np.stack([x[seen] * z, 1.5 - y[seen] * z, z])
    normal = np.array([-np.sin(turn), 0, np.cos(turn)])
    # In metres; rounding grows where the face is seen almost edge-on.
    slant = abs(normal @ np.array(corner)) + 1e-3
    offset = normal @ (point - np.array(corner)[:, None])
    assert np.abs(offset).max() < 1e-3 * (1 + 1 / slant)
    s, t, fs, ft = places[0]
    assert (s > -1.01 * fs).all()
    assert (s < 4 + 1.01 * fs).all()
    assert (t > -1.01 * ft).all()
    assert (t < 3 + 1.01 * ft).all()


def test_nearer_things_hide_farther_ones_in_any_order() -> None:
    def paint(order: tuple[float, float]) -> Canvas:
        canvas = Canvas(20, 20, horizon=0.5, field=1.0, camera_height=0.0)
        for z in order:
            where = (slice(0, 20), slice(0, 20))
            colour = np.full((20, 20, 3), z, dtype=np.float32)
            canvas.paint(where, colour, np.ones((20, 20), dtype=np.float32), z)
        return canvas

    for order in ((3.0, 7.0), (7.0, 3.0)):
        canvas = paint(order)
        assert (canvas.z == 3).all()
        assert (canvas.colour == 3).all()


@given(
    start=st.floats(0, 1), extent=st.floats(0, 1), at=st.floats(-20, 20), foot=st.floats(0.01, 9)
)
@settings(max_examples=80, deadline=None)
def test_stripes_are_area_sampled(start: float, extent: float, at: float, foot: float) -> None:
    """Against the mean of many point samples."""
    period, end = 1.7, start + extent * (1.7 - start)
    samples = at + foot * ((np.arange(4000) + 0.5) / 4000 - 0.5)
    phase = np.mod(samples, period)
    expected = ((phase >= start) & (phase < end)).mean()
    found = stripes(np.array([at]), np.array([foot]), period, start, end)[0]
    assert abs(found - expected) < 0.003


def test_noise_tiles_and_fades_with_distance() -> None:
    noise = Noise(np.random.default_rng(0), 0.5)
    u = np.linspace(0, 256, 4001, dtype=np.float32)[None, :]
    v = np.full_like(u, 17.3)
    near = noise.at(u, v)
    np.testing.assert_allclose(near, noise.at(u + 256, v - 256), atol=1e-3)
    assert noise.at(u, v, 8.0).std() < 0.6 * near.std()
    assert np.abs(noise.at(u, v, 1e6)).max() < 1e-3


def test_impossible_sizes_and_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="1×1"):
        render_scene(0, 10, 0)
    with pytest.raises(ValueError, match="seed"):
        render_scene(10, 10, -1)
