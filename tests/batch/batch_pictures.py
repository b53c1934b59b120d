"""Small pictures as the bytes of files, and what a batch wrote of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from sample_pictures import pil_picture


def jpeg(height: int = 24, width: int = 32) -> bytes:
    with io.BytesIO() as file:
        pil_picture("RGB", height, width).save(file, "JPEG")
        return file.getvalue()


def manifest(folder: Path) -> list[dict[str, Any]]:
    parts = sorted((folder / "_manifest").glob("*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]
