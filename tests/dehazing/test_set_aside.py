"""Frames and hidden colours are set aside before the estimate, for every kind of picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.engines.torch_engine import TorchEngine
from corun.dehazing.loading import load
from corun.pictures.colours import read_eight_bit
from sample_pictures import gradient

SIDES = {"letterbox": (40, 40, 0, 0), "left": (0, 0, 50, 0), "all": (30, 20, 25, 35)}
COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "red": (200, 20, 30)}


class Brighten(nn.Module):
    """Divides by the brightest value of the whole picture: whatever is in it counts."""

    def forward(self, hazy: Tensor) -> tuple[Tensor, Tensor]:
        return hazy / hazy.amax((1, 2, 3), keepdim=True) - hazy.mean((1, 2, 3), keepdim=True), hazy[
            :, :1
        ]


def framed(picture: np.ndarray, sides: str, colour: str) -> tuple[np.ndarray, tuple[slice, slice]]:
    top, bottom, left, right = SIDES[sides]
    height, width = picture.shape[:2]
    result = np.empty((height + top + bottom, width + left + right, 3), np.uint8)
    result[:] = COLOURS[colour]
    inside = slice(top, top + height), slice(left, left + width)
    result[inside] = picture
    return result, inside


@pytest.fixture(scope="module", params=["dcp", "brought"])
def dehazer(request: pytest.FixtureRequest) -> Dehazer:
    if request.param == "dcp":
        return load("dcp", device="cpu")
    return Dehazer(TorchEngine(Brighten(), device="cpu"), name="brighten")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 6, (90, 120, 3))
    return np.clip(gradient(90, 120, 3, "uint8") * 0.6 + 60 + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_a_frame_changes_nothing_inside_it(
    dehazer: Dehazer, photo: np.ndarray, sides: str, colour: str, kind: str
) -> None:
    picture, inside = framed(photo, sides, colour)
    expected = dehazer(photo).image
    if kind == "array":
        result = dehazer(picture)
        found = result.image
    else:
        batch = torch.from_numpy(picture).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
        result = dehazer(batch)
        found = result.image[1].permute(1, 2, 0).numpy()
    difference = np.abs(found.astype(int) - picture)
    difference[inside] = 0
    assert difference.max() <= 2
    assert np.abs(found[inside].astype(int) - expected).mean() <= 3
    assert result.transmission is not None
    assert result.transmission.shape[-2:] == picture.shape[:2]


def test_the_case(shared: Path) -> None:
    dcp = load("dcp", device="cpu")
    framed_one, _ = read_eight_bit(shared / "cases" / "letterbox_black.png")
    plain, _ = read_eight_bit(shared / "cases" / "base320.png")
    found = dcp(framed_one).image.astype(int)
    assert np.abs(found[40:240] - dcp(plain).image).mean() <= 3
    assert max(found[:40].max(), found[240:].max()) <= 2


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_hidden_colours_of_tensors_change_nothing(channels: int, dtype: str) -> None:
    generator = np.random.default_rng(2)
    picture = generator.integers(20, 90, (40, 50, channels)).astype(np.uint8)
    picture[..., -1] = 255
    picture[10:20, 10:30, -1] = 0
    hidden = picture[..., -1] == 0
    results = []
    for colour in (0, 255):
        picture[hidden, :-1] = colour
        tensor = torch.from_numpy(picture.copy()).permute(2, 0, 1)
        tensor = tensor if dtype == "uint8" else tensor / 255
        result = Dehazer(TorchEngine(Brighten(), device="cpu"), name="brighten")(tensor).image
        assert isinstance(result, Tensor)
        torch.testing.assert_close(result[:, 10:20, 10:30], tensor[:, 10:20, 10:30])
        results.append(result[:, torch.from_numpy(~hidden)])
    torch.testing.assert_close(*results)
