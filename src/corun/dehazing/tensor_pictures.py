"""Tensors through a `Dehazer`: out as in, on their own device."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Shaped
from torch import Tensor

from corun.dehazing.dehazed import Dehazed, Pixels
from corun.dehazing.engines.protocol import Engine
from corun.dehazing.engines.torch_engine import TorchEngine
from corun.dehazing.memory import one_line_without_memory
from corun.errors import DeviceError, is_out_of_memory
from corun.physics.full_size_step import fit_airlight
from corun.pictures.frames import inside_frame
from corun.pictures.pixels import (
    LARGEST_FLOAT,
    LUMA,
    PixelError,
    array_like,
    require_picture,
    rgb_from_array,
)
from corun.pictures.working import fill_hidden

TENSOR_WHITE = {torch.uint8: 255, torch.uint16: 65535}
"""White of the integer tensors that are images; that of floats is 1."""


@runtime_checkable
class ArrayDehazer(Protocol):
    """A `Dehazer`, as far as it is needed here."""

    engine: Engine
    name: str

    def __call__(self, image: Pixels, *, strength: float = 1.0) -> Dehazed:
        """Removes the haze from an array."""


class Estimate(NamedTuple):
    """What a network makes of a hazy batch.

    Attributes:
        scene: J, RGB, sRGB-encoded, clamped to [0,1], float32.
        transmission: t, unitless, (0,1], float32, or None.
        airlight: A, RGB, [0,1], float32, or None.
    """

    scene: Float[Tensor, "b 3 h w"]
    transmission: Float[Tensor, "b 1 h w"] | None
    airlight: Float[Tensor, "b 3 1 1"] | None


def dehaze_batch(
    dehazer: ArrayDehazer, hazy: Float[Tensor, "b 3 h w"], *, strength: float = 1.0
) -> Estimate:
    """Removes the haze from a batch of equally large pictures.

    With torch as engine the batch goes to its device and stays there until the result is done.

    Args:
        dehazer: of any engine.
        hazy: P, RGB, sRGB-encoded, in [0,1], on any device.
        strength: s, in [0,1].

    Raises:
        NetworkOutputError: the network returned no scene of the batch's shape.
        DeviceError: not enough memory, or the precision is too low for this network.
    """
    engine = dehazer.engine
    if not isinstance(engine, TorchEngine):
        return _through_arrays(dehazer, hazy, strength)
    height, width = hazy.shape[-2:]
    with one_line_without_memory(height, width, dehazer.name, engine.facts.device):
        return _on_device(engine, dehazer.name, hazy, strength)


def _on_device(
    engine: TorchEngine, name: str, hazy: Float[Tensor, "b 3 h w"], strength: float
) -> Estimate:
    working = hazy.to(engine.device, torch.float32)
    (scene, transmission), airlight = engine.estimate(working)
    if not torch.isfinite(scene).all():
        raise DeviceError(
            f"{name} returned values that are not finite in {engine.facts.dtype}; "
            "use --dtype float32"
        )
    scene = scene.clamp(0, 1)
    if transmission is not None:
        transmission = transmission.clamp(0, 1)
        if airlight is None:
            airlight = fit_airlight(working, scene, transmission)
    return Estimate(torch.lerp(working, scene, strength).clamp(0, 1), transmission, airlight)


def dehaze_samples(
    dehazer: ArrayDehazer, samples: Shaped[np.ndarray, "..."], strength: float
) -> tuple[Shaped[np.ndarray, "..."], Float32[np.ndarray, "h w"] | None, np.ndarray | None] | None:
    """An array of samples cleared on the engine's device: it goes there and comes back once.

    Args:
        dehazer: with torch as engine.
        samples: (H,W) or (H,W,1..4), uint8, uint16 or float in [0,1]; alpha comes back unchanged.
        strength: s, in [0,1].

    Returns:
        The samples of the clear picture, of the same shape and type, T and A (3,); or None where
        the device has too little memory for the whole picture.

    Raises:
        PixelError: no picture: its type, shape or range.
        DeviceError: the precision is too low for this network.
    """
    engine = dehazer.engine
    assert isinstance(engine, TorchEngine)
    require_picture(samples)
    bytes_of_rgb = samples.dtype == np.uint8 and samples.ndim == 3 and samples.shape[2] >= 3
    if bytes_of_rgb:
        sent = np.require(samples[..., :3], requirements=("C", "W"))
    else:
        sent = rgb_from_array(samples)
    try:
        hazy = torch.from_numpy(sent).to(engine.device).permute(2, 0, 1)[None]
        hazy = hazy.to(torch.float32) / 255 if bytes_of_rgb else hazy
        scene, T, A = _on_device(engine, dehazer.name, hazy, strength)
        scene = scene[0].permute(1, 2, 0)
        back = (scene * 255).round().to(torch.uint8) if bytes_of_rgb else scene
        rgb = back.contiguous().cpu().numpy()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    clear = np.concatenate((rgb, samples[..., 3:]), 2) if bytes_of_rgb else array_like(rgb, samples)
    return (
        clear,
        None if T is None else T[0, 0].cpu().numpy(),
        None if A is None else A[0, :, 0, 0].cpu().numpy(),
    )


def _through_arrays(
    dehazer: ArrayDehazer, hazy: Float[Tensor, "b 3 h w"], strength: float
) -> Estimate:
    pictures = hazy.detach().to("cpu", torch.float32).permute(0, 2, 3, 1).contiguous().numpy()
    found = [dehazer(picture, strength=strength) for picture in pictures]

    def stacked(values: list[np.ndarray | None]) -> Tensor | None:
        there = [value for value in values if value is not None]
        if len(there) < len(values):
            return None
        return torch.from_numpy(np.stack(there)).to(hazy.device)

    scene = stacked([np.asarray(one.image).transpose(2, 0, 1) for one in found])
    assert scene is not None
    T = stacked(
        [None if one.transmission is None else np.asarray(one.transmission)[None] for one in found]
    )
    A = stacked(
        [None if one.airlight is None else np.asarray(one.airlight)[:, None, None] for one in found]
    )
    return Estimate(scene, T, A)


def dehaze_tensor_picture(
    dehazer: ArrayDehazer, image: Shaped[Tensor, "..."], strength: float
) -> Dehazed:
    """A tensor (H,W), (C,H,W) or (B,C,H,W): out as in, on its own device, without gradient.

    Raises:
        PixelError: no picture: its type, shape or range.
        DeviceError: not enough memory, or the precision is too low for this network.
    """
    image = image.detach()
    samples = _batch_of(image)
    hazy = _rgb_from_samples(samples)
    hidden = samples[:, -1:] == 0 if samples.shape[1] in (2, 4) else None
    if hidden is not None and bool(hidden.any()):
        hazy = _filled(hazy, hidden)
    if not dehazer.engine.facts.learned_frames and _has_frame(hazy):
        estimate = _through_arrays(dehazer, hazy, strength)
    else:
        estimate = dehaze_batch(dehazer, hazy, strength=strength)
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


def _filled(
    hazy: Float[Tensor, "b 3 h w"], hidden: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """Pictures with their hidden pixels filled from the visible ones (`fill_hidden`)."""
    pairs = zip(_arrays(hazy), hidden[:, 0].cpu().numpy(), strict=True)
    rgb = torch.stack([torch.from_numpy(fill_hidden(*pair)) for pair in pairs])
    return rgb.permute(0, 3, 1, 2).to(hazy.device)


def _has_frame(hazy: Float[Tensor, "b 3 h w"]) -> bool:
    return any(inside_frame(picture) is not None for picture in _arrays(hazy))


def _arrays(hazy: Float[Tensor, "b 3 h w"]) -> Float32[np.ndarray, "b h w 3"]:
    arrays: np.ndarray = hazy.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return arrays


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
