"""What may be decoded: bounded by one number of pixels and by the memory that is free."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from corun.pictures.pixels import PixelError
from corun.pictures.tiff_header import TiffHeader

DEFAULT_MAX_PIXELS = 178_956_970
"""Pictures above this are refused unless asked for: Pillow's own limit, 512 MiB of RGB bytes."""

MOST_SAMPLES = 16
"""Samples per pixel: more is a stack of measurements, not a photo."""

COPIES = 2
"""How often the decoded samples are held at once: as decoded, and turned upright."""

_MEMORY = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


class TooLargeError(PixelError):
    """More pixels than are allowed, or than memory is free for."""


def check_size(
    width: int,
    height: int,
    *,
    max_pixels: int,
    bytes_per_pixel: int | float = 4,
    depth: int = 1,
    frames: int = 1,
) -> None:
    """Refuses what would be decoded into too many pixels or more bytes than are free.

    Args:
        width, height: pixels.
        max_pixels: the limit of width × height × depth × frames.
        bytes_per_pixel: of all samples of a pixel, as decoded.
        depth: planes of a volume.
        frames: how many pictures are decoded.

    Raises:
        TooLargeError: more than either.
    """
    pixels = width * height * depth * frames
    if pixels > max_pixels:
        raise TooLargeError(_too_many_pixels(width, height, pixels, max_pixels))
    needed = int(COPIES * pixels * bytes_per_pixel)
    free = free_memory()
    if free is not None and needed > free:
        raise TooLargeError(
            f"{width}x{height} pixels take {_gigabytes(needed)} to decode, and "
            f"{_gigabytes(free)} of memory are free; close other programs or scale it down"
        )


def check_tiff(header: TiffHeader, *, max_pixels: int) -> None:
    """Refuses a TIFF by its header: volumes, huge tiles, samples without end.

    Raises:
        PixelError: it is no photo, or too large.
    """
    width, height, depth = header.decoded_size
    if header.samples > MOST_SAMPLES:
        raise PixelError(
            f"{header.samples} samples per pixel are no photo; "
            f"corun reads up to {MOST_SAMPLES}: export the colours alone"
        )
    if depth > 1:
        raise PixelError(f"a volume of {depth} planes is no photo; export one plane as a TIFF")
    check_size(width, height, max_pixels=max_pixels, bytes_per_pixel=header.bytes_per_pixel)


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine and of its container.

    None where the system does not say.
    """
    found = [number for number in (_free_on_machine(), _free_in_container()) if number is not None]
    return min(found) if found else None


def _free_on_machine() -> int | None:
    with suppress(OSError, ValueError):
        for line in _MEMORY.read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return 1024 * int(rest.split()[0])
    with suppress(OSError, ValueError, AttributeError):  # another system than Linux
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _free_in_container() -> int | None:
    """The limit less what is used; caches, which give way, are not counted (cgroup v2)."""
    with suppress(OSError, ValueError):
        limit = int((_CONTAINER / "memory.max").read_text(encoding="ascii"))
        used = int((_CONTAINER / "memory.current").read_text(encoding="ascii"))
        for line in (_CONTAINER / "memory.stat").read_text(encoding="ascii").splitlines():
            if line.startswith("inactive_file "):
                used -= int(line.split()[1])
        return max(0, limit - used)
    return None


def _too_many_pixels(width: int, height: int, pixels: int, limit: int) -> str:
    """The line that refuses a decompression bomb."""
    return (
        f"{width}x{height} is {pixels:,} pixels, above the limit of {limit:,} that guards "
        f"against decompression bombs; if you trust it, add --max-pixels {pixels}"
    )


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
