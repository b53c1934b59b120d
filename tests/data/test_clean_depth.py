"""Random crops that depend on nothing but the seed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from corun.data.clean_depth import (
    CleanDepthConfig,
    CleanDepthFolder,
    align_depth,
)
from corun.data.crops import change_colours
from corun.data.scenes import render_scene
from corun.errors import DataError, ImageFileError
from rendered_folders import write_scenes


def folder(root: Path, **settings: object) -> CleanDepthFolder:
    config = {"clean": root / "clean", "depth": root / "depth", "convention": "distance",
              "crop": 24, **settings}  # fmt: skip
    return CleanDepthFolder(CleanDepthConfig.model_validate(config), seed=7)


def test_a_sample_is_a_function_of_its_number(tmp_path: Path) -> None:
    write_scenes(tmp_path, 4)
    one, other = folder(tmp_path), folder(tmp_path, cache=False)
    for number in (9, 3, 0, 3):
        a, b = one.sample(number), other.sample(number)
        assert a.name == b.name
        assert torch.equal(a.clean, b.clean)
        assert torch.equal(a.depth, b.depth)


def test_each_epoch_shows_every_photo_once_in_another_order(tmp_path: Path) -> None:
    write_scenes(tmp_path, 6)
    source = folder(tmp_path)
    epochs = [[source.sample(6 * e + i).name for i in range(6)] for e in range(4)]
    assert all(sorted(epoch) == [f"{i}.png" for i in range(6)] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_depth_is_cut_where_the_photo_is_cut(tmp_path: Path) -> None:
    """A photo that shows its own depth must agree with it, at any scale, flipped or not."""
    (tmp_path / "clean").mkdir()
    (tmp_path / "depth").mkdir()
    y, x = np.mgrid[0:96, 0:128]
    smooth = (0.6 * x / 127 + 0.4 * y / 95).astype(np.float32)
    pixels = np.repeat((smooth * 255).round().astype(np.uint8)[..., None], 3, 2)
    Image.fromarray(pixels).save(tmp_path / "clean" / "a.png")
    half = smooth.reshape(48, 2, 64, 2).mean((1, 3))
    np.save(tmp_path / "depth" / "a.npy", half)
    source = folder(tmp_path, scale=(0.3, 1.0))
    for number in range(30):
        sample = source.sample(number)
        assert (sample.clean.mean(0, keepdim=True) - sample.depth).abs().max() < 0.02


def test_depth_keeps_sixteen_bits(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, height=40, width=2000)
    slope = np.tile(np.linspace(0, 1, 2000, dtype=np.float32), (40, 1))
    np.save(tmp_path / "depth" / "0.npy", slope)
    source = folder(tmp_path, crop=40, scale=(1.0, 1.0), flip=False)
    whole = source.whole(0).depth[0].numpy()
    np.testing.assert_allclose(whole, slope, atol=0.51 / 65535)
    # A crop is 40 of 2000 columns: 8 bits would give 6 values.
    assert all(len(source.sample(number).depth.unique()) == 40 for number in range(5))
    scaled = folder(tmp_path, crop=40, scale=(1.5, 1.5), flip=False).sample(0).depth
    steps = scaled[0, 0].diff()
    assert (steps * 1999 * 1.5).sub(1).abs().max() < 0.1


def test_inverse_depth_is_turned(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    far = folder(tmp_path).whole(0).depth
    turned = folder(tmp_path, convention="inverse").whole(0).depth
    torch.testing.assert_close(turned, 1 - far, atol=1 / 65000, rtol=0)


def test_crops_are_never_larger_than_the_photo(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, height=20, width=30)
    sample = folder(tmp_path, crop=64).sample(0)
    assert sample.clean.shape == (3, 64, 64)
    assert sample.depth.shape == (1, 64, 64)


def test_missing_folders_and_files_are_named(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)
    with pytest.raises(DataError, match="absent"):
        folder(tmp_path, clean=tmp_path / "absent")
    with pytest.raises(DataError, match="absent"):
        folder(tmp_path, depth=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        folder(tmp_path, clean=tmp_path / "empty")
    (tmp_path / "depth" / "1.npy").unlink()
    with pytest.raises(DataError, match=r"no depth for 1 of 2 photos, first 1\.png"):
        folder(tmp_path)


@pytest.mark.parametrize(
    ("added", "told"),
    [("clean/1.jpg", r"1\.jpg and 1\.png"), ("depth/1.png", r"1\.npy and 1\.png")],
)
def test_two_files_of_one_name_are_refused(tmp_path: Path, added: str, told: str) -> None:
    write_scenes(tmp_path, 2)
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(tmp_path / added)
    with pytest.raises(DataError, match=rf"{Path(added).parent}: {told} share the name '1'"):
        folder(tmp_path)


def test_photo_and_depth_are_one_name_in_either_spelling(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    (tmp_path / "clean" / "0.png").rename(tmp_path / "clean" / "caf\u00e9.png")
    (tmp_path / "depth" / "0.npy").rename(tmp_path / "depth" / "cafe\u0301.npy")
    assert len(folder(tmp_path)) == 1


def test_a_name_that_no_table_takes_is_refused_before_the_work(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    (tmp_path / "clean" / "0.png").rename(tmp_path / "clean" / "\udcff.png")
    with pytest.raises(DataError, match="its name is not UTF-8"):
        folder(tmp_path)


def test_an_unreadable_photo_is_named(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    (tmp_path / "clean" / "0.png").write_bytes(b"torn")
    with pytest.raises(ImageFileError, match=r"0\.png"):
        folder(tmp_path).sample(0)


def test_blurred_depth_is_aligned_with_the_photo() -> None:
    """A near pole before a far wall: depth of a third of the size is right at its outline again."""
    truth = torch.ones(1, 1, 96, 96)
    truth[..., 40:64] = 0.2
    photo = torch.where(truth < 0.5, 0.25, 0.7).expand(1, 3, 96, 96)
    photo = photo + 0.02 * torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(truth, 9, 3, 3, count_include_pad=False)
    left = torch.nn.functional.interpolate(blurred, size=(96, 96), mode="bilinear")
    aligned = align_depth(photo, blurred, radius=6)
    assert aligned.shape == truth.shape
    assert (aligned - truth).abs().mean() < 0.4 * (left - truth).abs().mean()


def test_outlines_move_to_the_photos_edges() -> None:
    truth = torch.ones(1, 1, 96, 96)
    truth[..., 40:64] = 0.2
    photo = torch.where(truth < 0.5, 0.25, 0.7).expand(1, 3, 96, 96)
    aside = truth.roll(3, -1)
    aligned = align_depth(photo, aside, radius=8)
    across_the_photos_edge = aligned[..., 38] - aligned[..., 41]
    assert across_the_photos_edge.min() > 0.25
    across_the_old_outline = aligned[..., 41] - aligned[..., 44]
    assert across_the_old_outline.max() < 0.15


def test_slopes_stay_slopes() -> None:
    slope = torch.linspace(0, 1, 300).view(1, 1, 300, 1).expand(1, 1, 300, 40)
    aligned = align_depth(torch.full((1, 3, 300, 40), 0.5), slope, radius=8)
    assert (aligned - slope)[:, :, 20:-20].abs().max() < 0.01


def test_samples_have_aligned_depth_if_asked(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)
    blur = np.ones((4, 4), np.float32)
    blur[2:] = 0.1
    for number in range(2):
        np.save(tmp_path / "depth" / f"{number}.npy", blur)
    plain, aligned = folder(tmp_path).whole(0), folder(tmp_path, align_radius=6).whole(0)
    expected = align_depth(plain.clean[None], folder_depth(blur), radius=6)[0]
    torch.testing.assert_close(aligned.depth, expected, atol=2e-5, rtol=0)
    assert (aligned.depth - plain.depth).abs().max() > 0.05


def folder_depth(depth: np.ndarray) -> torch.Tensor:
    """As a folder normalises it."""
    low, high = depth.min(), depth.max()
    return torch.from_numpy((depth - low) / (high - low))[None, None]


def test_changed_colours_keep_greys_and_brightness() -> None:
    grey = torch.linspace(0, 1, 12).view(1, 3, 4).expand(3, 3, 4)
    torch.testing.assert_close(change_colours(grey, 37.0, 1.3), grey)
    photo = 0.3 + 0.4 * render_scene(32, 32, 3).image
    changed = change_colours(photo, -25.0, 1.2)
    torch.testing.assert_close(changed.mean(0), photo.mean(0))
    assert (changed - photo).abs().max() > 0.02
    torch.testing.assert_close(change_colours(photo, 0.0, 1.0), photo)
    torch.testing.assert_close(change_colours(photo, 120.0, 1.0), photo[[2, 0, 1]])
    paler = change_colours(photo, 0.0, 0.5)
    torch.testing.assert_close(paler - paler.mean(0), 0.5 * (photo - photo.mean(0)))


def test_some_photos_change_their_colours(tmp_path: Path) -> None:
    write_scenes(tmp_path, 3)
    plain, coloured = folder(tmp_path), folder(tmp_path, colour_probability=0.5)
    changed = []
    for number in range(24):
        a, b = plain.sample(number), coloured.sample(number)
        assert torch.equal(a.depth, b.depth)
        changed.append(not torch.equal(a.clean, b.clean))
        assert torch.equal(b.clean, coloured.sample(number).clean)
    assert 4 < sum(changed) < 20
