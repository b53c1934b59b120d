"""Where and in which precision torch runs a network."""

from __future__ import annotations

import warnings

import torch

from corun.errors import DeviceError
from corun.networks.registry import ModelCard

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""The precisions a person can ask for, by name."""


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" is the first of cuda, mps, xpu and cpu that is there.

    Raises:
        DeviceError: no such device here; the message says what to use instead.
    """
    if name == "auto":
        there = (("cuda", _cuda_count()), ("mps", _has_mps()), ("xpu", _has_xpu()))
        return torch.device(next((name for name, found in there if found), "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"{name!r} is no device; use auto, cpu, cuda, cuda:1, mps or xpu"
        ) from error
    if device.type == "cuda":
        count = _cuda_count()
        if count == 0:
            built = "this PyTorch is built without CUDA; " if torch.version.cuda is None else ""
            raise DeviceError(
                f"device {name}: no CUDA device is available; {built}use --device cpu or auto"
            )
        if (device.index or 0) >= count:
            raise DeviceError(f"device {name}: only cuda:0 to cuda:{count - 1} are there")
    elif device.type == "mps":
        if not _has_mps():
            raise DeviceError("device mps: no Apple GPU is available; use --device cpu")
    elif device.type == "xpu":
        if not _has_xpu():
            raise DeviceError("device xpu: no Intel GPU is available; use --device cpu")
    elif device.type != "cpu":
        raise DeviceError(f"device {name} is not supported; use auto, cpu, cuda, mps or xpu")
    return device


def choose_dtype(device: torch.device, card: ModelCard | None) -> torch.dtype:
    """The precision for "auto".

    bfloat16 on a CPU that computes in it, for a network whose result was measured to stay above
    50 dB of the float32 one (``benchmarks/inference.py``); float32 everywhere else.

    Args:
        device: where the network runs.
        card: facts about the network, None for a network of the user's.
    """
    fast = card is not None and card.bfloat16_on_cpu and device.type == "cpu"
    return torch.bfloat16 if fast and cpu_computes_bfloat16() else torch.float32


def cpu_computes_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16 (AVX-512 BF16 or AMX)."""
    if hasattr(torch.cpu, "get_capabilities"):
        abilities = torch.cpu.get_capabilities()
        return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def dtype_from_name(name: str, device: torch.device, card: ModelCard | None) -> torch.dtype:
    """The precision of that name; "auto" asks `choose_dtype`.

    Raises:
        DeviceError: an unknown precision, or one the network or the device does not work in.
    """
    if name == "auto":
        return choose_dtype(device, card)
    if name not in DTYPES:
        raise DeviceError(f"{name!r} is no precision; use auto, {', '.join(DTYPES)}")
    if (
        card is not None
        and not {
            "float32": True,
            "bfloat16": card.supports_bfloat16,
            "float16": card.supports_half,
        }[name]
    ):
        raise DeviceError(f"{card.name} does not run in {name}; use --dtype float32")
    if name == "float16" and device.type == "cpu":
        raise DeviceError("float16 is not supported on the CPU; use --dtype bfloat16 or float32")
    return DTYPES[name]


def _cuda_count() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unusable driver warns; the DeviceError says it once
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _has_xpu() -> bool:
    return hasattr(torch, "xpu") and torch.xpu.is_available()
