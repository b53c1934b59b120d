"""Every kind of picture comes out of the dehazer as it went in, minus the haze."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_networks import Darken, Identity
from torch import Tensor

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import from_network, load
from corun.dehazing.tensor_pictures import dehaze_batch
from corun.errors import ConfigurationError
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.pictures.modes import pil_like, rgb_from_pil
from corun.pictures.pixels import PixelError
from sample_pictures import gradient, pil_picture

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F")


@pytest.fixture(scope="module")
def cells() -> Dehazer:
    """As tiny, but with the last step at full size and pictures reduced from 400 pixels on."""
    torch.manual_seed(0)
    config = CorunConfig(
        stages=1, dim=4, levels=1, ffn_expansion=1, cell=2, working_pixels=400,
        transmission_step="least_squares",
    )  # fmt: skip
    return from_network(CORUN(config), name="cells", device="cpu")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (17, 23), (60, 41)], ids=str)
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_the_last_step_in_bands_is_that_on_tensors(
    cells: Dehazer, mode: str, size: tuple[int, int], strength: float
) -> None:
    """Pillow images and arrays take the step in NumPy, tensors in torch."""
    image = pil_picture(mode, *size)
    result = cells(image, strength=strength)
    assert isinstance(result.image, Image.Image)
    assert (result.image.mode, result.image.size) == (mode, image.size)
    rgb = rgb_from_pil(image)
    hazy = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))[None])
    estimate = dehaze_batch(cells, hazy, strength=strength)
    array = cells(rgb, strength=strength)
    scene = estimate.scene[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(array.image, scene, atol=1e-5)
    np.testing.assert_allclose(array.transmission, estimate.transmission[0, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(array.airlight, estimate.airlight[0, :, 0, 0].numpy(), atol=1e-5)
    if mode in ("L", "RGB"):
        expected = np.asarray(pil_like(scene, image)).astype(int)
        assert np.abs(np.asarray(result.image).astype(int) - expected).max() <= 1


def test_haze_is_explained_by_what_is_returned(cells: Dehazer) -> None:
    image = gradient(40, 60, 3, "float32")
    result = cells(image)
    T, A = result.transmission[..., None], result.airlight
    residual = np.abs(result.image * T + A * (1 - T) - image).mean()
    assert residual < np.abs(result.image - image).mean()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 23)], ids=str)
def test_pillow_images_keep_size_mode_and_alpha(
    tiny: Dehazer, mode: str, size: tuple[int, int]
) -> None:
    image = pil_picture(mode, *size)
    before = image.copy()
    result = tiny(image)
    assert isinstance(result.image, Image.Image)
    assert (result.image.mode, result.image.size) == (mode, image.size)
    assert result.transmission is not None
    assert result.transmission.shape == size
    assert image.tobytes() == before.tobytes()
    if mode in ("LA", "RGBA"):
        assert result.image.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("mode", MODES)
def test_an_identity_network_returns_the_image(mode: str) -> None:
    image = pil_picture(mode)
    result = from_network(Identity(), device="cpu")(image).image
    assert isinstance(result, Image.Image)
    tolerance = {"YCbCr": 2, "HSV": 4, "F": 1e-6}.get(mode, 0)
    if mode == "P":
        image, result = image.convert("RGB"), result.convert("RGB")
    difference = np.abs(np.asarray(result).astype(float) - np.asarray(image).astype(float))
    assert difference.max() <= tolerance


def test_transparency_of_palette_and_colour_key_stays_exact() -> None:
    dehazer = from_network(Darken(), device="cpu")
    indexed = pil_picture("P")
    indexed.info["transparency"] = indexed.getpixel((4, 5))
    result = dehazer(indexed).image
    assert result.mode == "P"
    alpha = np.asarray(indexed.convert("RGBA"))[..., 3]
    assert alpha.min() == 0
    np.testing.assert_array_equal(np.asarray(result.convert("RGBA"))[..., 3], alpha)
    indexed.info["transparency"] = bytes(range(0, 200))
    shaded = dehazer(indexed).image
    assert shaded.mode == "RGBA"
    np.testing.assert_array_equal(
        np.asarray(shaded)[..., 3], np.asarray(indexed.convert("RGBA"))[..., 3]
    )
    keyed = pil_picture("RGB")
    keyed.info["transparency"] = keyed.getpixel((4, 5))
    result = dehazer(keyed).image
    assert result.mode == "RGBA"
    np.testing.assert_array_equal(
        np.asarray(result)[..., 3], np.asarray(keyed.convert("RGBA"))[..., 3]
    )


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    channels=st.sampled_from([None, 1, 2, 3, 4]),
    dtype=st.sampled_from(["uint8", "uint16", "float16", "float32", "float64"]),
)
def test_arrays_keep_shape_dtype_and_alpha(
    tiny: Dehazer, height: int, width: int, channels: int | None, dtype: str
) -> None:
    array = gradient(height, width, channels or 1, dtype)
    array = array[:, :, 0] if channels is None else array
    result = tiny(array)
    assert isinstance(result.image, np.ndarray)
    assert (result.image.shape, result.image.dtype) == (array.shape, array.dtype)
    assert result.transmission is not None
    assert result.transmission.shape == (height, width)
    assert result.airlight is not None
    assert result.airlight.shape == (3,)
    assert ((result.airlight >= 0) & (result.airlight <= 1)).all()
    if channels in (2, 4):
        np.testing.assert_array_equal(result.image[..., -1], array[..., -1])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_values_are_those_of_the_network(dtype: str) -> None:
    array = gradient(5, 7, 3, dtype)
    result = from_network(Darken(), device="cpu")(array)
    expected = array.astype(np.float64) / 2
    tolerance = 1e-7 if dtype == "float32" else 0.51
    np.testing.assert_allclose(result.image, expected, atol=tolerance)
    assert result.transmission is None
    assert result.airlight is None


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [None, 1, 3])
def test_tensors_keep_shape_dtype_and_batch(
    tiny: Dehazer, dtype: torch.dtype, batch: int | None
) -> None:
    shape = (3, 9, 11) if batch is None else (batch, 3, 9, 11)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    image = (image * 255).to(dtype) if dtype == torch.uint8 else image.to(dtype)
    result = tiny(image)
    lead = shape[:-3]
    assert isinstance(result.image, Tensor)
    assert (result.image.shape, result.image.dtype) == (image.shape, dtype)
    assert result.transmission is not None
    assert result.airlight is not None
    assert result.transmission.shape == (*lead, 1, 9, 11)
    assert result.airlight.shape == (*lead, 3, 1, 1)


def test_a_batch_is_as_good_as_one_by_one(tiny: Dehazer) -> None:
    batch = torch.rand(3, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    together = tiny(batch).image
    alone = torch.stack([tiny(image).image for image in batch])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_all_kinds_agree(tiny: Dehazer, tmp_path: Path) -> None:
    array = gradient(17, 23, 3, "uint8")
    path = tmp_path / "photo.png"
    Image.fromarray(array).save(path)
    expected = tiny(array).image
    np.testing.assert_array_equal(np.asarray(tiny(Image.fromarray(array)).image), expected)
    np.testing.assert_array_equal(np.asarray(tiny(path).image), expected)
    np.testing.assert_array_equal(np.asarray(tiny(str(path)).image), expected)
    tensor = tiny(torch.from_numpy(array).permute(2, 0, 1)).image
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), expected)


@given(strength=st.floats(0, 1))
def test_strength_blends_input_and_scene(strength: float) -> None:
    array = gradient(3, 4, 3, "float32")
    result = from_network(Darken(), device="cpu")(array, strength=strength).image
    np.testing.assert_allclose(result, array * (1 - strength / 2), atol=1e-6)


def test_strength_is_thinner_haze() -> None:
    """s·J + (1−s)·P is J seen through t' = s + (1−s)·t."""
    rng = np.random.default_rng(0)
    J, t, A, s = rng.random((4, 5, 3)), rng.uniform(0.2, 1, (4, 5, 1)), 0.9, 0.3
    P = J * t + A * (1 - t)
    thinner = s + (1 - s) * t
    np.testing.assert_allclose(s * J + (1 - s) * P, J * thinner + A * (1 - thinner))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_outside_its_range_is_refused(tiny: Dehazer, strength: float) -> None:
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        tiny(gradient(3, 4, 3, "uint8"), strength=strength)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (40, 60)], ids=str)
def test_the_dark_channel_prior_goes_through_the_same_door(size: tuple[int, int]) -> None:
    result = load("dcp")(gradient(*size, 3, "uint8"))
    assert result.image.shape == (*size, 3)
    assert result.transmission is not None
    assert result.airlight is not None
    assert result.transmission.min() > 0
    assert result.airlight.shape == (3,)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 4, 5, 3), np.uint8), "shape"),
        (np.zeros((3, 4, 5), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.zeros((3, 4, 3), np.int64), "int64"),
        (np.full((3, 4, 3), 200.0), "divide by its white level"),
        (np.full((3, 4, 3), np.nan), "not finite"),
        (torch.zeros(5, 4, 5), "shape"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), "int64"),
        (torch.full((3, 4, 5), 200.0), "divide by its white level"),
        (torch.full((3, 4, 5), torch.inf), "not finite"),
        (Image.new("LAB", (4, 5)), "mode LAB"),
    ],
)
def test_what_is_no_picture_is_refused(tiny: Dehazer, image: object, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        tiny(image)
