"""CORUN as a whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from published_weights import published_state
from torch.utils.flop_counter import FlopCounterMode

from corun.data.scenes import render_scene
from corun.errors import ConfigurationError
from corun.networks import prior_unet
from corun.networks.corun import CORUN, CorunConfig, pad_to_multiple, working_size
from corun.networks.local_affine import apply_local_affine, local_affine_model
from corun.networks.published_layout import load_published
from corun.networks.registry import BASE_CONFIG, LITE_CONFIG
from corun.physics.scattering import add_haze
from literal_formulation import LiteralCORUN, local_affine_scene

TINY = CorunConfig(stages=2, dim=8, levels=2, ffn_expansion=2, prior_downscale=2)


@pytest.mark.parametrize("stages", [4, 3])
@pytest.mark.parametrize("in_strips", [False, True])
@torch.no_grad()
def test_matches_the_published_network_at_every_stage(
    shared: Path, monkeypatch: pytest.MonkeyPatch, stages: int, in_strips: bool
) -> None:
    if in_strips:
        monkeypatch.setattr(prior_unet, "STRIP_ELEMENTS_CPU", 1)
    fixtures = shared / "fixtures"
    network = load_published(published_state(fixtures, stages), "fixture").eval()
    expected = np.load(fixtures / "official_corun_io.npz")
    result = network.stages(torch.from_numpy(expected["input"]))
    assert len(result) == stages
    for number, stage in enumerate(result, 1):
        scene = expected[f"depth{stages}_stage{number}_dehazed"]
        transmission = expected[f"depth{stages}_stage{number}_transmission"]
        assert np.abs(stage.scene.numpy() - scene).max() < 1e-5
        assert np.abs(stage.transmission_hat.numpy() - transmission).max() < 1e-5


def test_published_size_has_the_published_parameters_and_operations() -> None:
    with torch.device("meta"):
        network = CORUN(BASE_CONFIG)
        image = torch.empty(1, 3, 256, 256)
    assert len(network.state_dict()) == 722
    assert sum(p.numel() for p in network.parameters()) == 18_674_262
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        LiteralCORUN(network)(image)
    # 71.5 GMAC is what DESIGN states for the literal formulation.
    assert counter.get_total_flops() / 2e9 == pytest.approx(71.5, rel=0.02)


def test_lite_needs_at_least_15_times_fewer_operations_than_base() -> None:
    flops = {}
    for name, config in (("base", BASE_CONFIG), ("lite", LITE_CONFIG)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            LiteralCORUN(CORUN(config))(torch.rand(1, 3, 96, 96))
        flops[name] = counter.get_total_flops()
    assert flops["base"] >= 15 * flops["lite"]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (8, 8), (33, 20)])
@torch.no_grad()
def test_any_size_goes_in_and_comes_out(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    output = CORUN(TINY).eval()(torch.rand(2, 3, *size))
    assert output.scene.shape == (2, 3, *size)
    assert output.transmission.shape == (2, 1, *size)
    assert torch.isfinite(output.scene).all()
    assert ((output.transmission >= 0.05) & (output.transmission <= 0.999)).all()


@torch.no_grad()
def test_forward_is_the_last_stage() -> None:
    torch.manual_seed(0)
    network, hazy = CORUN(TINY).eval(), torch.rand(1, 3, 21, 18)
    output, stages = network(hazy), network.stages(hazy)
    torch.testing.assert_close(output.scene, stages[-1].scene)
    torch.testing.assert_close(output.transmission, stages[-1].transmission_hat)
    assert stages[-1].transmission is stages[-1].transmission_hat or torch.equal(
        stages[-1].transmission, stages[-1].transmission_hat
    )


@torch.no_grad()
def test_only_the_last_stage_is_fitted() -> None:
    torch.manual_seed(0)
    hazy = torch.rand(1, 3, 24, 32)
    plain = CORUN(TINY).eval()
    fitted = CORUN(replace(TINY, affine_cell=4)).eval()
    fitted.load_state_dict(plain.state_dict())
    for stage, same in zip(plain.stages(hazy), fitted.stages(hazy), strict=True):
        assert torch.equal(stage.scene, stage.scene_unfitted)
        torch.testing.assert_close(same.scene_unfitted, stage.scene)
    first = fitted.stages(hazy)[0]
    assert torch.equal(first.scene, first.scene_unfitted)
    expected = local_affine_scene(hazy, same.scene_unfitted, same.transmission_hat, cell=4)
    assert torch.equal(same.scene, expected)


@torch.no_grad()
def test_every_setting_of_the_closing_fit_reaches_it() -> None:
    torch.manual_seed(0)
    hazy = 0.5 + 0.1 * torch.rand(1, 3, 32, 32)
    fitted = CORUN(replace(TINY, affine_cell=4)).eval()
    scene = fitted(hazy).scene
    other: dict[str, int | float]
    for other in (
        {"affine_cell": 8},
        {"affine_epsilon": 1e-1},
        {"affine_trust": 1e-5},
        {"affine_noise": 1e-1},
        {"affine_exponent": 1.5},
        {"affine_clearing": 0.5},
        {"affine_deblurring": 5.0},
    ):
        changed = CORUN(replace(fitted.config, **other)).eval()  # type: ignore[arg-type]
        changed.load_state_dict(fitted.state_dict())
        assert not torch.allclose(changed(hazy).scene, scene, atol=1e-4), other


@torch.no_grad()
def test_large_pictures_are_reduced_for_the_stages_only() -> None:
    """The model of the reduced picture, applied to the picture itself: its detail stays."""
    torch.manual_seed(0)
    limited = CORUN(replace(TINY, affine_cell=4, working_pixels=48 * 64)).eval()
    free = CORUN(replace(TINY, affine_cell=4)).eval()
    free.load_state_dict(limited.state_dict())
    hazy = add_haze(
        render_scene(192, 256, 2).image[None],
        torch.full((1, 1, 192, 256), 0.5),
        torch.full((1, 3, 1, 1), 0.9),
    )
    small = F.interpolate(hazy, size=(48, 64), mode="bilinear", antialias=True)
    of_small = free.stages(small)
    last = of_small[-1]
    model = local_affine_model(small, last.scene_unfitted, last.transmission_hat, cell=4)
    output, stages = limited(hazy), limited.stages(hazy)
    torch.testing.assert_close(output.scene, apply_local_affine(model, hazy))
    torch.testing.assert_close(output.scene, stages[-1].scene)
    assert output.transmission.shape == (1, 1, 192, 256)
    T = F.interpolate(last.transmission_hat, size=(192, 256), mode="bilinear")
    torch.testing.assert_close(output.transmission, T)
    for stage in stages:
        assert all(value.shape[-2:] == (192, 256) for value in stage)

    torch.testing.assert_close(limited(small).scene, free(small).scene)


@pytest.mark.parametrize("size", [(45, 71), (47, 66), (49, 64), (3, 2000), (2000, 1), (70, 71)])
@torch.no_grad()
def test_reduced_pictures_stay_in_place(size: tuple[int, int]) -> None:
    """Also where a side of the working picture is rounded up, or cannot get smaller."""
    torch.manual_seed(0)
    network = CORUN(replace(TINY, affine_cell=4, working_pixels=48 * 64)).eval()
    hazy = F.interpolate(torch.rand(1, 3, 5, 7), size=size, mode="bicubic").clamp(0, 1)
    reduced_to = working_size(*size, 48 * 64, network.multiple)
    assert reduced_to is not None
    assert reduced_to[0] * reduced_to[1] <= 1.15 * 48 * 64
    assert all(side % network.multiple == 0 for side in reduced_to)
    small = F.interpolate(hazy, size=reduced_to, mode="bilinear", antialias=True)
    of_small = network.stages(small)[-1]
    model = local_affine_model(small, of_small.scene_unfitted, of_small.transmission_hat, cell=4)
    output = network(hazy)
    torch.testing.assert_close(output.scene, apply_local_affine(model, hazy))
    T = F.interpolate(of_small.transmission_hat, size=size, mode="bilinear")
    torch.testing.assert_close(output.transmission, T)


def test_the_working_picture_is_never_far_from_the_limit() -> None:
    for height in range(1, 900, 23):
        for width in range(1, 4000, 97):
            size = working_size(height, width, 20_000, 16)
            padded = (height + -height % 16) * (width + -width % 16)
            assert (size is None) == (padded <= 20_000)
            if size is not None:
                assert 0.6 * 20_000 < size[0] * size[1] < 1.4 * 20_000
                assert size[0] <= height + -height % 16
                assert size[1] <= width + -width % 16
    assert working_size(5000, 5000, 0, 16) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@torch.no_grad()
def test_precision_is_the_same_above_the_limit(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = CORUN(replace(TINY, affine_cell=4, working_pixels=500)).eval().to(dtype)
    below = network(torch.rand(1, 3, 16, 16, dtype=dtype))
    above = network(torch.rand(1, 3, 40, 50, dtype=dtype))
    assert [x.dtype for x in above] == [x.dtype for x in below]


@pytest.mark.parametrize("affine_cell", [0, 4])
@pytest.mark.parametrize("step", ["paper", "least_squares"])
@torch.no_grad()
def test_equals_the_literal_network(step: str, affine_cell: int) -> None:
    torch.manual_seed(0)
    config = CorunConfig(
        **{**TINY.to_dict(), "stages": 3, "transmission_step": step, "affine_cell": affine_cell}
    )
    network, hazy = CORUN(config).eval(), torch.rand(2, 3, 37, 50)
    for fast, literal in zip(network(hazy), LiteralCORUN(network)(hazy), strict=True):
        torch.testing.assert_close(fast, literal, atol=1e-5, rtol=0)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = CORUN(TINY)
    output = network(torch.rand(1, 3, 32, 32))
    (output.scene.square().mean() + output.transmission.mean()).backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_stages_of_a_batch_do_not_mix() -> None:
    torch.manual_seed(0)
    network, hazy = CORUN(TINY).eval(), torch.rand(3, 3, 24, 24)
    with torch.no_grad():
        together = network(hazy).scene
        alone = torch.cat([network(image[None]).scene for image in hazy])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_padding_reflects_and_falls_back_to_repetition() -> None:
    row = torch.arange(5.0).view(1, 1, 1, 5).expand(1, 1, 5, 5)
    assert pad_to_multiple(row, 4)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert pad_to_multiple(row[..., :1, :1] + 7, 4).flatten().tolist() == [7.0] * 16
    assert pad_to_multiple(row, 5) is row


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stages", 0),
        ("dim", 7),
        ("levels", -1),
        ("prior_downscale", 0),
        ("working_pixels", -1),
        ("affine_cell", -1),
        ("affine_epsilon", 0.0),
        ("affine_trust", 0.0),
        ("affine_noise", -1e-9),
        ("affine_exponent", 0.0),
        ("affine_clearing", 1.5),
        ("affine_clearing", -0.1),
        ("affine_deblurring", -0.1),
        ("affine_deblurring", float("inf")),
        ("affine_noise", float("nan")),
        ("working_pixels", 1000),  # without a closing fit nothing brings back full size
    ],
)
def test_impossible_hyper_parameters_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=field):
        CorunConfig(**{field: value})  # type: ignore[arg-type]
