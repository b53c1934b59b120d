"""One network behind one call: any picture in, the same kind of picture out, haze removed.

Reading, reduction, padding, the step at full size, strength and writing are here and in what this
imports, in NumPy and OpenCV, whatever runs the network. Nothing here imports torch; tensors go
through :mod:`corun.dehazing.tensor_pictures`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from corun.dehazing.dehazed import Dehazed, Pixels
from corun.dehazing.devices import usable_threads
from corun.dehazing.engines.protocol import Batch, Engine, MapsAnswer, SceneAnswer
from corun.dehazing.maps import FrameMaps, apply_maps, rows_of, transmission_at_full_size
from corun.dehazing.memory import one_line_without_memory, require_memory
from corun.errors import ConfigurationError, DeviceError
from corun.physics.full_size_step import fit_airlight
from corun.physics.working_picture import working_picture
from corun.pictures.frames import inside_frame
from corun.pictures.limits import DEFAULT_MAX_PIXELS
from corun.pictures.metadata import PictureMetadata
from corun.pictures.modes import KEPT_INFO
from corun.pictures.pixels import PixelError, array_like, require_picture, rgb_from_array
from corun.pictures.reading import Picture, read_picture
from corun.pictures.working import hidden_pixels, stored_like, working_colours
from corun.shapes import Float32, Shaped

DIRECT_MODES = ("L", "LA", "RGB", "RGBA")
"""Pillow's modes whose samples are those of an array; alpha comes back unchanged."""

Samples = Shaped[np.ndarray, "..."]
Transmission = Float32[np.ndarray, "h w"] | None
Airlight = Float32[np.ndarray, "3"] | None


