"""The chunks of a PNG beside its pixels: read as they are, and put into another PNG (ISO 15948)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = 33
"""Where the chunks after the header begin."""

TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
PILLOW_TAKES, LONGEST = 1 << 20, 1 << 24
"""Bytes: the limit of Pillow's for an inflated text or profile, and ours."""

COMMENT_KEYWORD = b"Comment"
XMP_KEYWORD = b"XML:com.adobe.xmp"

Chunk = tuple[bytes, bytes]
"""Name and body."""


def chunk_bytes(name: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def chunks_of(data: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG up to its end or the first that is cut short, without its pixels'."""
    return (chunk for chunk in _all_chunks(data) if chunk[0] != b"IDAT")


def pixel_stream(data: bytes) -> bytes:
    """The compressed pixels of a PNG."""
    return b"".join(body for name, body in _all_chunks(data) if name == b"IDAT")


def _all_chunks(data: bytes) -> Iterator[Chunk]:
    at = len(PNG_SIGNATURE)
    while data.startswith(PNG_SIGNATURE) and at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IEND" or at + 12 + length > len(data):
            return
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def kept_chunks(data: bytes) -> tuple[Chunk, ...]:
    """Text and colour chunks of a PNG; XMP, which may state an orientation, is not among them."""
    return tuple(
        (name, body)
        for name, body in chunks_of(data)
        if name in COLOUR_CHUNKS or (name in TEXT_CHUNKS and not body.startswith(XMP_KEYWORD))
    )


def without_long_chunks(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """A PNG without texts and profiles that inflate to more than Pillow takes from a file.

    Returns:
        The PNG, and what Pillow would have found in them: its "icc_profile" and "xmp".
    """
    found: dict[str, bytes] = {}
    for name, body in chunks_of(data):
        content = _inflated(name, body)
        if PILLOW_TAKES < len(content) <= LONGEST:
            data = data.replace(chunk_bytes(name, body), b"", 1)
            if name == b"iCCP":
                found["icc_profile"] = content
            elif body.startswith(XMP_KEYWORD):
                found["xmp"] = content
    return data, found


def _inflated(name: bytes, body: bytes) -> bytes:
    """What is compressed in a chunk, as far as it is read; nothing where it is not."""
    _, _, rest = body.partition(b"\0")
    if name == b"iTXt" and rest[:1] == b"\1":
        rest = rest[1:2] + rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif name not in (b"zTXt", b"iCCP"):
        return b""
    with suppress(zlib.error):
        return zlib.decompressobj().decompress(rest[1:], LONGEST + 1)
    return b""


def comment_chunks(comment: object) -> tuple[Chunk, ...]:
    """The comment of a JPEG as the text chunk of that keyword."""
    body = comment.split(b"\0")[0] if isinstance(comment, bytes) else b""
    return ((b"tEXt", COMMENT_KEYWORD + b"\0" + body),) if body else ()


def comment_of(chunks: Iterable[Chunk]) -> bytes | None:
    """What `comment_chunks` made a chunk of, None where there is no such chunk."""
    start = COMMENT_KEYWORD + b"\0"
    found = (body for name, body in chunks if name == b"tEXt" and body.startswith(start))
    return next((body.removeprefix(start) for body in found), None)


def xmp_chunk(xmp: bytes) -> Chunk:
    """An XMP packet as a text chunk, uncompressed (XMP part 3, 1.1.5)."""
    return b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp


def keywords_of(chunks: Iterable[Chunk]) -> tuple[str, ...]:
    """The keywords of the text chunks ("Title"), each once."""
    words = (body.split(b"\0")[0].decode("latin-1") for name, body in chunks if name in TEXT_CHUNKS)
    return tuple(dict.fromkeys(words))


def with_chunks(png: bytes, chunks: Iterable[Chunk]) -> bytes:
    """A PNG with more chunks, put right after its header."""
    more = b"".join(chunk_bytes(*chunk) for chunk in chunks)
    return png[:HEADER_END] + more + png[HEADER_END:] if more else png
