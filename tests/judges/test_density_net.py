"""The density network: sizes, range, gradient, its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from corun.errors import WeightsError
from corun.files import shipped
from corun.judges.density_net import (
    DensityNet,
    cell_statistics,
    load_density_net,
    save_density_net,
    within_range,
)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 16), (40, 70), (288, 288)])
def test_any_size_and_range(height: int, width: int) -> None:
    torch.manual_seed(0)
    density = DensityNet(6)(torch.rand(2, 3, height, width))
    assert density.map.shape == (2, 1, -(-height // 16), -(-width // 16))
    assert bool(((density.map > 0) & (density.map < 1)).all())
    torch.testing.assert_close(density.overall, density.map.flatten(1).mean(1))


def test_cell_statistics_by_hand() -> None:
    image = torch.zeros(1, 3, 4, 4)
    image[:, 0] = 0.8
    image[:, 1] = 0.4
    image[:, 2, :2] = 0.4
    found = cell_statistics(image).flatten()
    expected_means = torch.tensor([0.8, 0.4, 0.2]) * 2 - 1
    torch.testing.assert_close(found[:3], expected_means)
    assert float(found[3]) == pytest.approx(-1)  # darkest value 0
    saturation = (0.5 * 0.4 + 0.5 * 0.8) / 0.85
    assert float(found[4]) == pytest.approx(saturation, rel=1e-5)


def test_values_outside_the_range_keep_a_gradient() -> None:
    image = torch.tensor([-0.2, 1.3]).expand(1, 3, 1, 2).clone().requires_grad_(True)
    clamped = within_range(image)
    values = clamped.detach()
    assert float(values.min()) == pytest.approx(0, abs=1e-6)
    assert float(values.max()) == pytest.approx(1)
    clamped.sum().backward()
    assert image.grad is not None
    assert bool((image.grad == 1).all())


def test_the_file_round_trips_at_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = DensityNet(6)
    save_density_net(tmp_path / "d.safetensors", network)
    again = load_density_net(tmp_path / "d.safetensors")
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(again(image).map, network(image).map, atol=2e-3, rtol=0)
    assert not any(p.requires_grad for p in again.parameters())


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="corun train density"):
        load_density_net(tmp_path / "absent.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not the weights"):
        load_density_net(tmp_path / "bad.safetensors")


def test_the_shipped_network_is_small() -> None:
    network = load_density_net(shipped("density.safetensors"))
    assert sum(p.numel() for p in network.parameters()) < 60_000
    assert shipped("density.safetensors").stat().st_size < 300_000
