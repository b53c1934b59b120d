"""Image and depth files as tensors, for training and evaluation.

Pictures are read by ``corun.pictures``, as every command reads them; depth is read here.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from corun.errors import DataError, ImageFileError, MissingExtraError
from corun.files import stand_in
from corun.pictures.colours import read_colours
from corun.pictures.formats import READABLE_SUFFIXES

DEPTH_SUFFIXES = (".npy", ".npz", ".png", ".jpg", ".jpeg", ".mat", ".h5", ".hdf5")
"""What :func:`read_depth` reads, in lower case."""

_UNREADABLE = (
    OSError,
    SyntaxError,  # Pillow's answer to a broken PNG chunk
    ValueError,
    EOFError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    Image.DecompressionBombError,
)
_COLOUR_TOLERANCE = 8
"""How far apart (of 255) the channels of a grey picture saved as JPEG in colour may lie."""


def read_rgb(path: Path | str) -> Float[Tensor, "3 h w"]:
    """Read a picture as RGB.

    It is read as every command reads it (:mod:`corun.pictures`): the EXIF orientation is applied,
    grey, palette and CMYK become RGB, alpha is dropped, 16 bits keep their precision.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, AVIF or HEIC.

    Returns:
        RGB, sRGB-encoded, float32, [0,1].

    Raises:
        ImageFileError: the file is missing, not an image, damaged, too large, or of a sample
            format that is no picture.
        MissingExtraError: HEIC without pillow-heif.
    """
    pixels = read_colours(Path(path))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def eight_bit(picture: Float[Tensor, "c h w"]) -> UInt8[np.ndarray, "h w c"]:
    """A picture in [0,1] as samples of 8 bits, rounded, channels last."""
    levels = (picture.detach().float().clamp(0, 1) * 255).round().byte()
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())


def read_depth(path: Path | str, *, key: str | None = None) -> Float[Tensor, "1 h w"]:
    """Read a depth map, raw: neither scaled nor turned (see ``physics.transmission``).

    Args:
        path: .npy or .npz; .png or .jpg, grey, 8 or 16 bits (values 0–255 or 0–65535); .mat of any
            MATLAB version; .h5 or .hdf5. A singleton axis is dropped.
        key: the array's name in a .npz, .mat or HDF5 file; without it ``depth``, or the only array
            of two dimensions there is.

    Returns:
        The file's values as float32, in the file's unit.

    Raises:
        ImageFileError: the file is missing, damaged, holds no depth map or several, is in colour,
            or holds NaN, −∞ or nothing finite; +∞, the sky of a distance map, may stay.
        MissingExtraError: .mat or HDF5 without scipy or h5py.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in DEPTH_SUFFIXES:
        raise ImageFileError(f"{path}: not a depth file; use one of {', '.join(DEPTH_SUFFIXES)}")
    try:
        if suffix == ".npy":
            array = np.load(path, allow_pickle=False)
        elif suffix == ".npz":
            array = _read_npz(path, key)
        elif suffix == ".mat":
            array = _read_mat(path, key)
        elif suffix in (".h5", ".hdf5"):
            array = _read_hdf5(path, key)
        else:
            array = _read_grey(path)
    except _UNREADABLE as error:
        raise ImageFileError(_unreadable(path, error, f"a {suffix} depth map")) from error
    return _as_depth(np.asarray(array), path)


