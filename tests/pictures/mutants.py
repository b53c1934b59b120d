"""Damaged files by the hundred: each read, worked on and written again, in one process per kind.

As a program: `mutants.py KIND FIRST COUNT` prints a JSON line for each mutant that neither came
through nor was refused by name, and a last line with what all of them took.
"""

from __future__ import annotations

import io
import json
import re
import resource
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageCms

from corun.errors import CorunError, ImageFileError
from corun.pictures.formats import FORMAT_OF_READ
from corun.pictures.metadata import PictureMetadata
from corun.pictures.png_chunks import PNG_SIGNATURE
from corun.pictures.reading import read_picture
from corun.pictures.working import stored_like, working_colours
from corun.pictures.writing import encode_picture
from sample_pictures import gradient, pil_picture

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)


def _metadata() -> PictureMetadata:
    exif = Image.Exif()
    exif[0x010F] = "Hazelblad"
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2024:11:05 07:30:00"
    exif.get_ifd(0x8769)[0x927C] = bytes(range(200))
    exif.get_ifd(0x8825)[2] = (12.0, 30.0, 1.5)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"></x:xmpmeta>'
    return PictureMetadata(exif=exif.tobytes(), icc=icc, xmp=xmp, dpi=(300.0, 300.0))


def _encoded(image: Image.Image | np.ndarray, file_format: str, **encoding: str | bool) -> bytes:
    metadata = _metadata()
    metadata = PictureMetadata(
        exif=metadata.exif, icc=metadata.icc, xmp=metadata.xmp, dpi=metadata.dpi, encoding=encoding
    )
    return encode_picture(image, metadata, file_format)[0]


def _tiff(samples: np.ndarray, **options: object) -> bytes:
    with io.BytesIO() as file:
        tifffile.imwrite(file, samples, **options)
        return file.getvalue()


def run_length_bmp(width: int = 40, height: int = 30) -> bytes:
    """A BMP of 8 bits with runs (RLE8), which Pillow reads and does not write."""
    rows = b"".join(
        bytes([width // 2, y, width - width // 2, 255 - y, 0, 0]) for y in range(height)
    )
    palette = b"".join(bytes([i, 255 - i, i // 2, 0]) for i in range(256))
    offset = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
    start = b"BM" + struct.pack("<IHHI", offset + len(rows) + 2, 0, 0, offset)
    return start + header + palette + rows + b"\0\1"


KINDS = {
    "jpeg": lambda: _encoded(pil_picture("RGB", 61, 83), "JPEG"),
    "progressive": lambda: _encoded(pil_picture("CMYK", 61, 83), "JPEG", progressive=True),
    "png": lambda: _encoded(pil_picture("P", 61, 83), "PNG"),
    "png16": lambda: _encoded(gradient(61, 83, 4, "uint16"), "PNG"),
    "webp": lambda: _encoded(pil_picture("RGBA", 61, 83), "WEBP"),
    "tiff": lambda: _encoded(pil_picture("RGB", 61, 83), "TIFF", compression="tiff_lzw"),
    "tiff16": lambda: _encoded(gradient(61, 83, 3, "uint16"), "TIFF"),
    "tiff tiled": lambda: _tiff(
        gradient(64, 96, 4, "float32"), tile=(16, 16), compression="zlib", photometric="rgb"
    ),
    "bmp": lambda: _encoded(pil_picture("RGB", 61, 83), "BMP"),
    "bmp runs": run_length_bmp,
    "avif": lambda: _encoded(pil_picture("RGBA", 61, 83), "AVIF"),
    "heic": lambda: _encoded(pil_picture("RGB", 61, 83), "HEIF"),
}


def mutant(original: bytes, seed: int) -> bytes:
    """The file with one to four places changed."""
    draw = np.random.default_rng(seed)
    data = bytearray(original)
    for _ in range(int(draw.integers(1, 5))):
        # Half of the changes fall into what tells the decoder how to go on.
        reach = len(data) if draw.random() < 0.5 else min(len(data), 600)
        at = int(draw.integers(0, max(1, reach)))
        match int(draw.integers(0, 7)):
            case 0:
                data[at : at + 1] = bytes([data[at] ^ (1 << int(draw.integers(0, 8)))])
            case 1:
                data[at : at + 4] = draw.bytes(4)
            case 2 | 3:
                size, value = int(draw.choice([2, 4])), int(draw.choice(EXTREMES))
                order = "big" if draw.random() < 0.5 else "little"
                data[at : at + size] = (value & (256**size - 1)).to_bytes(size, order)
            case 4:
                del data[at : at + int(draw.integers(1, 64))]
            case 5:
                data[at:at] = data[at : at + int(draw.integers(1, 64))]
            case _:
                del data[max(1, at) :]
    # A PNG whose checksums are wrong is refused at once; half of them are made right again.
    return _with_checksums(bytes(data)) if draw.random() < 0.5 else bytes(data) or b"\0"


def _with_checksums(data: bytes) -> bytes:
    if not data.startswith(PNG_SIGNATURE):
        return data or b"\0"
    at, mended = len(PNG_SIGNATURE), bytearray(data)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(mended)


def work_on(data: bytes) -> str | None:
    """None where the file came through or was refused by name, else what escaped."""
    try:
        picture = read_picture(data, name="mutant")
        shown = working_colours(picture)
        own = picture.metadata.format or "PNG"
        file_format = FORMAT_OF_READ.get(own, own)
        encode_picture(stored_like(shown, picture), picture.metadata, file_format)
    except ImageFileError as error:
        text = str(error)
        return None if "\n" not in text else f"more than one line: {text}"
    except CorunError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def peak_bytes() -> int:
    """The most that this process or one it waited for has held."""
    own = int(
        re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))[1]
    )
    return 1024 * max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def main() -> None:
    kind, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    original, slowest = KINDS[kind](), 0.0
    assert work_on(original) is None
    for seed in range(first, first + count):
        start = time.perf_counter()
        print(json.dumps({"begun": seed}), flush=True)
        escaped = work_on(mutant(original, seed))
        slowest = max(slowest, time.perf_counter() - start)
        if escaped is not None:
            print(json.dumps({"seed": seed, "escaped": escaped}), flush=True)
    print(json.dumps({"slowest": slowest, "peak": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
