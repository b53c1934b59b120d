"""CORUN as a whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from published_weights import published_state
from torch.utils.flop_counter import FlopCounterMode

from corun.errors import ConfigurationError
from corun.networks import prior_unet
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.networks.published_layout import load_published
from corun.networks.reduction import pad_to_multiple, reduce_by_area
from corun.networks.registry import BASE_CONFIG, LITE_CONFIG
from corun.physics.full_size_step import full_size_coefficients
from corun.physics.working_picture import working_size
from literal_formulation import LiteralCORUN

TINY = CorunConfig(stages=2, dim=8, levels=2, ffn_expansion=2)
CELLS = CorunConfig(
    stages=2, dim=8, levels=1, ffn_expansion=2, transmission_step="least_squares", cell=4
)


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
    result = network.unfold(torch.from_numpy(expected["input"])).stages
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
    # 71.5 GMAC is the cost of the published network, computed literally.
    assert counter.get_total_flops() / 2e9 == pytest.approx(71.5, rel=0.02)


def test_lite_needs_at_least_15_times_fewer_operations_than_base() -> None:
    flops = {}
    for name, config in (("base", BASE_CONFIG), ("lite", LITE_CONFIG)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            LiteralCORUN(CORUN(config))(torch.rand(1, 3, 96, 96))
        flops[name] = counter.get_total_flops()
    assert flops["base"] >= 15 * flops["lite"]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (8, 8), (33, 20)])
@pytest.mark.parametrize("config", [TINY, CELLS], ids=["published", "cells"])
@torch.no_grad()
def test_any_size_goes_in_and_comes_out(config: CorunConfig, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    output = CORUN(config).eval()(torch.rand(2, 3, *size))
    assert output.scene.shape == (2, 3, *size)
    assert output.transmission.shape == (2, 1, *size)
    assert torch.isfinite(output.scene).all()
    assert ((output.transmission >= 0.03) & (output.transmission <= 1)).all()


@torch.no_grad()
def test_forward_is_the_last_stage() -> None:
    torch.manual_seed(0)
    network, hazy = CORUN(TINY).eval(), torch.rand(1, 3, 21, 18)
    output, unfolding = network(hazy), network.unfold(hazy)
    last = unfolding.stages[-1]
    torch.testing.assert_close(output.scene, last.scene[..., :21, :18])
    torch.testing.assert_close(output.transmission, last.transmission_hat[..., :21, :18])
    assert torch.equal(last.transmission, last.transmission_hat)
    torch.testing.assert_close(unfolding.output, output)


@torch.no_grad()
def test_with_cells_every_stage_has_a_transmission_prior_and_uses_it() -> None:
    torch.manual_seed(0)
    network, hazy = CORUN(CELLS).eval(), torch.rand(1, 3, 32, 40)
    unfolding = network.unfold(hazy)
    torch.testing.assert_close(unfolding.cells, F.avg_pool2d(hazy, 4))
    for stage in unfolding.stages:
        assert stage.scene.shape == (1, 3, 8, 10)
        assert not torch.allclose(stage.transmission, stage.transmission_hat)
        assert ((stage.transmission >= 0.03) & (stage.transmission <= 1)).all()
    torch.testing.assert_close(unfolding.output, network(hazy))


@torch.no_grad()
def test_where_the_gain_is_constant_the_last_step_is_affine() -> None:
    """J* = a·P + b exactly, so an edge inside a cell stays where it is."""
    network, hazy = CORUN(CELLS).eval(), torch.rand(1, 3, 32, 40)
    for parameter in network.parameters():
        parameter.zero_()
    for stage in network.unfolding:
        stage.lam.fill_(1e6)  # T̂ stays at its start
    scene = network(hazy).scene
    a = 0.5 / (0.5**2 + 1.0)  # γ = e⁰
    cells = network.unfold(hazy)
    _, offset = full_size_coefficients(cells.cells, cells.stages[-1].scene, torch.tensor(0.5), 1.0)
    b = F.interpolate(offset, size=(32, 40), mode="bilinear")
    torch.testing.assert_close(scene, a * hazy + b, atol=1e-4, rtol=0)


@torch.no_grad()
def test_large_pictures_are_reduced_for_the_stages_only() -> None:
    """The maps of the reduced picture, applied to the picture itself: its detail stays."""
    torch.manual_seed(0)
    limited = CORUN(replace(CELLS, working_pixels=48 * 64)).eval()
    free = CORUN(CELLS).eval()
    free.load_state_dict(limited.state_dict())
    hazy = torch.rand(1, 3, 192, 256)
    small = F.avg_pool2d(hazy, 4)
    gain, offset, _, _ = free.maps(small)
    up = F.interpolate(torch.cat((gain, offset), 1), size=(192, 256), mode="bilinear")
    torch.testing.assert_close(limited(hazy).scene, up[:, 1:] + up[:, :1] * hazy)
    torch.testing.assert_close(limited(small), free(small))


@torch.no_grad()
def test_the_published_network_takes_the_last_step_at_full_size_if_asked() -> None:
    torch.manual_seed(0)
    plain = CORUN(TINY).eval()
    limited = CORUN(replace(TINY, working_pixels=32 * 32)).eval()
    missing, unexpected = limited.load_state_dict(plain.state_dict(), strict=False)
    assert (missing, unexpected) == (["log_gamma"], [])
    small = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(limited(small), plain(small))  # P′ = P: nothing was lost
    flat = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert limited(flat).scene.shape == flat.shape
    with pytest.raises(ConfigurationError, match="full size"):
        plain.maps(small)


@pytest.mark.parametrize(
    "size", [(45, 71), (47, 66), (49, 64), (3, 2000), (2000, 1), (70, 71), (55, 55), (56, 54)]
)
@torch.no_grad()
def test_reduced_pictures_stay_in_place(size: tuple[int, int]) -> None:
    """Also where a side of the working picture is rounded up, or cannot get smaller."""
    torch.manual_seed(0)
    network = CORUN(replace(CELLS, working_pixels=48 * 64)).eval()
    hazy = F.interpolate(torch.rand(1, 3, 5, 7), size=size, mode="bicubic").clamp(0, 1)
    reduced_to = working_size(*size, 48 * 64, network.config.multiple)
    assert reduced_to is not None
    assert reduced_to[0] * reduced_to[1] <= 1.15 * 48 * 64
    assert all(side % network.config.multiple == 0 for side in reduced_to)
    T = network.unfold(reduce_by_area(hazy, *reduced_to)).stages[-1].transmission
    T = F.interpolate(T, size=size, mode="bilinear")
    torch.testing.assert_close(network(hazy).transmission, T)


@pytest.mark.parametrize("config", [TINY, CELLS], ids=["published", "cells"])
@torch.no_grad()
def test_what_is_returned_explains_the_picture_better_than_white_airlight(
    config: CorunConfig,
) -> None:
    torch.manual_seed(0)
    network = CORUN(config).eval()
    hazy = F.interpolate(torch.rand(2, 3, 6, 8), size=(48, 64), mode="bicubic").clamp(0.2, 0.9)
    output, explained = network(hazy), network.explained(hazy)
    torch.testing.assert_close(explained.scene, output.scene)

    def residual(t: torch.Tensor, A: torch.Tensor | float) -> float:
        return float((output.scene.clamp(0, 1) * t + A * (1 - t) - hazy).abs().mean())

    assert explained.airlight.shape == (2, 3, 1, 1)
    ours = residual(explained.transmission, explained.airlight)
    assert ours < residual(output.transmission, 1.0)
    assert ours < residual(output.transmission, explained.airlight)


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
    network = CORUN(replace(CELLS, working_pixels=500)).eval().to(dtype)
    below = network(torch.rand(1, 3, 16, 16, dtype=dtype))
    above = network(torch.rand(1, 3, 40, 50, dtype=dtype))
    assert [x.dtype for x in above] == [x.dtype for x in below]


@pytest.mark.parametrize("base", [TINY, CELLS], ids=["published", "cells"])
@pytest.mark.parametrize("step", ["paper", "least_squares"])
@torch.no_grad()
def test_equals_the_literal_network(step: str, base: CorunConfig) -> None:
    torch.manual_seed(0)
    config = CorunConfig(**{**base.to_dict(), "stages": 3, "transmission_step": step})
    network, hazy = CORUN(config).eval(), torch.rand(2, 3, 37, 50)
    for fast, literal in zip(network(hazy), LiteralCORUN(network)(hazy), strict=True):
        torch.testing.assert_close(fast, literal, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [TINY, CELLS], ids=["published", "cells"])
def test_every_parameter_learns(config: CorunConfig) -> None:
    torch.manual_seed(0)
    network = CORUN(config)
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
        ("cell", 0),
        ("working_pixels", -1),
    ],
)
def test_impossible_hyper_parameters_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=field):
        CorunConfig(**{field: value})  # type: ignore[arg-type]
