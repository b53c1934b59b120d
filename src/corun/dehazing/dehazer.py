"""One network behind one call: any picture in, the same kind of picture out, haze removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped
from PIL import Image
from torch import Tensor, nn

from corun.dehazing.dehazed import Dehazed, Pixels
from corun.dehazing.devices import choose_device, dtype_from_name
from corun.dehazing.maps import FrameMaps, apply_maps, rows_of, transmission_at_full_size
from corun.dehazing.set_aside import filled, hidden_in, without_frames
from corun.errors import ConfigurationError, DeviceError
from corun.networks.corun import CORUN
from corun.networks.outputs import read_output
from corun.networks.reduction import pad_to_multiple
from corun.networks.registry import ModelCard
from corun.physics.full_size_step import fit_airlight
from corun.physics.working_picture import working_picture
from corun.pictures.hidden import hidden_pixels
from corun.pictures.limits import DEFAULT_MAX_PIXELS
from corun.pictures.metadata import PictureMetadata
from corun.pictures.modes import KEPT_INFO
from corun.pictures.pixels import (
    LARGEST_FLOAT,
    LUMA,
    PixelError,
    array_like,
    require_picture,
    rgb_from_array,
)
from corun.pictures.reading import Picture, read_picture
from corun.pictures.working import stored_like, working_colours

DIRECT_MODES = ("L", "LA", "RGB", "RGBA")
"""Pillow's modes whose samples are those of an array; alpha comes back unchanged."""

Transmission = Float32[np.ndarray, "h w"] | None
Airlight = Float32[np.ndarray, "3"] | None

TENSOR_WHITE = {torch.uint8: 255, torch.uint16: 65535}
"""White of the integer tensors that are images; that of floats is 1."""


class Estimate(NamedTuple):
    """What a network makes of a hazy batch.

    Attributes:
        scene: J, RGB, sRGB-encoded, clamped to [0,1], float32, (B,3,H,W).
        transmission: t, unitless, (0,1], float32, (B,1,H,W), or None.
        airlight: A, RGB, [0,1], float32, (B,3,1,1), or None.
    """

    scene: Float[Tensor, "b 3 h w"]
    transmission: Float[Tensor, "b 1 h w"] | None
    airlight: Float[Tensor, "b 3 1 1"] | None


