"""Tensors are accepted wherever arrays of the same picture are; what is no picture is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import from_network
from corun.pictures.pixels import PixelError
from corun.pictures.reading import read_picture
from sample_pictures import gradient


class Darken(nn.Module):
    """Halves every value and calls the first channel a transmission."""

    def forward(self, hazy: Tensor) -> tuple[Tensor, Tensor]:
        return hazy / 2, hazy[:, :1]


@pytest.fixture(scope="module")
def darken() -> Dehazer:
    return from_network(Darken(), device="cpu")


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_a_tensor_comes_out_as_the_array_does(
    darken: Dehazer, channels: int | None, dtype: str, tmp_path: Path
) -> None:
    array = gradient(9, 11, channels or 1, dtype)
    array = array[:, :, 0] if channels is None else array
    tensor = torch.from_numpy(array if channels is None else array.transpose(2, 0, 1).copy())
    expected = darken(array).image
    result = darken(tensor)
    assert isinstance(result.image, Tensor)
    assert (result.image.shape, result.image.dtype) == (tensor.shape, tensor.dtype)
    found = result.image.numpy()
    found = found if channels is None else found.transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, atol=1e-6 if "float" in dtype else 0)
    assert result.size == (9, 11)
    assert result.transmission is not None
    assert result.transmission.shape == (1, 9, 11)
    saved = read_picture(result.save(tmp_path / "clear.tif")).image
    np.testing.assert_allclose(np.asarray(saved), found.squeeze(), atol=1e-7)


def test_a_batch_of_grey_pictures_stays_one(darken: Dehazer) -> None:
    batch = torch.rand(3, 1, 9, 11, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(darken(batch).image, batch / 2)


def test_a_tensor_in_a_graph_comes_out_of_it(darken: Dehazer) -> None:
    """Without a warning, which the test run would raise."""
    image = torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(0)).requires_grad_()
    result = darken(image).image
    assert isinstance(result, Tensor)
    assert not result.requires_grad
    torch.testing.assert_close(result, image.detach() / 2)


@pytest.mark.parametrize("shape", [(5, 9, 11), (7,), (1, 1, 3, 9, 11), (3, 0, 9)])
def test_other_shapes_are_refused(darken: Dehazer, shape: tuple[int, ...]) -> None:
    with pytest.raises(PixelError, match="1 to 4 channels"):
        darken(torch.zeros(shape))
    with pytest.raises(PixelError, match="uint8, uint16 or floats"):
        darken(torch.zeros(3, 9, 11, dtype=torch.int64))


@pytest.mark.parametrize(("value", "kind"), [("None", "NoneType"), ("5", "int")])
def test_what_is_no_picture_is_refused_with_what_is_accepted(value: str, kind: str) -> None:
    """In a process of its own: here every argument's type is checked before our code sees it."""
    code = (
        "import corun\nfrom corun.errors import CorunError\n"
        f"try:\n    corun.dehaze({value}, 'dcp', device='cpu')\n"
        "except CorunError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == (
        f"{kind} is no picture; give a path, bytes, an open file, a Pillow image, a numpy array "
        "or a torch tensor"
    ), result.stderr
