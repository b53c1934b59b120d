"""Receiving files, never more bytes than allowed: pictures in memory, films on the disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from corun.errors import CorunError
from corun.pictures.formats import SUFFIX_OF_FORMAT

FORM = "multipart/form-data"
RAW = "application/octet-stream"
UNLABELLED = ("", RAW, "application/x-www-form-urlencoded")
"""Labels that say nothing: none, that of any bytes, and what curl puts on --data-binary."""

ZIP_TYPES = ("application/zip", "application/x-zip-compressed")

MEDIA_TYPES = {
    **{name: f"image/{name.lower()}" for name in SUFFIX_OF_FORMAT},
    "HEIF": "image/heic",
}
"""Pillow's name of a format to its media type."""

WRITTEN_AT_ONCE = 1024 * 1024

FORMAT_OF_TYPE = {
    **{media_type: name for name, media_type in MEDIA_TYPES.items()},
    **{"image/heif": "HEIF", "image/jpg": "JPEG", "image/tif": "TIFF", "image/x-ms-bmp": "BMP"},
}


class RefusedError(CorunError):
    """A request that cannot be answered.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Upload(NamedTuple):
    """A file that came.

    Attributes:
        name: as its sender calls it, or "the picture".
        content: all of it.
    """

    name: str
    content: bytes


class HeldBytes:
    """How many bytes of requests a server holds, and may hold, at a time.

    Args:
        most: allowed.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    @asynccontextmanager
    async def files_of(
        self, request: Request, most: int, *, files: int = 1
    ) -> AsyncIterator[list[Upload]]:
        """The files of a request: its body, or those of its form; counted while they are used.

        Args:
            request: its body not read yet.
            most: bytes allowed.
            files: of a form, at most.

        Raises:
            RefusedError: too long, or a form that is none.
        """
        refuse_by_head(request, most)
        count = 0

        async def chunks() -> AsyncGenerator[bytes, None]:
            nonlocal count
            async for chunk in request.stream():
                count += len(chunk)
                self.held += len(chunk)
                if count > most:
                    raise RefusedError(413, _too_long(most))
                if self.held > self.most:
                    raise RefusedError(503, "too many uploads at a time; try again later")
                yield chunk

        try:
            stream = chunks()
            if media_type(request) != FORM:
                yield [Upload("the picture", b"".join([chunk async for chunk in stream]))]
            else:
                parser = MultiPartParser(request.headers, stream, max_files=files, max_fields=20)
                parser.spool_max_size = most + 1  # in memory: a read-only disk is no obstacle
                try:
                    form = await parser.parse()
                except MultiPartException as error:
                    raise RefusedError(422, f"the form cannot be read: {error.message}") from error
                yield list(_files_in(form.multi_items()))
        finally:
            self.held -= count


async def to_file(request: Request, path: Path, most: int) -> None:
    """Writes a body to a file, as it comes, and makes sure that it is on the disk.

    Raises:
        RefusedError: too long.
        OSError: the disk is full.
    """
    refuse_by_head(request, most)
    count = 0
    with await asyncio.to_thread(path.open, "xb") as stream:
        waiting = bytearray()
        async for chunk in request.stream():
            count += len(chunk)
            if count > most:
                raise RefusedError(413, _too_long(most))
            waiting += chunk
            if len(waiting) >= WRITTEN_AT_ONCE:
                await asyncio.to_thread(stream.write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(stream.write, bytes(waiting))
        await asyncio.to_thread(stream.flush)
        await asyncio.to_thread(os.fsync, stream.fileno())


def stated_length(request: Request) -> int:
    """The bytes that a request states; 0 for none."""
    stated = request.headers.get("content-length", "")
    return int(stated) if stated.isdecimal() else 0


def refuse_by_head(request: Request, most: int) -> None:
    """
    Raises:
        RefusedError: it states more bytes than are allowed, or is compressed.
    """
    if stated_length(request) > most:
        raise RefusedError(413, _too_long(most))
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(415, "send the file itself, without a Content-Encoding")


def media_type(request: Request) -> str:
    """The media type of a body, in lower case, without parameters; "" where none is stated."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def accepted_formats(accept: str | None) -> tuple[str, ...]:
    """The formats that an `Accept` header rates highest; empty where the picture's own is one.

    Raises:
        RefusedError: it names none that is written.
    """
    if not accept or not accept.strip():
        return ()
    rated: dict[str, float] = {}
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        name = "" if kind in ("*/*", "image/*") else FORMAT_OF_TYPE.get(kind)
        if name is not None:
            rated[name] = max(rated.get(name, 0.0), _quality_of(parameters))
    best = max(rated.values(), default=0.0)
    if best <= 0:
        written = ", ".join(MEDIA_TYPES.values())
        raise RefusedError(406, f"Accept names no format that is written here: {written}")
    names = tuple(name for name, quality in rated.items() if quality == best)
    return () if "" in names else names


def _quality_of(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0


def _files_in(items: list[tuple[str, UploadFile | str]]) -> Iterator[Upload]:
    for _, value in items:
        if isinstance(value, UploadFile):
            yield Upload(value.filename or "the picture", value.file.read())
            value.file.close()


def _too_long(most: int) -> str:
    return f"the request is longer than the {most:,} bytes that are taken here"
