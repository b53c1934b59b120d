"""Networks in torch: what they may return, on which device, and how they fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import Identity, Named, OnlyMultiplesOf8, Pair
from torch import Tensor, nn

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.engines import torch_engine
from corun.dehazing.engines.torch_devices import choose_device, dtype_from_name
from corun.dehazing.engines.torch_engine import TorchEngine
from corun.dehazing.loading import from_network, load
from corun.dehazing.tensor_pictures import dehaze_batch
from corun.errors import DeviceError, NetworkOutputError
from corun.networks.corun import CORUN, CorunConfig, Maps
from corun.pictures.pixels import PixelError
from sample_pictures import gradient

SMALL = CorunConfig(
    stages=2,
    dim=4,
    levels=1,
    ffn_expansion=1,
    transmission_step="least_squares",
    cell=2,
    working_pixels=4096,
)


@pytest.fixture(scope="module")
def working_small() -> Dehazer:
    """A network with a full-size step that works on a reduced picture."""
    torch.manual_seed(0)
    return from_network(CORUN(SMALL), name="tiny", device="cpu")


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


def test_only_the_working_picture_of_a_frame_goes_to_a_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A film's frame, of any size, stays where it is; the device is torch's that has no memory."""
    monkeypatch.setattr(torch_engine, "choose_device", lambda name: torch.device("meta"))
    torch.manual_seed(0)
    config = CorunConfig(
        stages=1, dim=4, levels=1, ffn_expansion=1, transmission_step="least_squares", cell=4,
        working_pixels=64 * 48,
    )  # fmt: skip
    network = CORUN(config)
    went: list[tuple[str, tuple[int, ...]]] = []

    def maps(working: torch.Tensor) -> Maps:
        went.append((working.device.type, tuple(working.shape)))
        height, width = (side // config.cell for side in working.shape[-2:])
        found = torch.full((1, 1, height, width), 2.0), torch.full((1, 3, height, width), -0.5)
        return Maps(*found, torch.ones(1, 1, height, width), torch.ones(1, 3, 1, 1))

    monkeypatch.setattr(network, "maps", maps)
    dehazer = Dehazer(TorchEngine(network), name="toy", threads=1)
    assert dehazer.gives_maps
    frame = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    clear = dehazer.apply(frame, dehazer.maps([frame])[0])
    (where, shape) = went[0]
    assert (where, len(went)) == ("meta", 1)
    assert shape[2] * shape[3] < 1.2 * config.working_pixels
    expected = np.clip(np.rint(2 * frame.astype(np.float32) - 127.5), 0, 255)
    assert np.abs(clear.astype(int) - expected).max() <= 1


def kept_on_its_device(dehazer: Dehazer) -> Dehazer:
    """The dehazer as on a GPU: photos are finished where the network runs."""
    engine = dehazer.engine
    assert isinstance(engine, TorchEngine)
    assert not engine.facts.keeps_pictures
    on_device = from_network(engine.network, name="tiny", device="cpu")
    assert isinstance(on_device.engine, TorchEngine)
    on_device.engine.facts = replace(engine.facts, keeps_pictures=True)
    return on_device


@pytest.fixture
def unbanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full-size step in NumPy is not there."""

    def banded(*_: object, **__: object) -> None:
        raise AssertionError("the picture left the device before it was finished")

    monkeypatch.setattr("corun.dehazing.dehazer.apply_maps", banded)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_a_photo_stays_on_a_gpu_until_it_is_finished(
    working_small: Dehazer,
    channels: int,
    dtype: str,
    request: pytest.FixtureRequest,
) -> None:
    photo = gradient(97, 131, channels, dtype)
    expected = working_small(photo, strength=0.8)
    request.getfixturevalue("unbanded")
    found = kept_on_its_device(working_small)(photo, strength=0.8)
    assert (found.image.dtype, found.image.shape) == (photo.dtype, photo.shape)
    white = 1.0 if "float" in dtype else np.iinfo(dtype).max
    difference = np.abs(found.image.astype(float) - expected.image.astype(float)) / white
    assert difference.max() <= 1 / 255
    if channels in (2, 4):
        np.testing.assert_array_equal(found.image[..., -1], photo[..., -1])
    np.testing.assert_allclose(found.transmission, expected.transmission, atol=1e-4)
    np.testing.assert_allclose(found.airlight, expected.airlight, atol=1e-4)


def test_an_image_with_read_only_samples_stays_there_too(
    working_small: Dehazer, unbanded: None
) -> None:
    photo = Image.fromarray(gradient(97, 131, 3, "uint8"))
    found = kept_on_its_device(working_small)(photo).image
    assert isinstance(found, Image.Image)
    assert found.size == photo.size


def test_a_photo_too_large_for_the_gpu_is_finished_in_bands(
    working_small: Dehazer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: TorchEngine, hazy: Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    photo = gradient(97, 131, 3, "uint8")
    expected = working_small(photo).image
    monkeypatch.setattr(TorchEngine, "estimate", full)
    np.testing.assert_array_equal(kept_on_its_device(working_small)(photo).image, expected)


def test_a_photo_on_a_gpu_is_refused_as_on_a_cpu(working_small: Dehazer) -> None:
    on_device = kept_on_its_device(working_small)
    with pytest.raises(PixelError, match="float images are in"):
        on_device(np.full((20, 20, 3), 200.0, np.float32))
    with torch.no_grad():
        broken = from_network(CORUN(SMALL), name="tiny", device="cpu")
        assert isinstance(broken.engine, TorchEngine)
        for value in broken.engine.network.parameters():
            value.fill_(torch.nan)
    with pytest.raises(DeviceError, match="tiny returned values that are not finite in float32"):
        kept_on_its_device(broken)(gradient(97, 131, 3, "uint8"))
