from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from corun.errors import WeightsError
from corun.metrics.lpips import load_lpips

LAYERS = ((0, 3, 64, 11), (3, 64, 192, 5), (6, 192, 384, 3), (8, 384, 256, 3), (10, 256, 256, 3))
STRIDES = (4, 1, 1, 1, 1)
PADDING = (2, 2, 1, 1, 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights in the layout of the published files, filled with noise."""
    folder = tmp_path_factory.mktemp("lpips")
    generator = torch.Generator().manual_seed(0)
    backbone, heads = {}, {}
    for index, (key, inputs, outputs, size) in enumerate(LAYERS):
        spread = 1 / (inputs * size * size) ** 0.5
        weight = torch.randn(outputs, inputs, size, size, generator=generator) * spread
        backbone[f"features.{key}.weight"] = weight
        backbone[f"features.{key}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
        heads[f"lin{index}.model.1.weight"] = torch.rand(1, outputs, 1, 1, generator=generator)
    backbone["classifier.1.weight"] = torch.zeros(2, 2)  # published, and of no use here
    torch.save(backbone, folder / "alexnet.pth")
    torch.save(heads, folder / "alex.pth")
    return folder / "alexnet.pth", folder / "alex.pth"


def _literal(
    x: torch.Tensor, y: torch.Tensor, backbone: dict[str, torch.Tensor], heads: dict
) -> float:
    def features(image: torch.Tensor) -> list[np.ndarray]:
        shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
        maps = ((2 * image.double().permute(1, 2, 0).numpy() - 1) - shift) / scale
        found = []
        for index, (key, *_, size) in enumerate(LAYERS):
            if index in (1, 2):
                maps = sliding_window_view(maps, (3, 3), (0, 1))[::2, ::2].max((-1, -2))
            pad = PADDING[index]
            padded = np.pad(maps, ((pad, pad), (pad, pad), (0, 0)))
            windows = sliding_window_view(padded, (size, size), (0, 1))
            windows = windows[:: STRIDES[index], :: STRIDES[index]]
            weight = backbone[f"features.{key}.weight"].double().numpy()
            maps = np.einsum("hwcij,ocij->hwo", windows, weight, optimize=True)
            maps = np.maximum(maps + backbone[f"features.{key}.bias"].double().numpy(), 0)
            found.append(maps / (np.linalg.norm(maps, axis=-1, keepdims=True) + 1e-10))
        return found

    total = 0.0
    for index, (a, b) in enumerate(zip(features(x), features(y), strict=True)):
        weight = heads[f"lin{index}.model.1.weight"].flatten().double().numpy()
        total += (((a - b) ** 2) @ weight).mean()
    return total


def test_against_a_literal_computation(files: tuple[Path, Path]) -> None:
    lpips = load_lpips(*files)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(2, 1, 3, 40, 47, generator=generator)
    states = [torch.load(path, weights_only=True) for path in files]
    expected = _literal(x[0], y[0], *states)
    assert expected > 0.1
    assert float(lpips(x, y)) == pytest.approx(expected, rel=1e-4)


def test_equal_pictures_and_batches(files: tuple[Path, Path]) -> None:
    lpips = load_lpips(*files)
    x, y = torch.rand(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert lpips(x, x).tolist() == [0, 0, 0]
    torch.testing.assert_close(lpips(x, y), lpips(y, x))
    torch.testing.assert_close(lpips(x, y)[1:2], lpips(x[1:2], y[1:2]))


def test_sizes(files: tuple[Path, Path]) -> None:
    lpips = load_lpips(*files)
    with pytest.raises(ValueError, match="differ in size"):
        lpips(torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 41))
    smallest = torch.rand(1, 3, 31, 31)
    assert lpips(smallest, smallest).shape == (1,)
    with pytest.raises(ValueError, match="31×31 pixels, got 40×30"):
        lpips(torch.rand(1, 3, 30, 40), torch.rand(1, 3, 30, 40))


UNREADABLE = r"not a (readable|plain) weights file|holds no state dict"


def test_bad_files_are_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    backbone, heads = files
    with pytest.raises(WeightsError, match=r"none: no such file"):
        load_lpips(tmp_path / "none", heads)
    with pytest.raises(WeightsError, match=r"lacks features\.0\.weight"):
        load_lpips(heads, heads)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(
        WeightsError,
        match=UNREADABLE,
    ):
        load_lpips(backbone, tmp_path / "text")
    torch.save([1, 2], tmp_path / "list")
    with pytest.raises(
        WeightsError,
        match=UNREADABLE,
    ):
        load_lpips(backbone, tmp_path / "list")
    other = torch.load(heads, weights_only=True) | {"lin0.model.1.weight": torch.zeros(1, 7, 1, 1)}
    torch.save(other, tmp_path / "other")
    with pytest.raises(WeightsError, match="another network"):
        load_lpips(backbone, tmp_path / "other")
