"""What the page shows of a photo: a smaller one, cleared at once; the full one only on request."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path, PurePath
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from corun.dehazing.dehazed import Dehazed
from corun.dehazing.maps import rows_of
from corun.errors import ImageFileError
from corun.physics.working_picture import working_picture
from corun.pictures.formats import FILM_SUFFIXES
from corun.pictures.metadata import PictureMetadata
from corun.pictures.reading import Picture, read_picture
from corun.pictures.working import working_colours
from corun.pictures.writing import encode_picture
from corun.server.bodies import RefusedError
from corun.server.engine import Engine
from corun.server.limits import Limits
from corun.server.video_checks import looked_at
from corun.shapes import Shaped
from corun.web.temporary import TemporaryFolder

Key = TypeVar("Key")
Value = TypeVar("Value")

PREVIEW_PIXELS = 1_500_000
KEPT = 12
"""Reduced photos that are kept, of all visitors."""

PLAIN_MODES = ("L", "RGB")


class Photo(NamedTuple):
    """A photo or film that a visitor gave: where it is, and what it is called."""

    path: str
    name: str

    @property
    def is_film(self) -> bool:
        """Whether its name is a film's."""
        return PurePath(self.name).suffix.lower() in FILM_SUFFIXES


class Shown(NamedTuple):
    """A preview.

    Attributes:
        before, after: JPEG files.
        transmission: a PNG file, or None.
        size: width and height of the full photo or frame, pixels.
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
        """The preview of a photo, or of the frame in the middle of a film.

        Raises:
            ImageFileError: it cannot be read, is too large, or its hour is over.
            CorunError: it is a film that cannot be read, is too large, or needs the extra.
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

    def pair(self, photo: Photo, result: Path, seconds: float) -> tuple[str, str]:
        """A film's frame in the middle, and the clear film's of that time, as JPEG files."""
        from corun.dehazing.video.source import read_film
        from corun.dehazing.video.stills import still_at

        hazy = self._reduced(photo)[0]
        film = read_film(result)
        half = float(1 / (2 * film.rate))  # formats round times
        clear, _ = still_at(result, film, max(0.0, seconds - half))
        images = (hazy.image, reduced_picture(Picture(clear, PictureMetadata()))[0].image)
        before, after = (
            self._written(name, image, PictureMetadata(), "JPEG")
            for name, image in zip(("before.jpg", "after.jpg"), images, strict=True)
        )
        return before, after

    def _read(self, photo: Photo) -> Picture:
        limits = self.engine.limits
        if photo.is_film:
            return Picture(middle_of(photo, limits)[0], PictureMetadata())
        content = bytes_of(photo, limits.body_bytes)
        return read_picture(content, name=photo.name, max_pixels=limits.pixels)

    def _written(
        self, name: str, image: Image.Image | np.ndarray, metadata: PictureMetadata, kind: str
    ) -> str:
        content, _ = encode_picture(image, metadata, kind, quality=90)
        path = self.folder.place(name)
        path.write_bytes(content)
        return str(path)


def bytes_of(photo: Photo, most: int) -> bytes:
    """The file of a photo.

    Raises:
        ImageFileError: its hour is over.
        RefusedError: it has more than `most` bytes.
    """
    require_size(photo, most)
    try:
        return Path(photo.path).read_bytes()
    except OSError as error:
        raise hour_is_over(photo) from error


def require_size(photo: Photo, most: int) -> None:
    """Looks at the size of a file.

    Raises:
        ImageFileError: its hour is over.
        RefusedError: it has more than `most` bytes.
    """
    try:
        size = Path(photo.path).stat().st_size
    except OSError as error:
        raise hour_is_over(photo) from error
    if size > most:
        raise RefusedError(413, f"{photo.name}: is larger than the {most:,} bytes that are taken")


def hour_is_over(photo: Photo) -> ImageFileError:
    """What is said of an upload that is there no more."""
    return ImageFileError(f"{photo.name}: uploads are kept for an hour; drop it here again")


def middle_of(photo: Photo, limits: Limits) -> tuple[Shaped[np.ndarray, "h w 3"], float]:
    """The frame in the middle of a film, and its seconds since the beginning.

    Raises:
        MissingExtraError: films need the extra `video`.
        CorunError: it cannot be read, or is above the limits.
    """
    from corun.dehazing.video.stills import still_at

    require_size(photo, limits.video_bytes)
    path = Path(photo.path)
    film, _ = looked_at(path, limits, hdr=True, name=photo.name)
    return still_at(path, film, film.seconds / 2)


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
