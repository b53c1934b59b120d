"""Evaluators along sweeps of known haze, against FADE, and in their layouts."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from corun.colabator.coherence import assess, smooth_weights
from corun.data.images import read_depth, read_rgb
from corun.data.scenes import render_scene
from corun.judges.choice import (
    DensityChoice,
    build_density,
)
from corun.judges.density_net import embedded_density
from corun.judges.facts import JUDGES
from corun.judges.hazdesnet import HazDesNet, HazDesNetDensity, map_index
from corun.judges.natural_scene import (
    embedded_quality,
)
from corun.judges.protocols import DensityEvaluator, QualityEvaluator
from corun.physics.scattering import add_haze
from corun.physics.transmission import depth_to_transmission

BETAS = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 2.8)


def spearman(values: list[float], others: list[float]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(values, others)[0])


def sweep(image: Tensor, depth: Tensor) -> Tensor:
    """The same scene from clear to dense, (9,3,h,w)."""
    airlight = torch.full((1, 3, 1, 1), 0.85)
    hazes = [
        add_haze(image[None], depth_to_transmission(depth[None], beta), airlight) for beta in BETAS
    ]
    return torch.cat(hazes).clamp(0, 1)


def trend(scores: Tensor) -> float:
    return spearman(list(range(len(BETAS))), scores.tolist())


@pytest.fixture(scope="module")
def density() -> DensityEvaluator:
    return embedded_density()


@pytest.fixture(scope="module")
def quality() -> QualityEvaluator:
    return embedded_quality()


@pytest.mark.parametrize("seed", range(4))
def test_density_rises_and_quality_falls_on_rendered_scenes(
    density: DensityEvaluator, quality: QualityEvaluator, seed: int
) -> None:
    scene = render_scene(160, 224, seed)
    hazes = sweep(scene.image, scene.depth)
    assert trend(density.score(hazes, 32).overall) >= 0.9
    assert trend(quality.score(hazes, 32).overall) <= -0.9


def test_density_rises_and_quality_falls_on_photos(
    shared: Path, density: DensityEvaluator, quality: QualityEvaluator
) -> None:
    photos = sorted((shared / "data" / "clean" / "val").glob("*.jpg"))[::5]
    for path in photos:
        image = read_rgb(path)
        (depth_path,) = (shared / "data" / "depth" / "val").glob(f"{path.stem}.*")
        depth = read_depth(depth_path)[None] / 255
        depth = torch.nn.functional.interpolate(depth, image.shape[-2:], mode="bilinear")[0]
        hazes = sweep(image[:, :256, :256], depth[:, :256, :256])
        assert trend(density.score(hazes, 32).overall) >= 0.9, path.name
        assert trend(quality.score(hazes, 32).overall) <= -0.9, path.name


def test_fade_and_hazdesnet_rise_too(shared: Path) -> None:
    scene = render_scene(160, 224, 1)
    hazes = sweep(scene.image, scene.depth)
    fade = build_density(DensityChoice(kind="fade")).score(hazes, 32)
    assert trend(fade.overall) >= 0.9
    assert fade.blocks.shape == (len(BETAS), 1, 5, 7)
    weights = shared / "metrics" / "hazdesnet.hdf5"
    hazdesnet = build_density(DensityChoice(kind="hazdesnet", weights=weights)).score(hazes, 32)
    assert trend(hazdesnet.overall) >= 0.9
    assert hazdesnet.blocks.shape == (len(BETAS), 1, 5, 7)


def test_density_agrees_in_rank_with_fade(shared: Path, density: DensityEvaluator) -> None:
    from pyfade import fade

    photos = sorted((shared / "data" / "fattal").glob("*.jpg"))[::3]
    ours, theirs = [], []
    for path in photos:
        image = read_rgb(path)[None]
        scale = 320 / max(image.shape[-2:])
        image = torch.nn.functional.interpolate(image, scale_factor=scale, mode="area")
        ours.append(float(density.score(image, 32).overall))
        levels = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
        theirs.append(float(fade(levels)))
    assert spearman(ours, theirs) >= 0.7


def test_a_half_hazed_scene_is_trusted_on_its_clear_half(
    density: DensityEvaluator, quality: QualityEvaluator
) -> None:
    scene = render_scene(128, 256, 3).image[None]
    half = scene.clone()
    half[..., 128:] = 0.35 * scene[..., 128:] + 0.65 * 0.9
    found = assess(half, density, quality, 32)
    weights = smooth_weights(found.weights, 128, 256, 32)
    assert float(weights[..., :112].mean()) > 1.3 * float(weights[..., 144:].mean())


def test_the_density_has_a_gradient_that_points_to_less_haze(density: DensityEvaluator) -> None:
    scene = render_scene(96, 96, 2)
    t = torch.tensor(0.5, requires_grad=True)
    hazy = add_haze(scene.image[None], t.view(1, 1, 1, 1), torch.full((1, 3, 1, 1), 0.85))
    density.score(hazy, 32).overall.sum().backward()
    assert t.grad is not None
    assert float(t.grad) < 0  # more transmission, less density


@pytest.mark.parametrize("size", [(1, 1), (17, 90), (33, 64)])
def test_any_size(
    density: DensityEvaluator, quality: QualityEvaluator, size: tuple[int, int]
) -> None:
    image = torch.rand(2, 3, *size)
    grid = (2, 1, -(-size[0] // 32), -(-size[1] // 32))
    for scores in (density.score(image, 32), quality.score(image, 32)):
        assert scores.blocks.shape == grid
        assert bool(((scores.blocks >= 0) & (scores.blocks <= 1)).all())
        assert bool(scores.overall.isfinite().all())


def test_the_overall_density_alone_is_that_of_the_scores(density: DensityEvaluator) -> None:
    image = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    fade = build_density(DensityChoice(kind="fade"))
    torch.manual_seed(0)
    for evaluator in (density, HazDesNetDensity(HazDesNet().eval()), fade):
        assert torch.equal(evaluator.overall(image), evaluator.score(image, 32).overall)


@pytest.mark.parametrize("size", [(304, 304), (72, 104)])
def test_fades_blocks_lie_where_the_pictures_do(size: tuple[int, int]) -> None:
    """Haze in the last, partial column of blocks only must be read there only."""
    image = 0.9 * torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    edge = size[1] // 32 * 32
    image[..., edge:] = 0.8 + 0.1 * image[..., edge:]
    blocks = build_density(DensityChoice(kind="fade")).score(image, 32).blocks
    assert blocks.shape[-1] == size[1] // 32 + 1
    last, rest = blocks[..., :-1, -1], blocks[..., :-1, :-2]
    assert float(last.min()) > 2 * float(rest.max())


def test_hazdesnets_blocks_lie_where_the_pictures_do() -> None:
    """A map that is the column of its receptive field's centre, block by block."""

    class Columns(HazDesNet):
        def forward(self, image: Tensor) -> Tensor:
            rows, columns = ((side - 4) // 2 - 13 for side in image.shape[-2:])
            centres = 2 * torch.arange(columns, dtype=torch.float32) + 15.5
            return centres.expand(len(image), 1, rows, columns)

    scores = HazDesNetDensity(Columns()).score(torch.rand(1, 3, 64, 144), 32)
    assert scores.blocks.shape == (1, 1, 2, 5)
    expected = [32 * i + 15.5 for i in range(1, 4)]
    torch.testing.assert_close(scores.blocks[0, 0, 0, 1:4], torch.tensor(expected))
    index = map_index(144, 57)
    assert index[15] == index[16] == 0
    assert index[17] == 1
    assert index[143] == 56


def test_evaluators_are_named_by_what_they_hold(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = HazDesNet().eval(), HazDesNet().eval()
    assert HazDesNetDensity(one).name == HazDesNetDensity(copy.deepcopy(one)).name
    assert HazDesNetDensity(one).name != HazDesNetDensity(other).name
    assert len(embedded_density().name.split()[-1]) == 12


def test_what_the_table_says_of_the_judges_is_so(density: DensityEvaluator) -> None:
    torch.manual_seed(0)
    judges = {
        "density-net": density,
        "hazdesnet": HazDesNetDensity(HazDesNet().eval()),
        "fade": build_density(DensityChoice(kind="fade")),
    }
    for name, judge in judges.items():
        image = torch.rand(1, 3, 64, 64, requires_grad=True)
        overall = judge.overall(image)
        assert judge.differentiable == JUDGES[name].differentiable == overall.requires_grad
        assert 0 <= float(overall.detach()) <= 1
