"""What lies where weights should be is named; junk is one line and no traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corun.errors import WeightsError
from corun.networks.checkpoints import load_network, read_pth

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (LFS, "is a Git-LFS pointer and not the file itself; fetch it with: git lfs pull"),
        (b"\n <!DOCTYPE html>\n<html>", "is a web page and not the file itself"),
        (b"\xef\xbb\xbf<html lang='en'>", "is a web page and not the file itself"),
    ],
)
def test_a_pointer_or_web_page_is_named(
    suffix: str, content: bytes, told: str, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"weights\{suffix}: {told}"):
        load_network(path)


def test_junk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "junk.pth"
    generator = np.random.default_rng(0)
    starts = (b"", b"\x80\x02", b"\x80\x02\x8a\x0a", b"PK\3\4", b"\x80\x02J", b"\x80\x02G\0\0")
    for number in range(300):
        start = starts[number % len(starts)]
        path.write_bytes(start + generator.bytes(int(generator.integers(0, 200))))
        with pytest.raises(WeightsError, match=r"junk\.pth: not a"):
            read_pth(path)
