"""The pictures participants see: bare 8-bit pixels, upright, with nothing that names them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from corun.pictures.colours import read_eight_bit


def shown_png(path: Path) -> bytes:
    """The pixels alone: a file's name, format or metadata could tell the method.

    Raises:
        ImageFileError: as `read_eight_bit`.
    """
    buffer = io.BytesIO()
    Image.fromarray(read_eight_bit(path)[0]).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
