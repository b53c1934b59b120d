"""Reading pictures and depth: every format, and errors that name the file."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from corun.data.images import list_images, read_depth, read_rgb
from corun.errors import DataError, ImageFileError
from corun.pictures.formats import FORMAT_OF_SUFFIX
from corun.pictures.metadata import PictureMetadata
from corun.pictures.writing import encode_picture

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def _expected(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp"])
def test_lossless_pictures_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(PIXELS).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    picture = read_rgb(path)
    assert picture.dtype == torch.float32
    assert picture.is_contiguous()
    assert torch.equal(picture, _expected(PIXELS))
    assert torch.equal(read_rgb(str(path)), picture)


def test_jpeg_is_close(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "p.jpg", quality=98)
    assert (read_rgb(tmp_path / "p.jpg") - _expected(smooth)).abs().max() < 0.03


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, PIXELS),
        (2, PIXELS[:, ::-1]),
        (3, PIXELS[::-1, ::-1]),
        (6, np.rot90(PIXELS, -1)),
        (8, np.rot90(PIXELS)),
    ],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turned: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "p.png", exif=exif)
    assert torch.equal(read_rgb(tmp_path / "p.png"), _expected(turned.copy()))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        grey = RNG.integers(0, 65536, (4, 6), dtype=np.uint16)
        Image.fromarray(grey).save(tmp_path / "p.tiff")
        expected = torch.from_numpy(grey.astype(np.float32) / 65535).expand(3, 4, 6)
        torch.testing.assert_close(read_rgb(tmp_path / "p.tiff"), expected)
        return
    image = Image.fromarray(PIXELS).convert(mode)
    image.save(tmp_path / "p.tiff")
    expected = _expected(np.asarray(image.convert("RGB")).copy())
    rounding = 0.51 / 255 if mode == "CMYK" else 0
    torch.testing.assert_close(read_rgb(tmp_path / "p.tiff"), expected, atol=rounding, rtol=0)


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS).quantize(8)
    image.info["transparency"] = bytes([0, 128, 255])
    image.save(tmp_path / "p.png")
    rgba = np.asarray(image.convert("RGBA"))
    seen = torch.from_numpy(rgba[..., 3] > 0)
    found, expected = read_rgb(tmp_path / "p.png"), _expected(rgba[..., :3].copy())
    assert 0 < seen.sum() < seen.numel()  # what is not seen is filled from what is
    assert torch.equal(found[:, seen], expected[:, seen])


def _jpeg_bytes() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.jpg", None, "no such file"),
        ("empty.jpg", b"", "empty"),
        ("text.png", b"this is not a picture", "not a picture|cannot be read"),
        ("cut.jpg", _jpeg_bytes()[:700], "cut short or damaged|cannot be read"),
        ("head.png", b"\x89PNG\r\n\x1a\n" + bytes(40), "cut short or damaged|cannot be read"),
    ],
)
@pytest.mark.parametrize("read", [read_rgb, read_depth])
def test_unreadable_files_are_named_in_one_line(
    tmp_path: Path, read: object, name: str, content: bytes | None, told: str
) -> None:
    assert callable(read)
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageFileError, match=told) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_and_floats_beyond_white_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="folder"):
        read_rgb(tmp_path)
    path = tmp_path / "float.tiff"
    Image.fromarray(np.full((3, 3), 0.25, dtype=np.float32)).save(path)
    assert torch.equal(read_rgb(path), torch.full((3, 3, 3), 0.25))
    Image.fromarray(np.full((3, 3), 200, dtype=np.float32)).save(path)
    with pytest.raises(ImageFileError, match="this one reaches 200; divide by its white") as caught:
        read_rgb(path)
    assert str(caught.value).count(str(path)) == 1


def test_sixteen_bit_colour_keeps_its_precision(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (4, 6, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[:, :, ::-1])
    expected = torch.from_numpy(deep.astype(np.float32)).permute(2, 0, 1) / 65535
    torch.testing.assert_close(read_rgb(tmp_path / "deep.png"), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".jfif"])
def test_what_dehaze_reads_training_reads(tmp_path: Path, suffix: str) -> None:
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    file_format = FORMAT_OF_SUFFIX[suffix]
    content, _ = encode_picture(Image.fromarray(smooth), PictureMetadata(), file_format)
    (tmp_path / f"p{suffix}").write_bytes(content)
    [path] = list_images(tmp_path)
    assert (read_rgb(path) - _expected(smooth)).abs().max() < 0.04


def test_a_decompression_bomb_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.fromarray(np.zeros((20_000, 20_000), dtype=np.uint8)).save(path, compress_level=1)
    with pytest.raises(ImageFileError, match=r"bomb\.png: 20000x20000 .*decompression bombs"):
        read_rgb(path)


DEPTH = (RNG.random((4, 6)) * 80).astype(np.float32)


def test_depth_from_npy(tmp_path: Path) -> None:
    for array in (DEPTH, DEPTH[None], DEPTH[..., None], DEPTH.astype(np.float64)):
        np.save(tmp_path / "d.npy", array)
        assert torch.equal(read_depth(tmp_path / "d.npy"), torch.from_numpy(DEPTH)[None])
    np.save(tmp_path / "h.npy", DEPTH.astype(np.float16))
    assert read_depth(tmp_path / "h.npy").dtype == torch.float32


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_depth_from_png_is_raw(tmp_path: Path, dtype: type, largest: int) -> None:
    values = RNG.integers(0, largest, (4, 6), endpoint=True).astype(dtype)
    values[0, 0] = largest
    Image.fromarray(values).save(tmp_path / "d.png")
    depth = read_depth(tmp_path / "d.png")
    assert depth.max() == largest
    assert torch.equal(depth, torch.from_numpy(values.astype(np.float32))[None])


def test_depth_from_grey_jpeg_saved_in_colour(tmp_path: Path) -> None:
    grey = np.tile(np.linspace(0, 255, 32, dtype=np.uint8), (16, 1))
    for name, image in (
        ("grey.jpg", Image.fromarray(grey)),
        ("colour.jpg", Image.fromarray(grey).convert("RGB")),
        ("alpha.png", Image.fromarray(grey).convert("LA")),
    ):
        image.save(tmp_path / name)
        depth = read_depth(tmp_path / name)
        assert depth.shape == (1, 16, 32)
        assert (depth[0] - torch.from_numpy(grey).float()).abs().max() <= 8


def test_a_colour_map_is_not_depth(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "rainbow.png")
    with pytest.raises(ImageFileError, match="colour") as caught:
        read_depth(tmp_path / "rainbow.png")
    assert "rainbow.png" in str(caught.value)


def test_depth_from_mat_and_hdf5(tmp_path: Path) -> None:
    expected = torch.from_numpy(DEPTH)[None]
    scipy.io.savemat(tmp_path / "old.mat", {"depth": DEPTH, "other": np.eye(3)})
    assert torch.equal(read_depth(tmp_path / "old.mat"), expected)
    scipy.io.savemat(tmp_path / "named.mat", {"z": DEPTH, "scale": 2.0})
    assert torch.equal(read_depth(tmp_path / "named.mat"), expected)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["maps/z"] = DEPTH
        file["maps/label"] = np.array([1, 2, 3])
    assert torch.equal(read_depth(tmp_path / "d.h5"), expected)
    assert torch.equal(read_depth(tmp_path / "d.h5", key="maps/z"), expected)
    with h5py.File(tmp_path / "new.mat", "w", userblock_size=512) as file:
        file["depth"] = DEPTH.T  # MATLAB stores columns first
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    with (tmp_path / "new.mat").open("r+b") as stream:
        stream.write(header)
    assert torch.equal(read_depth(tmp_path / "new.mat"), expected)


def test_ambiguous_and_missing_keys_are_listed(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "two.mat", {"near": DEPTH, "far": DEPTH})
    with pytest.raises(ImageFileError, match=r"two\.mat: holds 2 arrays.*far, near.*key"):
        read_depth(tmp_path / "two.mat")
    assert read_depth(tmp_path / "two.mat", key="far").shape == (1, 4, 6)
    with pytest.raises(ImageFileError, match=r"no array 'z'; it holds: far, near"):
        read_depth(tmp_path / "two.mat", key="z")


def test_depth_from_npz(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez_compressed(path, DEPTH)
    assert torch.equal(read_depth(path), torch.from_numpy(DEPTH)[None])
    np.savez(path, near=DEPTH, far=2 * DEPTH)
    with pytest.raises(ImageFileError, match=r"d\.npz: .*name the depth map's key"):
        read_depth(path)
    assert torch.equal(read_depth(path, key="far"), torch.from_numpy(2 * DEPTH)[None])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ImageFileError, match=r"d\.npz: cannot be read as a \.npz depth map"):
        read_depth(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ImageFileError, match=r"d\.npz: is a Git-LFS pointer"):
        read_depth(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".h5"])
def test_damaged_depth_files_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(b"not what the name says" * 20)
    with pytest.raises(ImageFileError, match="bad"):
        read_depth(path)


def test_what_is_no_depth_map_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", np.zeros((4, 5, 6)))
    with pytest.raises(ImageFileError, match=r"volume\.npy.*\(4, 5, 6\)"):
        read_depth(tmp_path / "volume.npy")
    holes = DEPTH.copy()
    holes[0, :2] = np.nan
    np.save(tmp_path / "holes.npy", holes)
    with pytest.raises(ImageFileError, match=r"holes\.npy.*NaN at 2 pixels"):
        read_depth(tmp_path / "holes.npy")
    for value, told in ((-np.inf, "-inf at 2 pixels"), (np.inf, None)):
        holes[0, :2] = value
        np.save(tmp_path / "infinite.npy", holes)
        if told is None:  # the sky of a distance map
            assert torch.isinf(read_depth(tmp_path / "infinite.npy")).sum() == 2
            continue
        with pytest.raises(ImageFileError, match=rf"infinite\.npy.*{told}"):
            read_depth(tmp_path / "infinite.npy")
    np.save(tmp_path / "sky.npy", np.full((4, 6), np.inf))
    with pytest.raises(ImageFileError, match=r"sky\.npy.*infinite everywhere"):
        read_depth(tmp_path / "sky.npy")
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ImageFileError, match=r"object\.npy"):
        read_depth(tmp_path / "object.npy")
    (tmp_path / "depth.txt").write_text("1 2 3")
    with pytest.raises(ImageFileError, match=r"depth\.txt: not a depth file"):
        read_depth(tmp_path / "depth.txt")


def test_listing_is_sorted_and_leaves_out_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    names = ["z.JPG", "a.png", "b/m.webp", "b/c/k.tiff", "notes.txt", ".hidden.jpg", "a.npy"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a.png", "z.JPG"]
    deep = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path, True)]
    assert deep == ["a.png", "b/c/k.tiff", "b/m.webp", "z.JPG"]
    with pytest.raises(DataError, match="nowhere: no such folder"):
        list_images(tmp_path / "nowhere")


def test_the_photos_and_depth_at_hand(shared: Path) -> None:
    photos = list_images(shared / "data" / "clean" / "val")
    assert len(photos) == 40
    depths = {path.stem: path for path in (shared / "data" / "depth" / "val").iterdir()}
    for photo in photos[:5]:
        picture, depth = read_rgb(photo), read_depth(depths[photo.stem])
        assert min(picture.shape[1:]) == 448
        shapes = depth.shape[2] / depth.shape[1], picture.shape[2] / picture.shape[1]
        assert shapes[0] == pytest.approx(shapes[1], rel=0.01)
        assert depth.max() <= 255
