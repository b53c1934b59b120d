"""What the page shows of a photo: a smaller one, cleared at once; the full one only on request."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from corun.dehazing.dehazed import Dehazed
from corun.dehazing.maps import rows_of
from corun.errors import ImageFileError
from corun.physics.working_picture import working_picture
from corun.pictures.metadata import PictureMetadata
from corun.pictures.reading import Picture, read_picture
from corun.pictures.working import working_colours
from corun.pictures.writing import encode_picture
from corun.server.engine import Engine
from corun.web.temporary import TemporaryFolder

Key = TypeVar("Key")
Value = TypeVar("Value")

PREVIEW_PIXELS = 1_500_000
KEPT = 12
"""Reduced photos that are kept, of all visitors."""

PLAIN_MODES = ("L", "RGB")


class Photo(NamedTuple):
    """A photo that a visitor gave: where it is, and what it is called."""

    path: str
    name: str


class Shown(NamedTuple):
    """A preview.

    Attributes:
        before, after: JPEG files.
        transmission: a PNG file, or None.
        size: width and height of the full photo, pixels.
        reduced: whether the preview is smaller.
    """

    before: str
    after: str
    transmission: str | None
    size: tuple[int, int]
    reduced: bool


class Previews:
    """Reduced photos and what a model says of them.

    Args:
        engine: whose models are asked.
        folder: for the files that the page shows.
    """

    def __init__(self, engine: Engine, folder: TemporaryFolder) -> None:
        self.engine = engine
        self.folder = folder
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Picture, tuple[int, int]]] = OrderedDict()
        self._results: OrderedDict[tuple[str, str], Dehazed] = OrderedDict()

    def show(self, photo: Photo, model: str, strength: float) -> Shown:
        """The preview of a photo.

        Raises:
            ImageFileError: it cannot be read, or its hour is over.
        """
        reduced, size = self._reduced(photo)
        result = self.engine.batches[model].dehaze(reduced, strength=strength)
        with self._lock:
            _keep(self._results, (photo.path, model), result)
        assert isinstance(reduced.image, Image.Image)
        before = self._written("before.jpg", reduced.image, reduced.metadata, "JPEG")
        after = self._written("after.jpg", result.storable_image(), reduced.metadata, "JPEG")
        drawn = None
        if result.transmission is not None:
            grey = Image.fromarray(
                np.rint(np.asarray(result.transmission, np.float32) * 255).astype(np.uint8)
            )
            drawn = self._written("transmission.png", grey, PictureMetadata(), "PNG")
        return Shown(before, after, drawn, size, reduced.image.size != size)

    def at(self, photo: Photo, model: str, x: int, y: int) -> tuple[float, list[float]] | None:
        """T, unitless, and A, RGB in [0,1], at a point of the preview; None where unknown."""
        with self._lock:
            result = self._results.get((photo.path, model))
        if result is None:
            result = self.engine.batches[model].dehaze(self._reduced(photo)[0], strength=1.0)
        if result.transmission is None or result.airlight is None:
            return None
        T = np.asarray(result.transmission)
        row, column = min(max(y, 0), T.shape[0] - 1), min(max(x, 0), T.shape[1] - 1)
        return float(T[row, column]), [float(value) for value in np.asarray(result.airlight)]

    def _reduced(self, photo: Photo) -> tuple[Picture, tuple[int, int]]:
        with self._lock:
            kept = self._kept.get(photo.path)
        if kept is None:
            kept = reduced_picture(self._read(photo))
            with self._lock:
                _keep(self._kept, photo.path, kept)
        return kept

    def _read(self, photo: Photo) -> Picture:
        return read_picture(bytes_of(photo), name=photo.name, max_pixels=self.engine.limits.pixels)

    def _written(
        self, name: str, image: Image.Image | np.ndarray, metadata: PictureMetadata, kind: str
    ) -> str:
        content, _ = encode_picture(image, metadata, kind, quality=90)
        path = self.folder.place(name)
        path.write_bytes(content)
        return str(path)


def bytes_of(photo: Photo) -> bytes:
    """The file of a photo.

    Raises:
        ImageFileError: its hour is over.
    """
    try:
        return Path(photo.path).read_bytes()
    except OSError as error:
        raise ImageFileError(
            f"{photo.name}: uploads are kept for an hour; drop it here again"
        ) from error


def reduced_picture(picture: Picture) -> tuple[Picture, tuple[int, int]]:
    """A photo as 8-bit RGB of at most about PREVIEW_PIXELS, and its full width and height."""
    image = picture.image
    plain = isinstance(image, Image.Image) and image.mode in PLAIN_MODES
    linear = picture.metadata.exponent is not None
    samples = np.asarray(image) if plain and not linear else working_colours(picture)
    height, width = samples.shape[:2]
    small = working_picture(rows_of(samples), height, width, limit=PREVIEW_PIXELS, multiple=1)
    pixels = np.rint(small.pixels * np.float32(255)).astype(np.uint8)
    icc = picture.metadata.icc_for("RGB ") if not linear else None
    return Picture(Image.fromarray(pixels), PictureMetadata(icc=icc)), (width, height)


def _keep(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > KEPT:
        kept.popitem(last=False)
