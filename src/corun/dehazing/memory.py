"""Running out of memory: foreseen where it can be, one line, and what helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from corun.errors import DeviceError, is_out_of_memory
from corun.pictures.limits import free_memory

LIGHTEST_MODEL = "corun-lite"


def out_of_memory(height: int, width: int, model: str, device: str) -> DeviceError:
    """The error for a picture that a model has no memory for, with what helps with this model."""
    return DeviceError(
        f"not enough memory on {device} for {width}x{height} pixels with {model}; "
        + memory_advice(model, device)
    )


@contextmanager
def one_line_without_memory(height: int, width: int, model: str, device: str) -> Iterator[None]:
    """Turns running out of memory, however it is said, into one line.

    Raises:
        DeviceError: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(height, width, model, device) from error


def memory_advice(model: str, device: str) -> str:
    """What a person can do: nothing that is being done already."""
    ways = ["scale the picture down"]
    if not model.startswith((LIGHTEST_MODEL, "dcp")):
        ways.append(f"use --model {LIGHTEST_MODEL}")
    ways.append("close other programs" if device == "cpu" else "use --device cpu")
    return ", or ".join((", ".join(ways[:-1]), ways[-1]))


def require_memory(needed: int, height: int, width: int, model: str, device: str) -> None:
    """Refuses, before any work, a picture that the free memory is too little for.

    Args:
        needed: bytes that the work takes at least.
        height, width: pixels.
        model: its name.
        device: where it runs; only memory of the machine itself is known beforehand.

    Raises:
        DeviceError: too little is free.
    """
    free = free_memory() if device == "cpu" else None
    if free is not None and needed > free:
        raise out_of_memory(height, width, model, device)
