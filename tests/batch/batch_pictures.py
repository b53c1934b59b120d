"""Small pictures as the bytes of files."""

from __future__ import annotations

import io

from sample_pictures import pil_picture


def jpeg(height: int = 24, width: int = 32) -> bytes:
    with io.BytesIO() as file:
        pil_picture("RGB", height, width).save(file, "JPEG")
        return file.getvalue()
