"""The synthesis against its formula."""

import numpy as np
import pytest
import torch

from corun.data.camera import CameraConfig
from corun.data.scenes import render_scene
from corun.data.synthesis import SynthesisConfig, synthesize_haze, veiled_target

PLAIN = {
    "darken_probability": 0.0,
    "noise_probability": 0.0,
    "jpeg_probability": 0.0,
    "airlight_jitter": 0.0,
}


def scenes(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    rendered = [render_scene(48, 64, seed) for seed in range(count)]
    return torch.stack([r.image for r in rendered]), torch.stack([r.depth for r in rendered])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_plain_haze_is_the_formula() -> None:
    clean, depth = scenes()
    config = SynthesisConfig(**PLAIN, beta=(0.7, 0.7), airlight=(0.8, 0.8))
    batch = synthesize_haze(clean, depth, config, generator())
    T = torch.exp(-2 * 0.7 * depth)
    torch.testing.assert_close(batch.transmission, T)
    torch.testing.assert_close(batch.hazy, clean * T + 0.8 * (1 - T))
    assert torch.equal(batch.target, clean)


def test_the_same_seed_gives_the_same_haze_and_another_does_not() -> None:
    clean, depth = scenes()
    config = SynthesisConfig(patchy_probability=1.0, tint_probability=1.0, gradient_probability=1.0)
    a, b = (synthesize_haze(clean, depth, config, generator(5)) for _ in range(2))
    for one, other in zip(a, b, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(a.hazy, synthesize_haze(clean, depth, config, generator(6)).hazy)


def test_draws_stay_in_their_ranges_and_differ_between_images() -> None:
    clean, depth = torch.full((400, 3, 1, 1), 0.5), torch.ones(400, 1, 1, 1)
    batch = synthesize_haze(clean, depth, SynthesisConfig(jpeg_probability=0), generator())
    beta = -batch.transmission.log() / 2
    assert 0.2 <= beta.min() < 0.3
    assert 2.7 < beta.max() <= 2.8 + 1e-5
    brightness = batch.airlight.mean(1)
    assert 0.22 < brightness.min() < 0.3
    assert 0.95 < brightness.max() <= 1
    spread = batch.airlight.amax(1) - batch.airlight.amin(1)
    assert 0 < spread.max() <= 0.05 + 1e-6


def test_half_of_the_scenes_are_darker() -> None:
    clean, depth = torch.full((1000, 3, 1, 1), 0.5), torch.zeros(1000, 1, 1, 1)
    config = SynthesisConfig(noise_probability=0, jpeg_probability=0)
    hazy = synthesize_haze(clean, depth, config, generator()).hazy[:, 0].flatten()
    untouched = (hazy - 0.5).abs() < 1e-6
    assert 0.45 < untouched.float().mean() < 0.55
    powers = hazy[~untouched].log() / torch.tensor(0.5).log()
    assert 1.49 < powers.min() < 1.6
    assert 2.9 < powers.max() < 3.01


def test_noise_has_the_stated_strength_and_kinds() -> None:
    clean, depth = torch.full((300, 3, 32, 32), 0.5), torch.zeros(300, 1, 32, 32)
    config = SynthesisConfig(
        darken_probability=0, noise_probability=1, jpeg_probability=0, noise_sigma=(10, 10)
    )
    noise = synthesize_haze(clean, depth, config, generator()).hazy - 0.5
    assert noise.std() * 255 == pytest.approx(10, rel=0.05)
    flat = noise.flatten(2)
    correlation = torch.stack([torch.corrcoef(image)[0, 1] for image in flat])
    assert ((correlation - 0).abs() < 0.15).float().mean() > 0.25  # colour
    assert (correlation > 0.999).float().mean() > 0.25  # grey
    between = (correlation > 0.15) & (correlation < 0.999)
    assert between.float().mean() > 0.15  # correlated


def test_no_haze_sometimes_where_asked() -> None:
    clean, depth = torch.rand(500, 3, 1, 1), torch.ones(500, 1, 1, 1)
    config = SynthesisConfig(clear_probability=0.2)
    clear = synthesize_haze(clean, depth, config, generator()).transmission == 1
    assert 0.14 < clear.float().mean() < 0.26


def test_patchy_haze_varies_over_constant_depth_around_the_same_density() -> None:
    clean, depth = torch.rand(4, 3, 64, 64), torch.full((4, 1, 64, 64), 0.5)
    config = SynthesisConfig(**PLAIN, beta=(1.0, 1.0), patchy_probability=1.0)
    optical = -synthesize_haze(clean, depth, config, generator()).transmission.log()
    assert (optical.flatten(1).std(1) > 0.05).all()
    torch.testing.assert_close(optical.flatten(1).mean(1), torch.ones(4), atol=1e-4, rtol=0)


def test_tinted_and_varying_airlight() -> None:
    clean, depth = torch.rand(50, 3, 16, 16), torch.full((50, 1, 16, 16), 0.5)
    tinted = SynthesisConfig(**PLAIN, airlight=(0.6, 0.6), tint_probability=1.0)
    airlight = synthesize_haze(clean, depth, tinted, generator()).airlight[..., 0, 0]
    difference = airlight[:, 0] - airlight[:, 2]
    assert difference.min() < -0.05
    assert difference.max() > 0.05
    varying = SynthesisConfig(**PLAIN, airlight=(0.6, 0.6), gradient_probability=1.0)
    airlight = synthesize_haze(clean, depth, varying, generator()).airlight
    assert airlight.shape == (50, 3, 16, 16)
    spread = airlight.flatten(1).amax(1) - airlight.flatten(1).amin(1)
    assert spread.max() > 0.08
    assert spread.max() <= 0.6 * 0.2 * 1.5


def test_light_falls_off_in_input_and_target_alike() -> None:
    clean, depth = torch.full((80, 3, 16, 24), 0.5), torch.zeros(80, 1, 16, 24)
    config = SynthesisConfig(
        **PLAIN, falloff_probability=0.5, falloff_strength=(0.1, 0.3), falloff_power=(0.6, 1.6)
    )
    batch = synthesize_haze(clean, depth, config, generator())
    assert torch.equal(batch.target, batch.hazy)
    factor = batch.hazy / 0.5
    darkest = factor.flatten(1).amin(1)
    assert 0.3 < (darkest == 1).float().mean() < 0.7
    assert 0.7 <= darkest.min() < 0.75
    assert darkest[darkest < 1].max() < 0.91
    chosen = factor[darkest < 1][:, 0]
    # The farthest point is a corner, and nothing is darker.
    corners = torch.stack([chosen[:, y, x] for y in (0, -1) for x in (0, -1)], 1).amin(1)
    torch.testing.assert_close(corners, chosen.flatten(1).amin(1))


def test_exposures_may_be_drawn_by_their_logarithm() -> None:
    clean, depth = torch.ones(256, 3, 4, 4), torch.ones(256, 1, 4, 4)
    config = SynthesisConfig(
        **PLAIN,
        clear_probability=1.0,
        clear_exposure_probability=1.0,
        clear_exposure=(0.01, 1.0),
        clear_exposure_log_uniform=True,
    )
    batch = synthesize_haze(clean, depth, config, generator())
    assert 0.07 < batch.hazy.flatten(1).amax(1).median() < 0.14  # √(0.01·1)
    assert torch.equal(batch.hazy, batch.target)


def test_clear_air_comes_back_at_any_exposure() -> None:
    clean, depth = torch.full((600, 3, 1, 1), 0.5), torch.ones(600, 1, 1, 1)
    config = SynthesisConfig(
        **{**PLAIN, "darken_probability": 1.0},
        clear_probability=0.5,
        clear_exposure_probability=0.6,
        clear_power_probability=0.3,
    )
    batch = synthesize_haze(clean, depth, config, generator())
    clear = (batch.transmission == 1).flatten()
    assert 0.4 < clear.float().mean() < 0.6
    assert torch.equal(batch.hazy[clear], batch.target[clear])
    shown = batch.target[clear][:, 0].flatten()
    assert 0.22 < (shown == 0.5).float().mean() < 0.36  # 0.4 · 0.7: neither exposure nor power
    assert 0.005 < shown.min() < 0.1
    assert shown.max() <= 0.5
    assert torch.equal(batch.target[~clear], clean[~clear])


def test_frames_stay_as_they_are() -> None:
    clean, depth = torch.full((200, 3, 40, 50), 0.5), torch.ones(200, 1, 40, 50)
    config = SynthesisConfig(
        **PLAIN, frame_probability=0.5, frame_width=(4, 12), airlight=(0.8, 0.8), beta=(1.0, 1.0)
    )
    batch = synthesize_haze(clean, depth, config, generator())
    framed = batch.transmission == 1
    some = framed.flatten(1).any(1)
    assert 0.4 < some.float().mean() < 0.6
    everywhere = framed.expand(-1, 3, -1, -1)
    assert torch.equal(batch.hazy[everywhere], batch.target[everywhere])
    assert (batch.hazy[~everywhere] - batch.target[~everywhere]).min() > 0.2
    greys = [
        float(hazy[:, bars[0]].mean())
        for hazy, bars in zip(batch.hazy, framed, strict=True)
        if bars.any()
    ]
    assert 0.3 < sum(grey == 0 for grey in greys) / len(greys) < 0.7  # half of them are black
    sides = {
        tuple(bool(f[edge].all()) for edge in ((0, 0), (0, -1), (0, ..., 0), (0, ..., -1)))
        for f in framed[some]
    }
    assert (True, False, False, False) in sides
    assert (True, True, False, False) in sides
    assert (True, True, True, True) in sides
    greys = {round(float(batch.hazy[i][everywhere[i]].mean()), 2) for i in some.nonzero().flatten()}
    assert {0.0, 1.0} < greys
    assert torch.equal(clean, torch.full_like(clean, 0.5))  # nobody's photo was drawn on


def test_the_camera_comes_after_the_haze() -> None:
    """Dense fog is noisy too, but in the target."""
    clean, depth = torch.rand(12, 3, 48, 48), torch.ones(12, 1, 48, 48)
    config = SynthesisConfig(
        **PLAIN,
        beta=(10.0, 10.0),
        airlight=(0.8, 0.8),
        veil=(0.05, 0.05),
        camera=CameraConfig(probability=1.0, noise_sigma=(2.0, 2.0), earlier_probability=0.0),
        eight_bits=True,
    )
    batch = synthesize_haze(clean, depth, config, generator())
    spread = batch.hazy.flatten(1).std(1) * 255
    assert ((spread > 1) & (spread < 4)).all()
    assert batch.target.flatten(1).std(1).max() < 1e-6
    eight = batch.hazy * 255
    torch.testing.assert_close(eight, eight.round(), atol=1e-4, rtol=0)


def test_quality_can_be_uniform_in_its_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def record(picture: np.ndarray, quality: float, offset: tuple[int, int]) -> np.ndarray:
        drawn.append(quality)
        return picture

    monkeypatch.setattr("corun.data.synthesis.compress_jpeg", record)
    clean, depth = torch.rand(400, 3, 2, 2), torch.ones(400, 1, 2, 2)
    settings = {**PLAIN, "jpeg_probability": 0.8, "jpeg_quality": (20, 95)}
    synthesize_haze(clean, depth, SynthesisConfig(**settings, jpeg_log_uniform=True), generator())
    assert 0.7 < len(drawn) / 400 < 0.9
    assert 20 <= min(drawn) < 25
    assert 88 < max(drawn) <= 95
    assert np.median(drawn) == pytest.approx((20 * 95) ** 0.5, rel=0.12)


def test_veil_fades_from_the_clean_photo_to_grey() -> None:
    clean = torch.rand(1, 3, 1, 4)
    T = torch.tensor([0.01, 0.03, 0.09, 0.9]).view(1, 1, 1, 4)
    airlight = torch.tensor([0.9, 0.8, 0.7]).view(1, 3, 1, 1)
    threshold = torch.full((1, 1, 1, 1), 0.06)
    target = veiled_target(clean, T, airlight, threshold)
    veil = 0.45 + 0.55 * 0.8
    torch.testing.assert_close(target[..., :2], torch.full((1, 3, 1, 2), veil))
    torch.testing.assert_close(target[..., 2:], clean[..., 2:])
    middle = veiled_target(clean, torch.full_like(T, 0.06), airlight, threshold)
    torch.testing.assert_close(middle, 0.5 * clean + 0.5 * veil)