class Dehazer:
    """A dehazing network with what it takes to run it on any picture; safe from several threads.

    Args:
        engine: what runs the network (see `corun.load`).
        name: what to call it in messages.
        threads: of the CPU; by default as many as the process may use.
    """

    def __init__(self, engine: Engine, *, name: str, threads: int | None = None) -> None:
        self.engine = engine
        self.name = name
        self.threads = threads or usable_threads()

    @property
    def device(self) -> str:
        """Where the network runs, for example "cpu" or "cuda:0"."""
        return self.engine.facts.device

    @property
    def dtype(self) -> str:
        """In which precision the network runs, for example "float32"."""
        return self.engine.facts.dtype

    @property
    def gives_maps(self) -> bool:
        """Whether `maps` and `apply` can be used: a network with a full-size step."""
        return self.engine.facts.gives_maps

    def __repr__(self) -> str:
        facts = self.engine.facts
        return f"Dehazer({self.name!r}, {facts.name}, device={facts.device!r}, {facts.dtype})"

    def __call__(
        self,
        image: str | Path | Pixels,
        *,
        strength: float = 1.0,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> Dehazed:
        """Removes the haze; size, type and range out are as in.

        The blend of input P and scene J, s·J + (1−s)·P, is the scene under thinner haze of
        transmission t' = s + (1−s)·t, because P = J·t + A(1−t) makes it J·t' + A(1−t').

        Args:
            image: a path; the bytes of a file, or an open binary file; a Pillow image of any common
                mode; an array (H,W) or (H,W,1..4), uint8, uint16 or float in [0,1]; a tensor
                (H,W), (C,H,W) or (B,C,H,W) with 1 to 4 channels, of the same types. Grey, grey +
                alpha, RGB or RGB + alpha, sRGB-encoded. Alpha comes back unchanged.
            strength: s, how much of the haze goes, 0 (none) to 1.
            max_pixels: larger files are refused before they are decoded.

        Raises:
            ImageFileError: the file cannot be read.
            PixelError: no picture: its type, shape or range.
            ConfigurationError: strength outside [0,1].
            DeviceError: not enough memory, or the precision is too low for this network.
        """
        if isinstance(image, str | Path):
            picture = read_picture(Path(image), max_pixels=max_pixels)
            return self.dehaze_picture(picture, strength=strength)
        if hasattr(image, "read") and not isinstance(image, Image.Image | np.ndarray):
            image = image.read()
        if isinstance(image, bytes | bytearray | memoryview):
            picture = read_picture(bytes(image), name="the picture", max_pixels=max_pixels)
            return self.dehaze_picture(picture, strength=strength)
        torch = sys.modules.get("torch")  # who has a tensor has imported it
        if torch is not None and isinstance(image, torch.Tensor):
            from corun.dehazing.tensor_pictures import dehaze_tensor_picture

            require_strength(strength)
            return dehaze_tensor_picture(self, image, strength)
        if not isinstance(image, Image.Image | np.ndarray):
            raise PixelError(
                f"{type(image).__name__} is no picture; give a path, bytes, an open file, a Pillow "
                "image, a numpy array or a torch tensor"
            )
        metadata = (
            PictureMetadata.of_image(image) if isinstance(image, Image.Image) else PictureMetadata()
        )
        return self.dehaze_picture(Picture(image, metadata), strength=strength)

    def dehaze_picture(self, picture: Picture, *, strength: float = 1.0) -> Dehazed:
        """As calling it, for a picture that `read_picture` has read."""
        require_strength(strength)
        original = picture.image
        # Of plain pictures the samples themselves are worked on; the others become RGB first.
        linear = picture.metadata.exponent is not None
        stored: Pixels
        if not isinstance(original, Image.Image):
            require_picture(original)
            direct = not linear and hidden_pixels(original) is None
            clear, t, A = self._dehazed(original if direct else working_colours(picture), strength)
            stored = clear if direct else stored_like(clear, picture)
        else:
            direct = not linear and _is_direct(original)
            samples = np.asarray(original) if direct else working_colours(picture)
            clear, t, A = self._dehazed(samples, strength)
            stored = _image_like(clear, original) if direct else stored_like(clear, picture)
        metadata = picture.metadata
        if notes := self.engine.take_notes():
            metadata = replace(metadata, notes=(*metadata.notes, *notes))
        return Dehazed(stored, t, A, metadata)

    def maps(self, pictures: Sequence[Samples]) -> list[FrameMaps]:
        """What the network says of equally large pictures, in one call of it.

        Args:
            pictures: (H,W) or (H,W,1..4), uint8, uint16 or float in [0,1], sRGB-encoded.

        Raises:
            PixelError: no picture: its type, shape or range.
            ConfigurationError: the network gives no maps (see `gives_maps`), or sizes differ.
            DeviceError: not enough memory, or the precision is too low for this network.
        """
        facts = self.engine.facts
        if not facts.gives_maps:
            raise ConfigurationError(f"{self.name} gives no maps of a picture; call the dehazer")
        for samples in pictures:
            require_picture(samples)
        if len({samples.shape[:2] for samples in pictures}) > 1:
            raise ConfigurationError("pictures of different sizes have no common batch")
        height, width = pictures[0].shape[:2]
        working = [
            working_picture(
                rows_of(samples),
                height,
                width,
                limit=facts.working_pixels,
                multiple=facts.multiple,
            )
            for samples in pictures
        ]
        batch = np.stack([w.pixels for w in working]).transpose(0, 3, 1, 2)
        answer = self._run(np.ascontiguousarray(batch), height, width)
        assert isinstance(answer, MapsAnswer)
        coefficients = np.concatenate((answer.gain, answer.offset), axis=1).transpose(0, 2, 3, 1)
        self._require_finite(coefficients)
        return [
            FrameMaps(np.ascontiguousarray(c), t[0], a[:, 0, 0], w.covered)
            for c, t, a, w in zip(
                coefficients, answer.transmission, answer.airlight, working, strict=True
            )
        ]

    def apply(self, picture: Samples, maps: FrameMaps, *, strength: float = 1.0) -> Samples:
        """A picture cleared with its maps: of the shape and type of what was given."""
        return apply_maps(picture, maps, strength=strength, threads=self.threads)

    def _dehazed(self, samples: Samples, strength: float) -> tuple[Samples, Transmission, Airlight]:
        """An array as the array of the clear picture, with T and A where the network has them."""
        if self.engine.facts.keeps_pictures:
            from corun.dehazing.tensor_pictures import dehaze_samples

            if (found := dehaze_samples(self, samples, strength)) is not None:
                return found
        if self.gives_maps:
            (maps,) = self.maps([samples])
            clear = self.apply(samples, maps, strength=strength)
            return clear, transmission_at_full_size(maps, *samples.shape[:2]), maps.airlight
        hazy = rgb_from_array(samples)
        learned = self.engine.facts.learned_frames
        answer = self._scene(hazy) if learned else _within_frame(self._scene, hazy)
        scene = answer.scene[0].transpose(1, 2, 0)
        scene = (hazy + np.float32(strength) * (scene - hazy)) if strength < 1 else scene
        clear = array_like(np.clip(scene, 0, 1), samples)
        T, A = answer.transmission, answer.airlight
        return clear, None if T is None else T[0, 0], None if A is None else A[0, :, 0, 0]

    def _scene(self, hazy: Float32[np.ndarray, "h w 3"]) -> SceneAnswer:
        """The finished scene of one picture, with the airlight fitted where there is none."""
        height, width = hazy.shape[:2]
        padded = working_picture(
            lambda top, bottom: hazy[top:bottom],
            height,
            width,
            limit=0,
            multiple=self.engine.facts.multiple,
        )
        batch = np.ascontiguousarray(padded.pixels.transpose(2, 0, 1)[None])
        answer = self._run(batch, height, width)
        assert isinstance(answer, SceneAnswer)
        self._require_finite(answer.scene)
        scene = np.clip(answer.scene[..., :height, :width], 0, 1)
        if answer.transmission is None:
            return SceneAnswer(scene, None, answer.airlight)
        T = np.clip(answer.transmission[..., :height, :width], 0, 1)
        A = answer.airlight
        if A is None:
            A = fit_airlight(hazy.transpose(2, 0, 1)[None], scene, T)
        return SceneAnswer(scene, T, A)

    def _run(self, batch: Batch, height: int, width: int) -> MapsAnswer | SceneAnswer:
        """The engine's answer; too little memory, foreseen or not, becomes one line."""
        count, _, rows, columns = batch.shape
        needed = count * rows * columns * self.engine.facts.bytes_per_pixel
        require_memory(needed, height, width, self.name, self.device)
        with one_line_without_memory(height, width, self.name, self.device):
            return self.engine.run(batch)

    def _require_finite(self, values: Float32[np.ndarray, "..."]) -> None:
        if not np.isfinite(values).all():
            raise DeviceError(
                f"{self.name} returned values that are not finite in {self.dtype}; "
                "use --dtype float32"
            )


def require_strength(strength: float) -> None:
    """Refuse what is no share.

    Raises:
        ConfigurationError: strength outside [0,1].
    """
    if not 0 <= strength <= 1:
        raise ConfigurationError(f"strength is between 0 and 1, not {strength}")


def _is_direct(image: Image.Image) -> bool:
    """Whether the image's own samples can be worked on: nothing in it is hidden or marked."""
    marked = image.mode not in DIRECT_MODES or "transparency" in image.info
    return not marked and hidden_pixels(image) is None


def _image_like(samples: Samples, original: Image.Image) -> Image.Image:
    """The samples as an image of one of the modes :data:`DIRECT_MODES`, with its ICC and EXIF."""
    result = Image.fromarray(samples)
    result.info.update({k: v for k, v in original.info.items() if k in KEPT_INFO})
    return result


def _within_frame(
    scene: Callable[[Float32[np.ndarray, "h w 3"]], SceneAnswer],
    hazy: Float32[np.ndarray, "h w 3"],
) -> SceneAnswer:
    """The scene of what a frame leaves of a picture; the frame stays as it is, its T is 1.

    Args:
        scene: of one picture, as large as it.
        hazy: RGB in [0,1].
    """
    inside = inside_frame(hazy)
    if inside is None:
        return scene(hazy)
    found = scene(np.ascontiguousarray(hazy[inside]))
    whole = hazy.transpose(2, 0, 1)[None].copy()
    whole[..., inside[0], inside[1]] = found.scene
    if found.transmission is None:
        return SceneAnswer(whole, None, found.airlight)
    T = np.ones_like(whole[:, :1])
    T[..., inside[0], inside[1]] = found.transmission
    return SceneAnswer(whole, T, found.airlight)
