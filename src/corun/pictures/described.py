"""Descriptions inside a picture file that may no longer be true of the result: XMP, layouts."""

from __future__ import annotations

import json
import re

_ORIENTATIONS = (
    re.compile(rb"(tiff:Orientation\s*=\s*[\"'])\d"),
    re.compile(rb"(<tiff:Orientation[^>]*>\s*)\d"),
)
_OTHER_PARTS = (b"hdrgm:", b"HDRGainMap", b"Container:", b"MotionPhoto", b"MicroVideo", b"GDepth:")
"""XMP that tells where in the file a gain map, a film or a depth map lies."""

XMP_LOST = "its XMP describes a gain map, a film or a depth map, and was not kept"


def upright_xmp(xmp: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
    """The XMP of a picture that was turned upright and stands alone in its file, and notes."""
    if xmp is None or any(part in xmp for part in _OTHER_PARTS):
        return None, () if xmp is None else (XMP_LOST,)
    for stated in _ORIENTATIONS:
        xmp = stated.sub(rb"\g<1>1", xmp)
    return xmp, ()


def is_structural(description: object) -> str | None:
    """A note on an ImageDescription that tells the layout of a stack; None if it tells no such.

    tifffile's, which tells only a shape, is dropped with an empty note: nothing of it is missed.
    """
    if not isinstance(description, str):
        return None
    if description.startswith("ImageJ="):
        return "its ImageJ description, of the stack's layout, was not kept"
    if description.startswith("<") and "<OME" in description[:1000]:
        return "its OME description, of the stack's layout, was not kept"
    if not description.startswith("{"):
        return None
    try:
        layout = json.loads(description)
    except (ValueError, RecursionError):
        return None
    if not isinstance(layout, dict) or "shape" not in layout:
        return None
    return "" if len(layout) == 1 else "its tifffile description, of a layout, was not kept"
