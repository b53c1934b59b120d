"""Pictures of every mode, made from a formula."""

from __future__ import annotations

import numpy as np
from PIL import Image


def gradient(height: int, width: int, channels: int, dtype: str) -> np.ndarray:
    """A smooth picture that is different in every pixel, corner and channel."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    u, v = x / max(width - 1, 1), y / max(height - 1, 1)
    planes = [0.2 + 0.6 * u, 0.9 - 0.5 * v, 0.3 + 0.4 * u * v, 1 - 0.7 * u][:channels]
    picture = np.stack(planes, axis=-1)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return picture.astype(dtype)
    return np.rint(picture * np.iinfo(dtype).max).astype(dtype)


def pil_picture(mode: str, height: int = 17, width: int = 23) -> Image.Image:
    """The gradient in any Pillow mode; alpha, where there is one, takes many values."""
    if mode == "I;16":
        return Image.fromarray(gradient(height, width, 1, "uint16")[:, :, 0])
    if mode == "I":
        grey = gradient(height, width, 1, "uint16")[:, :, 0]
        return Image.fromarray(grey.astype(np.int32))
    if mode == "F":
        return Image.fromarray(gradient(height, width, 1, "float32")[:, :, 0])
    if mode == "CMYK":
        cmyk = gradient(height, width, 4, "uint8") // 2
        return Image.frombytes("CMYK", (width, height), cmyk.tobytes())
    if mode in ("RGBA", "LA"):
        rgba = Image.fromarray(gradient(height, width, 4, "uint8"))
        return rgba if mode == "RGBA" else rgba.convert("LA")
    rgb = Image.fromarray(gradient(height, width, 3, "uint8"))
    return rgb.quantize(200) if mode == "P" else rgb.convert(mode)
