"""Every kind of picture comes out of the dehazer as it went in, minus the haze."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.engines.torch_devices import choose_device, dtype_from_name
from corun.dehazing.engines.torch_engine import TorchEngine
from corun.dehazing.loading import from_network, load
from corun.dehazing.tensor_pictures import dehaze_batch
from corun.errors import ConfigurationError, DeviceError, ImageFileError, NetworkOutputError
from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.pictures.metadata import PictureMetadata
from corun.pictures.modes import pil_like, rgb_from_pil
from corun.pictures.pixels import PixelError
from corun.pictures.reading import read_picture
from corun.pictures.writing import encode_picture
from sample_pictures import gradient, pil_picture

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F")


class Darken(nn.Module):
    """Halves every value: a result that can be computed by hand."""

    def forward(self, hazy: Tensor) -> Tensor:
        return hazy / 2


class Identity(nn.Module):
    def forward(self, hazy: Tensor) -> Tensor:
        return hazy


class SceneAndMap(NamedTuple):
    scene: Tensor
    transmission: Tensor


class Named(nn.Module):
    def forward(self, hazy: Tensor) -> SceneAndMap:
        return SceneAndMap(hazy * 3 - 1, hazy[:, :1])


class Pair(nn.Module):
    def forward(self, hazy: Tensor) -> tuple[Tensor, Tensor]:
        return hazy, hazy[:, :1]


class OnlyMultiplesOf8(nn.Module):
    def forward(self, hazy: Tensor) -> Tensor:
        assert hazy.shape[-1] % 8 == hazy.shape[-2] % 8 == 0
        return hazy


@pytest.fixture(scope="module")
def tiny() -> Dehazer:
    torch.manual_seed(0)
    config = CorunConfig(stages=2, dim=4, levels=1, ffn_expansion=1)
    return from_network(CORUN(config), name="tiny", device="cpu")


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


def test_networks_may_return_a_tensor_a_pair_or_names() -> None:
    image = torch.linspace(0, 1, 3 * 4 * 5).reshape(1, 3, 4, 5)
    named = from_network(Named(), device="cpu")(image)
    torch.testing.assert_close(named.image, (image * 3 - 1).clamp(0, 1))
    torch.testing.assert_close(named.transmission, image[:, :1])
    torch.testing.assert_close(from_network(Pair(), device="cpu")(image).transmission, image[:, :1])
    assert from_network(Identity(), device="cpu")(image).transmission is None


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (9, 8)], ids=str)
def test_pictures_are_padded_to_the_networks_multiple_and_cropped_back(
    size: tuple[int, int],
) -> None:
    image = gradient(*size, 3, "uint8")
    result = from_network(OnlyMultiplesOf8(), size_multiple=8, device="cpu")(image)
    np.testing.assert_array_equal(result.image, image)


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


def test_saving_a_file_keeps_its_metadata(
    tiny: Dehazer, tmp_path: Path, exif_block: bytes, srgb_profile: bytes
) -> None:
    source, target = tmp_path / "photo.jpg", tmp_path / "clear.png"
    pil_picture("RGB").save(source, exif=exif_block, icc_profile=srgb_profile, dpi=(300, 300))
    result = tiny(source)
    assert result.image.size == (17, 23)
    assert result.save(target) == target
    written = read_picture(target)
    assert written.metadata.icc == srgb_profile
    assert written.metadata.exif is not None
    assert b"Hazelblad" in written.metadata.exif
    assert written.metadata.dpi == pytest.approx((300, 300), abs=0.1)
    np.testing.assert_array_equal(np.asarray(written.image), np.asarray(result.image))
    with pytest.raises(ImageFileError, match="overwrite=True"):
        result.save(target)
    result.save(target, overwrite=True)
    with pytest.raises(ConfigurationError, match="suffix names no format"):
        result.save(tmp_path / "clear.xyz")


def test_a_users_image_keeps_its_exif_untouched(
    tiny: Dehazer, tmp_path: Path, exif_block: bytes
) -> None:
    path = tmp_path / "photo.jpg"
    pil_picture("RGB").save(path, exif=exif_block)
    with Image.open(path) as image:
        before = image.getexif().tobytes()
        result = tiny(image)
        assert image.getexif().tobytes() == before
        assert result.image.size == image.size
    result.save(tmp_path / "clear.jpg")
    with Image.open(tmp_path / "clear.jpg") as written:
        assert written.getexif()[0x0112] == 6


def test_sixteen_bit_files_stay_sixteen_bit(tiny: Dehazer, tmp_path: Path) -> None:
    source = tmp_path / "deep.png"
    array = gradient(17, 23, 3, "uint16")
    source.write_bytes(encode_picture(array, PictureMetadata(), "PNG")[0])
    result = tiny(source)
    assert isinstance(result.image, np.ndarray)
    for name in ("clear.png", "clear.tif"):
        result.save(tmp_path / name)
        np.testing.assert_array_equal(read_picture(tmp_path / name).image, result.image)
    np.testing.assert_array_equal(result.image, tiny(array).image)


def test_tensors_and_transmission_are_saved(tiny: Dehazer, tmp_path: Path) -> None:
    image = torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(0))
    result = tiny(image)
    result.save(tmp_path / "clear.tif")
    stored = np.asarray(read_picture(tmp_path / "clear.tif").image)
    np.testing.assert_array_equal(stored, result.image.permute(1, 2, 0).numpy())
    result.save_transmission(tmp_path / "t.png")
    t = np.asarray(read_picture(tmp_path / "t.png").image)
    assert result.transmission is not None
    np.testing.assert_allclose(t / 65535, result.transmission[0], atol=1 / 65535)
    with pytest.raises(PixelError, match="one by one"):
        tiny(torch.rand(2, 3, 9, 11)).save(tmp_path / "batch.png")
    with pytest.raises(ImageFileError, match="no transmission"):
        from_network(Identity(), device="cpu")(image).save_transmission(tmp_path / "none.png")


def test_a_missing_device_or_precision_is_named() -> None:
    cpu = torch.device("cpu")
    with pytest.raises(DeviceError, match="is no device"):
        choose_device("warp")
    with pytest.raises(DeviceError, match="is no precision"):
        dtype_from_name("float8", cpu, None)
    with pytest.raises(DeviceError, match="--dtype bfloat16 or float32"):
        dtype_from_name("float16", cpu, None)
    with pytest.raises(DeviceError, match="dcp does not run in bfloat16"):
        load("dcp", dtype="bfloat16")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match=r"cuda: no CUDA device.*--device cpu"):
            choose_device("cuda")
        with pytest.raises(DeviceError, match="cuda:7"):
            choose_device("cuda:7")


def test_bfloat16_stays_close(tiny: Dehazer) -> None:
    assert isinstance(tiny.engine, TorchEngine)
    half = from_network(tiny.engine.network, device="cpu", dtype="bfloat16")
    image = gradient(17, 23, 3, "float32")
    difference = np.abs(half(image).image - tiny(image).image)
    assert 0 < difference.max() < 0.05


def test_running_out_of_memory_names_the_size_and_the_remedy() -> None:
    class Greedy(nn.Module):
        def forward(self, hazy: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    with pytest.raises(DeviceError, match=r"not enough memory on cpu for 7x5 pixels.*--model"):
        from_network(Greedy(), device="cpu")(gradient(5, 7, 3, "uint8"))


def test_values_that_are_not_finite_are_not_written_as_a_picture() -> None:
    class Overflow(nn.Module):
        def forward(self, hazy: Tensor) -> Tensor:
            return hazy / 0

    with pytest.raises(DeviceError, match="not finite in float32"):
        from_network(Overflow(), device="cpu")(gradient(5, 7, 3, "uint8"))


def test_networks_may_answer_in_a_list_or_by_name() -> None:
    """Whatever training and evaluation understand, the dehazer understands."""

    class Answering(nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind = kind

        def forward(self, hazy: Tensor) -> object:
            airlight = torch.full((len(hazy), 3, 1, 1), 0.9)
            return {
                "list": [hazy / 2, hazy[:, :1]],
                "mapping": {
                    "scene": hazy / 2,
                    "transmission": hazy[:, :1],
                    "airlight": airlight,
                },
                "features": (hazy / 2, hazy),
                "nothing": None,
                "small": hazy[..., ::2, ::2],
            }[self.kind]

    hazy = torch.rand(2, 3, 6, 8)
    for kind in ("list", "mapping", "features"):
        estimate = dehaze_batch(from_network(Answering(kind), device="cpu"), hazy)
        torch.testing.assert_close(estimate.scene, hazy / 2)
        assert (estimate.transmission is None) == (kind == "features")
        if kind == "mapping":
            assert estimate.airlight is not None
            assert float(estimate.airlight.mean()) == pytest.approx(0.9)
    for kind in ("nothing", "small"):
        with pytest.raises(NetworkOutputError, match="must return a clear batch"):
            dehaze_batch(from_network(Answering(kind), device="cpu"), hazy)