class Dehazer:
    """A dehazing network with what it takes to run it on any picture.

    Args:
        network: maps RGB in [0,1], (B,3,H,W), to anything that
            :func:`corun.networks.outputs.read_output` reads as a clear scene of that shape and
            perhaps a transmission; a NamedTuple or mapping may have an `airlight` (B,3,1,1) too.
        name: what to call it in messages.
        size_multiple: height and width the network accepts are multiples of this; pictures are
            padded by reflection and cropped back.
        card: facts about the network, for one of the registered models.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto", "float32", "bfloat16" or "float16" (mixed precision, by autocast).

    Raises:
        DeviceError: the device or precision is not available.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str = "custom",
        size_multiple: int = 1,
        card: ModelCard | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.dtype = dtype_from_name(dtype, self.device, card)
        self.name = name
        self.size_multiple = size_multiple
        self.network = network.to(self.device).eval()

    @property
    def on_cpu(self) -> bool:
        """Whether the network runs on the CPU, where the full-size step is NumPy's."""
        return self.device.type == "cpu"

    def __repr__(self) -> str:
        return f"Dehazer({self.name!r}, device={str(self.device)!r}, dtype={self.dtype})"

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
            image: a path; a Pillow image of any common mode; an array (H,W) or (H,W,1..4), uint8,
                uint16 or float in [0,1]; a tensor (H,W), (C,H,W) or (B,C,H,W) with 1 to 4
                channels, of the same types. Grey, grey + alpha, RGB or RGB + alpha,
                sRGB-encoded. Alpha comes back unchanged.
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
        if isinstance(image, Tensor):
            return self._dehaze_any_tensor(image, strength)
        if not isinstance(image, Image.Image | np.ndarray):
            raise PixelError(
                f"{type(image).__name__} is no picture; "
                "give a path, a Pillow image, a numpy array or a torch tensor"
            )
        metadata = (
            PictureMetadata.of_image(image) if isinstance(image, Image.Image) else PictureMetadata()
        )
        return self.dehaze_picture(Picture(image, metadata), strength=strength)

    def dehaze_picture(self, picture: Picture, *, strength: float = 1.0) -> Dehazed:
        """As calling it, for a picture that `read_picture` has read."""
        _require_strength(strength)
        original = picture.image
        # Of plain pictures the samples themselves are worked on; the others become RGB first.
        linear = picture.metadata.exponent is not None
        if not isinstance(original, Image.Image):
            require_picture(original)
            if not linear and hidden_pixels(original) is None:
                return Dehazed(*self._dehaze_array(original, strength), picture.metadata)
        elif not linear and _is_direct(original):
            clear, t, A = self._dehaze_array(np.asarray(original), strength)
            return Dehazed(_image_like(clear, original), t, A, picture.metadata)
        clear, t, A = self._dehaze_array(working_colours(picture), strength)
        return Dehazed(stored_like(clear, picture), t, A, picture.metadata)

    def _dehaze_array(
        self, samples: Shaped[np.ndarray, "..."], strength: float
    ) -> tuple[Shaped[np.ndarray, "..."], Transmission, Airlight]:
        """An array as the array of the clear picture, with T and A where the network has them."""
        if self.gives_maps:
            (maps,) = self.maps([samples])
            clear = self.apply(samples, maps, strength=strength)
            return clear, transmission_at_full_size(maps, *samples.shape[:2]), maps.airlight
        hazy = torch.from_numpy(rgb_from_array(samples).transpose(2, 0, 1)[None])
        estimate = self._dehaze_unframed(hazy, strength)
        clear = np.ascontiguousarray(estimate.scene[0].cpu().numpy().transpose(1, 2, 0))
        t, A = estimate.transmission, estimate.airlight
        return (
            array_like(clear, samples),
            None if t is None else t[0, 0].cpu().numpy(),
            None if A is None else A[0, :, 0, 0].cpu().numpy(),
        )

    @property
    def gives_maps(self) -> bool:
        """Whether `maps` and `apply` can be used: a network with a full-size step, on a CPU."""
        network = self.network
        return isinstance(network, CORUN) and network.config.full_size_step and self.on_cpu

    def maps(self, pictures: Sequence[Shaped[np.ndarray, "..."]]) -> list[FrameMaps]:
        """What the network says of equally large pictures, in one call of it.

        Args:
            pictures: (H,W) or (H,W,1..4), uint8, uint16 or float in [0,1], sRGB-encoded.

        Raises:
            PixelError: no picture: its type, shape or range.
            ConfigurationError: the network gives no maps (see `gives_maps`), or sizes differ.
            DeviceError: not enough memory, or the precision is too low for this network.
        """
        network = self.network
        if not (isinstance(network, CORUN) and self.gives_maps):
            raise ConfigurationError(f"{self.name} gives no maps of a picture; call the dehazer")
        for samples in pictures:
            require_picture(samples)
        if len({samples.shape[:2] for samples in pictures}) > 1:
            raise ConfigurationError("pictures of different sizes have no common batch")
        height, width = pictures[0].shape[:2]
        config = network.config
        working = [
            working_picture(
                rows_of(samples),
                height,
                width,
                limit=config.working_pixels,
                multiple=config.multiple,
            )
            for samples in pictures
        ]
        pixels = torch.from_numpy(np.stack([w.pixels for w in working]).transpose(0, 3, 1, 2))
        with self._running(height, width), self._precision():
            maps = network.maps(pixels)
        gain, offset, transmission, airlight = (value.float().numpy() for value in maps)
        coefficients = np.concatenate((gain, offset), axis=1).transpose(0, 2, 3, 1)
        self._require_finite(bool(np.isfinite(coefficients).all()))
        return [
            FrameMaps(np.ascontiguousarray(c), t[0], a[:, 0, 0], w.covered)
            for c, t, a, w in zip(coefficients, transmission, airlight, working, strict=True)
        ]

    def apply(
        self, picture: Shaped[np.ndarray, "..."], maps: FrameMaps, *, strength: float = 1.0
    ) -> Shaped[np.ndarray, "..."]:
        """A picture cleared with its maps: of the shape and type of what was given."""
        return apply_maps(picture, maps, strength=strength, threads=torch.get_num_threads())

    def dehaze_tensor(self, hazy: Float[Tensor, "b 3 h w"], *, strength: float = 1.0) -> Estimate:
        """Removes the haze from a batch of equally large pictures.

        Args:
            hazy: P, RGB, sRGB-encoded, in [0,1], on any device.
            strength: s, in [0,1].

        Returns:
            float32 tensors on the dehazer's device, the scene clamped to [0,1].

        Raises:
            ConfigurationError: strength outside [0,1].
            NetworkOutputError: the network returned no scene of the batch's shape.
            DeviceError: not enough memory, or the precision is too low for this network.
        """
        _require_strength(strength)
        height, width = hazy.shape[-2:]
        working = hazy.to(self.device, torch.float32)
        with self._running(height, width):
            padded = pad_to_multiple(working, self.size_multiple)
            with self._precision():
                network = self.network
                if isinstance(network, CORUN):
                    output = network.explained(padded)
                else:
                    output = network(padded)
            scene, transmission = read_output(output, padded, strict=False)
            airlight = _airlight(output)
            scene = scene[..., :height, :width].float()
            self._require_finite(bool(torch.isfinite(scene).all()))
            scene = scene.clamp(0, 1)
            if transmission is not None:
                transmission = transmission[..., :height, :width].float().clamp(0, 1)
                if airlight is None:
                    airlight = fit_airlight(working, scene, transmission)
            scene = torch.lerp(working, scene, strength).clamp(0, 1)
        return Estimate(scene, transmission, None if airlight is None else airlight.float())

    def _dehaze_unframed(self, hazy: Float[Tensor, "b 3 h w"], strength: float) -> Estimate:
        """As `dehaze_tensor`; networks that did not learn uniform frames do not see them."""
        network = self.network
        if isinstance(network, CORUN) and network.config.full_size_step:
            return self.dehaze_tensor(hazy, strength=strength)
        dehaze = partial(self.dehaze_tensor, strength=strength)
        return Estimate(*without_frames(dehaze, hazy))

    @contextmanager
    def _running(self, height: int, width: int) -> Iterator[None]:
        """Without gradients; running out of memory becomes one line."""
        try:
            with torch.no_grad():
                yield
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise DeviceError(
                f"not enough memory on {self.device} for {width}x{height} pixels with {self.name}; "
                "use a smaller picture, --model corun-lite or another --device"
            ) from error

    def _require_finite(self, finite: bool) -> None:
        if not finite:
            raise DeviceError(
                f"{self.name} returned values that are not finite in "
                f"{str(self.dtype).removeprefix('torch.')}; use --dtype float32"
            )

    def _dehaze_any_tensor(self, image: Shaped[Tensor, "..."], strength: float) -> Dehazed:
        """A tensor (H,W), (C,H,W) or (B,C,H,W): out as in, on its own device, without gradient."""
        image = image.detach()
        samples = _batch_of(image)
        hazy = _rgb_from_samples(samples)
        hidden = hidden_in(samples)
        estimate = self._dehaze_unframed(hazy if hidden is None else filled(hazy, hidden), strength)
        scene = estimate.scene.to(image.device)
        if samples.shape[1] < 3:
            scene = torch.einsum("c,bchw->bhw", torch.from_numpy(LUMA).to(scene), scene)[:, None]
        white = TENSOR_WHITE.get(image.dtype)
        stored = (scene if white is None else (scene * white).round()).to(image.dtype)
        if samples.shape[1] in (2, 4):
            stored = torch.cat([stored, samples[:, -1:]], dim=1)
        if hidden is not None:
            stored = torch.where(hidden, samples, stored)

        def back(value: Tensor | None) -> Tensor | None:
            if value is None:
                return None
            value = value.to(image.device)
            return value if image.ndim == 4 else value[0]

        return Dehazed(
            stored.reshape(image.shape), back(estimate.transmission), back(estimate.airlight)
        )

    def _precision(self) -> AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def _require_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ConfigurationError(f"strength is between 0 and 1, not {strength}")


