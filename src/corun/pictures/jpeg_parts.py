"""The parts of a JPEG beside its pixels: IPTC, what follows its end (ISO/IEC 10918-1, B).

JPEG decoders stop at the end marker and skip what they do not know; what that costs is told here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

START, END_MARKER = b"\xff\xd8", b"\xff\xd9"
SCAN, APP1, APP11, APP13 = 0xDA, 0xE1, 0xEB, 0xED
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP = b"Photoshop 3.0\0"
IPTC_RESOURCE = 0x0404
LARGEST_SEGMENT = 65533
"""Bytes a segment can hold (ISO/IEC 10918-1, B.1.1.4)."""

_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""In a scan: no stuffed zero and no restart marker."""

_FILLING = bytes((i * 89 + 53) % 255 for i in range(512))


@dataclass(frozen=True)
class JpegParts:
    """What stands beside the pixels.

    Attributes:
        iptc: the IPTC-IIM block, None where there is none.
        scans: how many passes over the picture there are.
        whole: whether the end marker is there.
        notes: what is not kept.
    """

    iptc: bytes | None = None
    scans: int = 0
    whole: bool = False
    notes: tuple[str, ...] = ()


def jpeg_parts(data: bytes) -> JpegParts:
    """Looks through the segments of a JPEG's first picture."""
    iptc, scans, end = None, 0, None
    notes: list[str] = []
    for marker, start, stop in _segments(data):
        body = data[start:stop]
        if marker == APP13 and body.startswith(PHOTOSHOP):
            iptc = iptc or _iptc_of(body)
        elif marker == APP1 and body.startswith(EXTENDED_XMP):
            notes.append("its extended XMP was not kept")
        elif marker == APP11 and b"c2pa" in body:
            notes.append("its content credentials (C2PA) were not kept: they are of the original")
        elif marker == SCAN:
            scans += 1
        elif marker == END_MARKER[1]:
            end = stop
    if end is not None:
        notes += _what_follows(data[end:])
    return JpegParts(iptc, scans, end is not None, tuple(dict.fromkeys(notes)))


def with_end(data: bytes) -> bytes | None:
    """A JPEG without its end marker, completed; None where more than the marker is missing.

    The picture is whole if what is put behind its last byte does not change it: a decoder that
    lacks data takes what it finds.
    """
    pictures = []
    for filling in (b"", _FILLING):
        with Image.open(io.BytesIO(data + filling + END_MARKER), formats=["JPEG"]) as image:
            pictures.append(np.asarray(image))
    plain, filled = pictures
    return data + END_MARKER if np.array_equal(plain, filled) else None


def iptc_segment(iptc: bytes) -> bytes:
    """A segment with an IPTC block, for Pillow's `extra`; empty where it is too long for one."""
    padded = iptc + bytes(len(iptc) % 2)
    head = PHOTOSHOP + b"8BIM" + IPTC_RESOURCE.to_bytes(2, "big") + b"\0\0"
    body = head + len(iptc).to_bytes(4, "big") + padded
    if len(body) > LARGEST_SEGMENT:
        return b""
    return bytes([0xFF, APP13]) + (len(body) + 2).to_bytes(2, "big") + body


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the body of each segment up to the end marker or the file's end."""
    at = len(START)
    while found := _NEXT_MARKER.search(data, at):
        marker, start = data[found.end() - 1], found.end()
        if marker == END_MARKER[1]:
            yield marker, start, start
            return
        stop = start + int.from_bytes(data[start : start + 2], "big")
        if stop > len(data) or stop < start + 2:
            return
        yield marker, start + 2, stop
        at = stop


def _iptc_of(body: bytes) -> bytes | None:
    """The IPTC resource among Photoshop's (each: 8BIM, number, padded name, length, content)."""
    at = len(PHOTOSHOP)
    while body[at : at + 4] == b"8BIM" and at + 12 <= len(body):
        number = int.from_bytes(body[at + 4 : at + 6], "big")
        at += 6 + (body[at + 6] + 2) // 2 * 2
        length = int.from_bytes(body[at : at + 4], "big")
        if number == IPTC_RESOURCE:
            return body[at + 4 : at + 4 + length]
        at += 4 + (length + 1) // 2 * 2
    return None


def _what_follows(rest: bytes) -> list[str]:
    """Notes on what stands behind the end marker: further pictures, a film, anything."""
    if START + b"\xff" in rest:
        return ["holds a second picture (a gain map, a depth map or a view), which was not kept"]
    if b"ftyp" in rest:
        return ["holds a film (a motion photo), which was not kept"]
    if rest.strip(b"\0"):
        return [f"{len(rest)} bytes behind the picture's end were not kept"]
    return []
