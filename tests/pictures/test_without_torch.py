"""The door for pixels works where torch is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import numpy as np


class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("torch is not installed", name="torch")


sys.meta_path.insert(0, NoTorch())
from pathlib import Path
from corun.pictures.colours import read_colours, read_eight_bit
from corun.pictures.metadata import PictureMetadata
from corun.pictures.reading import read_picture, read_size
from corun.pictures.writing import encode_picture, write_encoded

folder = Path(sys.argv[1])
ramp = np.linspace(0, 1, 48 * 32 * 3).reshape(32, 48, 3)
for name, file_format, white, tolerance in (
    ("a.png", "PNG", 255, 0.002),
    ("a.jpg", "JPEG", 255, 0.02),
    ("a.tif", "TIFF", 65535, 1e-5),
):
    samples = np.rint(ramp * white).astype(np.uint8 if white == 255 else np.uint16)
    content, notes = encode_picture(samples, PictureMetadata(), file_format)
    write_encoded(folder / name, content, overwrite=False)
    assert notes == (), notes
    assert read_size(folder / name) == (48, 32)
    assert np.abs(read_colours(folder / name) - ramp).max() <= tolerance, name
    picture = read_picture(folder / name)
    again, _ = encode_picture(picture.image, picture.metadata, file_format)
    assert again
print(sorted(name for name in sys.modules if name.startswith("torch")))
"""


def test_pictures_are_read_and_written_without_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
