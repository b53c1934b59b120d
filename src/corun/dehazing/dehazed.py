"""What comes out: the clear picture with the transmission and airlight behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from corun.errors import ConfigurationError, ImageFileError
from corun.pictures.formats import FORMAT_OF_SUFFIX
from corun.pictures.metadata import PictureMetadata
from corun.pictures.pixels import PixelError
from corun.pictures.writing import (
    DEFAULT_QUALITY,
    encode_picture,
    write_encoded,
)
from corun.shapes import Shaped

Pixels = Any
"""A Pillow image, an array or a torch tensor; nothing here imports torch."""


@dataclass(frozen=True)
class Dehazed:
    """A dehazed picture.

    Attributes:
        image: the clear scene, of the size, type and range of what was given. For a file: a
            Pillow image in the file's mode, or an array (H,W,C) where Pillow has no mode for it
            (16-bit or float colour).
        transmission: the share of the scene's light that came through the haze, unitless, in
            (0,1]: float32 (H,W), or for tensors (1,H,W) or (B,1,H,W). None if the network
            estimates none. It describes the input, whatever the strength.
        airlight: the colour of the haze, RGB, in [0,1]: float32 (3,), or for tensors (3,1,1) or
            (B,3,1,1). None if the network has no notion of it.
        metadata: EXIF, ICC profile and resolution that `save` writes.
    """

    image: Pixels
    transmission: Any
    airlight: Any
    metadata: PictureMetadata = field(default_factory=PictureMetadata, repr=False)

    def save(
        self, path: str | Path, *, quality: int = DEFAULT_QUALITY, overwrite: bool = False
    ) -> Path:
        """Writes the clear picture, with the EXIF and ICC profile of the original.

        Args:
            path: the suffix says the format: .jpg, .png, .webp, .tif, .bmp, .avif, .heic.
            quality: 1-100, of the lossy formats.
            overwrite: whether an existing file is replaced.

        Returns:
            The path.

        Raises:
            ImageFileError: the file exists, cannot be written, or its format cannot hold the
                picture.
            ConfigurationError: the suffix is of no known format.
        """
        path = Path(path)
        content, _ = encode_picture(
            self.storable_image(), self.metadata, format_of_path(path), quality=quality
        )
        return _write_new(path, content, overwrite)

    def save_transmission(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the transmission as greyscale, 0 black and 1 white; 16 bits as PNG or TIFF.

        Raises:
            ImageFileError: there is none, or the file exists or cannot be written.
            ConfigurationError: the suffix is of no known format.
        """
        path = Path(path)
        content, _ = encode_picture(
            self.transmission_image(), PictureMetadata(), format_of_path(path)
        )
        return _write_new(path, content, overwrite)

    def storable_image(self) -> Image.Image | Shaped[np.ndarray, "..."]:
        """The picture as `encode_picture` takes it: a tensor becomes an array, channels last.

        Raises:
            PixelError: it is a batch of several pictures.
        """
        stored: Image.Image | Shaped[np.ndarray, "..."] = (
            _array_of(self.image) if _is_tensor(self.image) else self.image
        )
        return stored

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        if isinstance(self.image, Image.Image):
            return self.image.height, self.image.width
        first = self.image.ndim - 2 if _is_tensor(self.image) else 0
        return int(self.image.shape[first]), int(self.image.shape[first + 1])

    def transmission_image(self) -> Image.Image:
        """The transmission as a 16-bit greyscale image, 0 black and 1 white.

        Raises:
            ImageFileError: the network estimates none.
        """
        if self.transmission is None:
            raise ImageFileError("this model estimates no transmission; choose another --model")
        t = self.transmission
        unit = _array_of(t)[:, :, 0] if _is_tensor(t) else t
        unit16 = np.rint(np.clip(unit.astype(np.float32), 0, 1) * np.float32(65535))
        return Image.fromarray(unit16.astype(np.uint16))


def format_of_path(path: Path) -> str:
    """The format a file name asks for, as Pillow calls it.

    Raises:
        ConfigurationError: no or unknown suffix.
    """
    file_format = FORMAT_OF_SUFFIX.get(path.suffix.lower())
    if file_format is None:
        known = ", ".join(FORMAT_OF_SUFFIX)
        raise ConfigurationError(f"{path}: the suffix names no format; use one of {known}")
    return file_format


def _is_tensor(image: Pixels) -> bool:
    return hasattr(image, "detach")


def _array_of(image: Any) -> Shaped[np.ndarray, "..."]:
    """A tensor (H,W), (C,H,W) or (1,C,H,W) as an array (H,W) or (H,W,C)."""
    if image.ndim == 4 and image.shape[0] != 1:
        raise PixelError(f"this is a batch of {image.shape[0]} images; save them one by one")
    single = (image[0] if image.ndim == 4 else image).detach().cpu()
    single = single.float() if single.is_floating_point() else single
    samples = single.numpy()
    return np.ascontiguousarray(samples if samples.ndim == 2 else samples.transpose(1, 2, 0))


def _write_new(path: Path, content: bytes, overwrite: bool) -> Path:
    try:
        write_encoded(path, content, overwrite=overwrite)
    except FileExistsError as error:
        raise ImageFileError(
            f"{path}: exists already; pass overwrite=True to replace it"
        ) from error
    return path
