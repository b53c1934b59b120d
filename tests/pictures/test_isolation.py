"""What is large or looks like a bomb is decoded in a process that can be given up."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corun.errors import ImageFileError
from corun.pictures import isolation, limits
from corun.pictures.limits import is_suspect
from corun.pictures.metadata import PictureMetadata
from corun.pictures.png_chunks import with_chunks
from corun.pictures.reading import Picture, read_picture
from corun.pictures.writing import encode_picture
from sample_pictures import gradient, pil_picture


def in_a_process_of_its_own(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Picture:
    with monkeypatch.context() as patch:
        patch.setattr(limits, "LARGE", 0)
        return read_picture(content, name="picture")


@pytest.mark.parametrize(
    ("image", "file_format"),
    [
        (pil_picture("RGB"), "JPEG"),
        (pil_picture("P"), "PNG"),
        (gradient(17, 23, 4, "uint16"), "PNG"),
        (gradient(17, 23, 3, "float32"), "TIFF"),
    ],
)
def test_a_picture_comes_back_whole(
    image: Image.Image | np.ndarray,
    file_format: str,
    exif_block: bytes,
    srgb_profile: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = PictureMetadata(exif=exif_block, icc=srgb_profile)
    content, _ = encode_picture(image, metadata, file_format)
    here, there = read_picture(content), in_a_process_of_its_own(content, monkeypatch)
    assert there.metadata == here.metadata
    assert type(there.image).__name__ == type(here.image).__name__
    np.testing.assert_array_equal(np.asarray(there.image), np.asarray(here.image))
    assert encode_picture(there.image, there.metadata, file_format) == encode_picture(
        here.image, here.metadata, file_format
    )


def test_what_is_refused_there_is_refused_here(monkeypatch: pytest.MonkeyPatch) -> None:
    content, _ = encode_picture(pil_picture("RGB", 90, 120), PictureMetadata(), "PNG")
    with pytest.raises(ImageFileError, match="picture: the file is cut short or damaged"):
        in_a_process_of_its_own(content[:-200], monkeypatch)


def test_a_decoder_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), "PNG")
    monkeypatch.setattr(isolation, "SECONDS", 1.0)
    monkeypatch.setattr(isolation, "PROGRAM", "import time; time.sleep(60)")
    start = time.monotonic()
    with pytest.raises(ImageFileError, match="picture: it was given up after 1 seconds"):
        in_a_process_of_its_own(content, monkeypatch)
    assert time.monotonic() - start < 20


def test_a_decoder_that_crashes_takes_nobody_along(monkeypatch: pytest.MonkeyPatch) -> None:
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), "PNG")
    monkeypatch.setattr(isolation, "PROGRAM", "import os; os.abort()")
    with pytest.raises(ImageFileError, match="picture: its decoder ended without a word"):
        in_a_process_of_its_own(content, monkeypatch)


def test_a_program_without_an_interpreter_decodes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    content, _ = encode_picture(pil_picture("RGB"), PictureMetadata(), "PNG")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert in_a_process_of_its_own(content, monkeypatch).image.size == (23, 17)


def test_ordinary_photos_are_decoded_at_once() -> None:
    assert not is_suspect(6000, 4000, 3_000_000)
    assert not is_suspect(6000, 4000, 6_000_000, scans=10)
    assert not is_suspect(800, 800, 300)
    assert is_suspect(9000, 6000, 30_000_000)
    assert is_suspect(4000, 4000, 4000)
    assert is_suspect(3000, 2000, 2_000_000, scans=1000)


def hostile_bmp(size: int) -> bytes:
    """A kilobyte that asks for a picture of runs: Pillow goes through it pixel by pixel."""
    runs = b"\0\2\xff\0" * 256  # 255 pixels to the right, and again
    header = struct.pack("<IiiHHIIiiII", 40, size, size, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 2000, 0, 0, 1078) + header + bytes(1024) + runs


def test_a_kilobyte_of_runs_does_not_take_a_minute() -> None:
    start = time.monotonic()
    with pytest.raises(ImageFileError, match=r"bomb\.bmp: .*13000x13000 pixels do not fit in"):
        read_picture(hostile_bmp(13000), name="bomb.bmp")
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_libpng_and_libtiff_do_not_print(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    for number, image in enumerate((Image.fromarray(noise), noise.astype(np.uint16) * 257)):
        metadata = PictureMetadata(encoding={"compression": "tiff_adobe_deflate"})
        content = bytearray(encode_picture(image, metadata, kind)[0])
        content[3000:3100] = b"\xaa" * 100
        (tmp_path / f"{number}.bin").write_bytes(content)
    program = (
        "import sys; from pathlib import Path\n"
        "from corun.errors import ImageFileError\n"
        "from corun.pictures.reading import read_picture\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: read_picture(path)\n"
        "    except ImageFileError: print('refused')\n"
        "print('said', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stderr == "said\n"
    assert done.stdout == "refused\nrefused\n"


def test_libpng_has_no_word_about_odd_chunks(capfd: pytest.CaptureFixture[str]) -> None:
    samples = gradient(17, 23, 3, "uint16")
    content, _ = encode_picture(samples, PictureMetadata(), "PNG")
    picture = read_picture(with_chunks(content, [(b"sRGB", b"\x09")]))
    np.testing.assert_array_equal(picture.image, samples)
    assert capfd.readouterr().err == ""