def _is_direct(image: Image.Image) -> bool:
    """Whether the image's own samples can be worked on: nothing in it is hidden or marked."""
    marked = image.mode not in DIRECT_MODES or "transparency" in image.info
    return not marked and hidden_pixels(image) is None


def _image_like(samples: Shaped[np.ndarray, "..."], original: Image.Image) -> Image.Image:
    """The samples as an image of one of the modes :data:`DIRECT_MODES`, with its ICC and EXIF."""
    result = Image.fromarray(samples)
    result.info.update({k: v for k, v in original.info.items() if k in KEPT_INFO})
    return result


def _batch_of(image: Shaped[Tensor, "..."]) -> Shaped[Tensor, "b c h w"]:
    """A tensor (H,W), (C,H,W) or (B,C,H,W) as (B,C,H,W)."""
    channels = 1 if image.ndim == 2 else image.shape[-3] if image.ndim in (3, 4) else 0
    if channels not in (1, 2, 3, 4) or 0 in image.shape:
        raise PixelError(
            f"a tensor of shape {tuple(image.shape)} is no image; give (H,W), (C,H,W) or "
            "(B,C,H,W) with 1 to 4 channels"
        )
    return image.reshape(-1, channels, *image.shape[-2:])


def _rgb_from_samples(samples: Shaped[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
    """RGB in [0,1] of grey, grey + alpha, RGB or RGB + alpha; alpha is left out."""
    if samples.dtype not in TENSOR_WHITE and not samples.is_floating_point():
        raise PixelError(
            f"a tensor of {samples.dtype} is no image; give uint8, uint16 or floats in [0,1]"
        )
    unit = samples.to(torch.float32) / TENSOR_WHITE.get(samples.dtype, 1)
    if not torch.isfinite(unit).all():
        raise PixelError("the image holds values that are not finite; replace them first")
    if float(unit.max()) > LARGEST_FLOAT:
        raise PixelError(
            f"float images are in [0,1], this one reaches {float(unit.max()):.4g}; "
            "divide by its white level first"
        )
    colour = unit[:, :3] if unit.shape[1] >= 3 else unit[:, :1].expand(-1, 3, -1, -1)
    return colour.clamp(0, 1)


def _airlight(output: object) -> Tensor | None:
    """The airlight (B,3,1,1), from a network that names one."""
    named = (
        output.get("airlight") if isinstance(output, dict) else getattr(output, "airlight", None)
    )
    fits = isinstance(named, Tensor) and named.ndim == 4 and named.shape[1:] == (3, 1, 1)
    return named if fits else None


def _is_out_of_memory(error: RuntimeError) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)
