"""Files that promise more than anybody decodes are refused by their headers."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corun.errors import ImageFileError
from corun.pictures import limits
from corun.pictures.limits import check_size, free_memory
from corun.pictures.metadata import PictureMetadata
from corun.pictures.pixels import PixelError
from corun.pictures.reading import read_picture
from corun.pictures.tiff_header import read_tiff_header
from corun.pictures.writing import encode_picture


def hostile_tiff(**changes: int) -> bytes:
    """A TIFF of a few hundred bytes with any numbers in its directory."""
    tags = {"width": 256, "length": 257, "bits": 258, "compression": 259, "photometric": 262}
    tags |= {"offset": 273, "samples": 277, "rows": 278, "count": 279, "planar": 284}
    tags |= {"tile_width": 322, "tile_length": 323, "tile_offset": 324, "tile_count": 325}
    tags |= {"sample_format": 339, "depth": 32997, "tile_depth": 32998}
    values = {"width": 16, "length": 16, "bits": 16, "compression": 8, "photometric": 1}
    values |= {"samples": 1, "planar": 1}
    if "tile_width" not in changes:
        values |= {"offset": 400, "rows": 16, "count": 300}
    values |= changes
    entries = sorted((tags[name], value) for name, value in values.items())
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    content = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + body + bytes(4)
    return content.ljust(720, b"\0")


TILES = {"tile_width": 60_000, "tile_length": 60_000, "tile_offset": 400, "tile_count": 300}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"depth": 100_000}, "a volume of 100000 planes"),
        (TILES, "60000x60000 is 3,600,000,000 pixels, above the limit"),
        ({"samples": 50_000}, "50000 samples per pixel are no photo"),
        ({"width": 70_000, "length": 70_000, "rows": 70_000}, "4,900,000,000 pixels"),
        ({**TILES, "tile_width": 16, "tile_length": 16, "tile_depth": 9000}, "a volume of 9000"),
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_a_small_tiff_of_gigabytes_is_refused_before_it_is_decoded(
    changes: dict[str, int], told: str, bits: int, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.tif"
    path.write_bytes(hostile_tiff(bits=bits, **changes))
    with pytest.raises(ImageFileError, match=rf"hostile\.tif: .*{told}"):
        read_picture(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_refusing_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "hostile.tif"
    path.write_bytes(hostile_tiff(depth=10_000, width=2000, length=2000))
    program = (
        "import re, sys; from pathlib import Path\n"
        "from corun.errors import ImageFileError\n"
        "from corun.pictures.reading import read_picture\n"
        "try: read_picture(Path(sys.argv[1]))\n"
        # Not getrusage: its peak begins with that of the process that started this one.
        "except ImageFileError:\n"
        "    print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 300_000  # kB


def test_more_than_the_free_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content, _ = encode_picture(
        Image.fromarray(np.zeros((100, 100, 3), np.uint8)), PictureMetadata(), "PNG"
    )
    monkeypatch.setattr(limits, "free_memory", lambda: 79_999)
    with pytest.raises(ImageFileError, match=r"100x100 pixels take .* to decode, and .* are free"):
        read_picture(content, name="p.png")
    monkeypatch.setattr(limits, "free_memory", lambda: 80_000)
    assert read_picture(content).image.size == (100, 100)


def test_depth_and_frames_count() -> None:
    check_size(10, 10, max_pixels=600, depth=2, frames=3)
    with pytest.raises(PixelError, match="10x10 is 600 pixels"):
        check_size(10, 10, max_pixels=599, depth=2, frames=3)


def test_free_memory_is_what_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:     500 kB\n")
    monkeypatch.setattr(limits, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(limits, "_CONTAINER", tmp_path)
    assert free_memory() == 500 * 1024
    for name, text in (("max", "9000"), ("current", "6000"), ("stat", "anon 5\ninactive_file 400")):
        (tmp_path / f"memory.{name}").write_text(text + "\n")
    assert free_memory() == 9000 - 6000 + 400
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() == 500 * 1024


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_header_is_read_in_either_order(order: str) -> None:
    entries = [(256, 3, 1, 7), (257, 4, 1, 5), (277, 3, 1, 1)]
    body = b""
    for tag, kind, number, value in entries:
        stored = struct.pack(f"{order}{'H' if kind == 3 else 'I'}", value).ljust(4, b"\0")
        body += struct.pack(f"{order}HHI", tag, kind, number) + stored
    start = b"II*\0" if order == "<" else b"MM\0*"
    header = read_tiff_header(start + struct.pack(f"{order}IH", 8, len(entries)) + body + bytes(4))
    assert header is not None
    assert header.decoded_size == (7, 5, 1)
    assert read_tiff_header(start + b"\0\0") is None
    assert read_tiff_header(b"\x89PNG") is None