def list_images(folder: Path | str, recursive: bool = False) -> list[Path]:
    """The pictures of a folder by their suffix, sorted by path; hidden files are left out.

    Args:
        folder: where to look.
        recursive: look into its sub-folders too.

    Returns:
        Paths below ``folder``; empty if there are none.

    Raises:
        DataError: the folder is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder that holds the images")
    found = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        path
        for path in found
        if path.suffix.lower() in READABLE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    )


def _read_grey(path: Path) -> NDArray[Any]:
    with Image.open(path) as opened:
        image: Image.Image = opened
        if image.mode in ("P", "PA", "1", "RGBA", "CMYK"):
            image = image.convert("RGB")
        elif image.mode == "LA":
            image = image.convert("L")
        array = np.asarray(image)
    if array.ndim == 3:
        channels = array.astype(np.int32)
        if (channels.max(axis=2) - channels.min(axis=2)).max() > _COLOUR_TOLERANCE:
            raise ImageFileError(
                f"{path}: a picture in colour is not a depth map; save depth as grey values"
            )
        return np.asarray(channels.mean(axis=2))
    return array


def _read_npz(path: Path, key: str | None) -> NDArray[Any]:
    with path.open("rb") as stream:
        archive = np.load(stream, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array and no archive of arrays; call it .npy")
        return np.asarray(_pick(dict(archive), key, path))


def _read_mat(path: Path, key: str | None) -> NDArray[Any]:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise MissingExtraError("scipy", "train") from error
    try:
        return np.asarray(_pick(loadmat(path), key, path))
    except NotImplementedError:  # MATLAB 7.3 is HDF5, its arrays stored column by column
        return _read_hdf5(path, key).T
    except (MatReadError, TypeError) as error:
        raise ImageFileError(_unreadable(path, error, "a .mat depth map")) from error


def _read_hdf5(path: Path, key: str | None) -> NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "train") from error
    with h5py.File(path, "r") as file:
        arrays: dict[str, Any] = {}

        def collect(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                arrays[name] = item

        file.visititems(collect)
        return np.asarray(_pick(arrays, key, path))


def _pick(arrays: Mapping[str, Any], key: str | None, path: Path) -> Any:
    """The depth array among the named arrays of a file."""
    if key is not None:
        if key not in arrays:
            names = ", ".join(sorted(name for name in arrays if not name.startswith("__")))
            raise ImageFileError(f"{path}: holds no array {key!r}; it holds: {names or 'nothing'}")
        return arrays[key]
    if "depth" in arrays:
        return arrays["depth"]
    maps = [
        name
        for name, array in arrays.items()
        if not name.startswith("__")
        and np.dtype(getattr(array, "dtype", object)).kind in "fiu"
        and len([extent for extent in array.shape if extent > 1]) == 2
    ]
    if len(maps) != 1:
        found = f"holds {len(maps)} arrays of two dimensions ({', '.join(sorted(maps))})"
        raise ImageFileError(f"{path}: {found}; name the depth map's key")
    return arrays[maps[0]]


def _as_depth(array: NDArray[Any], path: Path) -> Float[Tensor, "1 h w"]:
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array.squeeze(0 if array.shape[0] == 1 else -1)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiub":
        raise ImageFileError(
            f"{path}: holds {array.dtype} of shape {array.shape}; a depth map is numbers (h, w)"
        )
    depth = np.ascontiguousarray(array, dtype=np.float32)
    if np.isnan(depth).any():
        raise ImageFileError(
            f"{path}: depth is NaN at {int(np.isnan(depth).sum())} pixels; fill the holes first"
        )
    below = int(np.isneginf(depth).sum())
    if below:
        raise ImageFileError(f"{path}: depth is -inf at {below} pixels; fill the holes first")
    if not np.isfinite(depth).any():
        raise ImageFileError(f"{path}: depth is infinite everywhere; replace it or leave it out")
    return torch.from_numpy(depth).unsqueeze(0)


def _unreadable(path: Path, error: Exception, wanted: str) -> str:
    """One line that names the file, what is wrong with it and what to do."""
    if not path.exists():
        return f"{path}: no such file; check the path"
    if path.is_dir():
        return f"{path}: is a folder; give a file"
    if isinstance(error, PermissionError):
        return f"{path}: no permission to read it; check its access rights"
    if path.stat().st_size == 0:
        return f"{path}: is empty (0 bytes); replace it"
    with path.open("rb") as stream:
        if found := stand_in(stream.read(1024)):
            return f"{path}: {found}"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{path}: cannot be read as {wanted} ({reason}); replace it or leave it out"
