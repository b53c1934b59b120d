"""What may be decoded: bounded by one number of pixels and by the memory that is free."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from PIL import Image

from corun.pictures.pixels import PixelError
from corun.pictures.tiff_header import COMPRESSION, TiffHeader

DEFAULT_MAX_PIXELS = 178_956_970
"""Pictures above this are refused unless asked for: Pillow's own limit, 512 MiB of RGB bytes."""

MOST_SAMPLES = 16
"""Samples per pixel: more is a stack of measurements, not a photo."""

COPIES = 2
"""How often the decoded samples are held at once: as decoded, and turned upright."""

LARGEST_RATIOS = {1: 1, 5: 2600, 8: 1032, 32946: 1032, 32773: 64}
"""Compression of a TIFF (none, LZW, deflate (2), PackBits) to the most bytes one byte can give."""

RUN_LENGTHS = (1, 2)
"""The compressions of BMP that Pillow decodes pixel by pixel."""

MOST_TILES = 1_000_000
SMALL, LARGE = 1_000_000, 50_000_000
"""Pixels up to which anything is decoded at once, and above which a process of its own does it."""

PIXELS_PER_BYTE = 500
"""More than any honest JPEG; only a picture of one colour has more."""

_MEMORY = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


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
        PixelError: more than either.
    """
    pixels = width * height * depth * frames
    if pixels > max_pixels:
        raise PixelError(_too_many_pixels(width, height, pixels, max_pixels))
    needed = int(COPIES * pixels * bytes_per_pixel)
    free = free_memory()
    if free is not None and needed > free:
        raise PixelError(
            f"{width}x{height} pixels take {_gigabytes(needed)} to decode, and "
            f"{_gigabytes(free)} of memory are free; close other programs or scale it down"
        )


def check_tiff(header: TiffHeader, size: int, *, max_pixels: int) -> None:
    """Refuses a TIFF by its header: volumes, huge tiles, samples without end, bytes that lack.

    Args:
        header: its first directory.
        size: of the file, in bytes.
        max_pixels: the limit.

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
    ratio = LARGEST_RATIOS.get(header.one(COMPRESSION, 1))
    if ratio is not None:
        _check_plausible(width, height, header.bytes_per_pixel, size, ratio)
    if header.tiles > MOST_TILES:
        raise PixelError(f"a TIFF of {header.tiles:,} tiles or strips; save it with larger ones")


def check_plausible(image: Image.Image, data: bytes) -> None:
    """Refuses a PNG or BMP whose few bytes cannot hold its pixels.

    Args:
        image: opened, not loaded.
        data: the whole file.

    Raises:
        PixelError: they cannot.
    """
    if image.format == "PNG":
        channels = {2: 3, 4: 2, 6: 4}.get(data[25], 1)
        _check_plausible(*image.size, data[24] * channels / 8, len(data), LARGEST_RATIOS[8])
    elif image.format in ("BMP", "DIB"):
        packed = image.info.get("compression") in RUN_LENGTHS
        least = {"RGB": 2.0, "RGBA": 4.0}.get(image.mode, 1.0 if packed else 1 / 8)
        _check_plausible(*image.size, least, len(data), 128 if packed else 1)


def is_suspect(width: int, height: int, size: int, *, scans: int = 1) -> bool:
    """Whether a picture is to be decoded where it can be given up: it is large, or a bomb perhaps.

    Args:
        width, height: pixels.
        size: of the file, in bytes.
        scans: how often a decoder goes over the pixels.
    """
    pixels = width * height
    few_bytes = pixels > SMALL and pixels > PIXELS_PER_BYTE * size
    return few_bytes or pixels > LARGE or pixels * scans > 10 * LARGE


def _check_plausible(
    width: int, height: int, bytes_per_pixel: float, size: int, ratio: int
) -> None:
    needed = width * height * bytes_per_pixel
    if width * height > SMALL and needed > ratio * size:
        raise PixelError(
            f"the file is cut short or damaged ({width}x{height} pixels do not fit in "
            f"{size:,} bytes); copy it again from its source"
        )


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
