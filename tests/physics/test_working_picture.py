"""The working picture and the full-size step in bands, in NumPy and in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corun.networks.corun import CORUN
from corun.networks.corun_config import CorunConfig
from corun.networks.reduction import pad_to_multiple, reduce_by_area
from corun.physics import row_bands, working_picture
from corun.physics.row_bands import apply_full_size_step, apply_to_samples, enlarged

SIZES = [(45, 71), (64, 48), (131, 97), (3, 400), (400, 1), (96, 128)]


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).random((height, width, 3), np.float32)


def rows_of(image: np.ndarray) -> working_picture.Rows:
    return lambda top, bottom: image[top:bottom]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_numpy_and_torch_reduce_to_the_same(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_picture, "BAND_ELEMENTS", 7 * size[1])
    image = photo(*size)
    made = working_picture.working_picture(rows_of(image), *size, limit=40 * 40, multiple=8)
    chosen = working_picture.working_size(*size, 40 * 40, 8)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = pad_to_multiple(tensor, 8) if chosen is None else reduce_by_area(tensor, *chosen)
    np.testing.assert_allclose(made.pixels, expected[0].permute(1, 2, 0).numpy(), atol=2e-6)
    assert made.covered == (size if chosen is not None else made.pixels.shape[:2])


def test_reduction_averages_boxes() -> None:
    image = photo(60, 90)
    made = working_picture.working_picture(rows_of(image), 60, 90, limit=20 * 30, multiple=5)
    boxes = image.reshape(20, 3, 30, 3, 3).mean((1, 3))
    np.testing.assert_allclose(made.pixels, boxes, atol=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_bands_give_exactly_what_one_piece_does(
    size: tuple[int, int], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photo(*size)
    maps = np.random.default_rng(1).random((5, 7, 4), np.float32)
    covered = (size[0] + 3, size[1] + 2)
    results = []
    for elements in (1 << 30, 1):
        monkeypatch.setattr(working_picture, "BAND_ELEMENTS", elements)
        out = np.full_like(image, np.nan)

        def put(top: int, bottom: int, rgb: np.ndarray, out: np.ndarray = out) -> None:
            out[top:bottom] = rgb

        apply_full_size_step(
            rows_of(image), put, *size, maps, covered, strength=0.7, threads=threads
        )
        results.append(out)
    np.testing.assert_array_equal(*results)
    assert np.isfinite(results[0]).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
@torch.no_grad()
def test_numpy_and_torch_take_the_same_last_step(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    config = CorunConfig(
        stages=1, dim=4, levels=1, ffn_expansion=1, transmission_step="least_squares", cell=4,
        working_pixels=40 * 40,
    )  # fmt: skip
    network = CORUN(config).eval()
    image = photo(*size)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = network.explained(tensor)
    made = working_picture.working_picture(
        rows_of(image), *size, limit=config.working_pixels, multiple=config.multiple
    )
    maps = network.maps(torch.from_numpy(made.pixels).permute(2, 0, 1)[None])
    gain, offset, T, A = (value[0].permute(1, 2, 0).numpy() for value in maps)
    out = np.empty_like(image)

    def put(top: int, bottom: int, rgb: np.ndarray) -> None:
        out[top:bottom] = rgb

    coefficients = np.concatenate((gain, offset), 2)
    apply_full_size_step(rows_of(image), put, *size, coefficients, made.covered)
    scene = expected.scene[0].clamp(0, 1).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(out, scene, atol=2e-5)
    large = enlarged(np.ascontiguousarray(T[..., 0]), made.covered, *size)
    np.testing.assert_allclose(large, expected.transmission[0, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(A[0, 0], expected.airlight[0, :, 0, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_stored_samples_get_the_same_step(
    size: tuple[int, int], strength: float, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding once, in place of twice, differs where a value lies between two samples only."""
    white = np.iinfo(dtype).max
    samples = np.rint(photo(*size) * white).astype(dtype)
    maps = np.random.default_rng(1).random((5, 7, 4), np.float32) * 3 - 0.5
    covered = (size[0] + 3, size[1] + 2)
    expected = np.empty((*size, 3), np.float32)

    def put(top: int, bottom: int, rgb: np.ndarray) -> None:
        expected[top:bottom] = rgb

    unit = samples.astype(np.float32) / np.float32(white)
    apply_full_size_step(rows_of(unit), put, *size, maps, covered, strength=strength)
    made = apply_to_samples(samples, maps, covered, strength=strength, threads=3)
    assert made.dtype == dtype
    assert np.abs(made - expected * white).max() < 0.5 + 1e-6 * white
    monkeypatch.setattr(working_picture, "BAND_ELEMENTS", 1)
    again = apply_to_samples(samples, maps, covered, strength=strength)
    np.testing.assert_array_equal(made, again)


def test_bands_cover_every_row_once() -> None:
    for height in (1, 2, 97):
        parts = row_bands.bands(height, 1 << 17)
        assert [row for top, bottom in parts for row in range(top, bottom)] == list(range(height))
