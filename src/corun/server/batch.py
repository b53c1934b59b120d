"""Many pictures in one request: a zip file or a form in, a zip file streamed out."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response, StreamingResponse

from corun.errors import CorunError, ImageFileError
from corun.pictures.formats import FORMAT_OF_SUFFIX, SUFFIX_OF_FORMAT
from corun.pictures.writing import DEFAULT_QUALITY
from corun.server.bodies import (
    FORM,
    UNLABELLED,
    ZIP_TYPES,
    HeldBytes,
    RefusedError,
    Upload,
    accepted_formats,
    media_type,
)
from corun.server.engine import BusyError, Engine, Job, Order
from corun.server.limits import Limits
from corun.server.replies import BINARY, REFUSALS, message_of
from corun.server.routes import (
    ModelName,
    Quality,
    Strength,
    answered,
    chosen_model,
    engine_of,
    require_key,
)

REPORT = "report.json"
DATE = (1980, 1, 1, 0, 0, 0)
"""Of every entry: the same pictures give the same zip file."""

ENTRY_MARK = b"PK\x01\x02"
"""Begins every entry of a zip file's index."""

ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError)
"""What a damaged or encrypted entry raises."""

router = APIRouter()


@router.post(
    "/v1/dehaze/batch",
    tags=["pictures"],
    response_class=Response,
    dependencies=[Depends(require_key)],
    responses={
        200: {
            "description": "The clear pictures under their own names, and report.json.",
            "content": {ZIP_TYPES[0]: BINARY},
        },
        **REFUSALS,
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A zip file of pictures, or a form with several files.",
            "content": {
                ZIP_TYPES[0]: BINARY,
                FORM: {
                    "schema": {
                        "type": "object",
                        "required": ["pictures"],
                        "properties": {
                            "pictures": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "string", "format": "binary"},
                            }
                        },
                    }
                },
            },
        }
    },
)
async def dehaze_batch(
    request: Request,
    strength: Strength = 1.0,
    model: ModelName = None,
    quality: Quality = DEFAULT_QUALITY,
) -> Response:
    """Take the haze out of many pictures.

    The zip file that comes back has each clear picture under its own name, as soon as it is
    done, and at last report.json: what became of each, why one could not be used, what was lost.

        curl --data-binary @photos.zip -o clear.zip \\
            http://127.0.0.1:8000/v1/dehaze/batch
    """
    engine = engine_of(request)
    kind = media_type(request)
    if kind not in (*ZIP_TYPES, *UNLABELLED, FORM):
        raise RefusedError(415, "send a zip file (application/zip), or a form with files")
    accept = request.headers.get("accept", "")
    images = ",".join(part for part in accept.split(",") if "image/" in part)
    formats = accepted_formats(images)
    chosen = chosen_model(engine, model)
    engine.refuse_if_busy()
    held: HeldBytes = request.app.state.held
    limits = engine.limits
    async with AsyncExitStack() as stack:
        files = await stack.enter_async_context(
            held.files_of(request, limits.batch_bytes, files=limits.batch_pictures)
        )
        if kind == FORM:
            inputs = _named_once(files)
        else:  # in a thread: an index of thousands takes its time
            inputs = await asyncio.to_thread(entries_of, files[0].content, limits)
        if not inputs:
            raise RefusedError(422, "there is no picture in it")
        template = Order(b"", chosen, "", strength, quality, formats)
        stream = _clear_zip(request, engine, inputs, template)
        stack.push_async_callback(stream.aclose)  # who leaves takes the work along at once
        first = await anext(stream)
        kept = stack.pop_all()

    async def body() -> AsyncIterator[bytes]:
        async with kept:
            yield first
            async for part in stream:
                yield part

    return StreamingResponse(body(), media_type=ZIP_TYPES[0])


class Entry:
    """A picture of a batch, read when its turn comes.

    Args:
        name: its path in the batch, safe to unpack.
        source: its bytes, or the zip file and the entry they are in.
        most: bytes it may have.
    """

    def __init__(
        self, name: str, source: bytes | tuple[zipfile.ZipFile, zipfile.ZipInfo], most: int
    ) -> None:
        self.name = name
        self._source = source
        self._most = most

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            ImageFileError: it is damaged, encrypted or too long.
        """
        if isinstance(self._source, bytes):
            return self._source
        archive, info = self._source
        try:
            with archive.open(info) as stream:
                content = stream.read(self._most + 1)
        except ZIP_DAMAGE as error:
            reason = " ".join(str(error).split())
            raise ImageFileError(f"{self.name}: cannot be unpacked ({reason})") from error
        if len(content) > self._most:  # whatever the archive states
            raise ImageFileError(f"{self.name}: is longer than {self._most:,} bytes")
        return content


def entries_of(content: bytes, limits: Limits) -> list[Entry]:
    """The pictures in a zip file; folders and what systems add are left out.

    Raises:
        RefusedError: it is no zip file, or has too many entries.
    """
    # Before they are read: an index of millions would take gigabytes.
    if content.count(ENTRY_MARK) > 10 * limits.batch_pictures:
        raise RefusedError(413, "too many entries in the zip file; send several batches")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        infos = archive.infolist()
    except (*ZIP_DAMAGE, ValueError) as error:
        raise RefusedError(422, "the zip file is damaged or none; make it again") from error
    wanted = [
        info
        for info in infos
        if not info.is_dir() and not any(map(_is_added, info.filename.split("/")))
    ]
    if len(wanted) > limits.batch_pictures:
        raise RefusedError(413, f"more than {limits.batch_pictures} pictures; send several batches")
    names = unique_names(info.filename for info in wanted)
    return [
        Entry(name, (archive, info), limits.body_bytes)
        for name, info in zip(names, wanted, strict=True)
    ]


def _is_added(part: str) -> bool:
    """Whether a part of a path is of what systems add to archives, or hidden."""
    return part == "__MACOSX" or (part.startswith(".") and part not in (".", ".."))


def _named_once(files: list[Upload]) -> list[Entry]:
    names = unique_names(file.name for file in files)
    return [Entry(name, file.content, 0) for name, file in zip(names, files, strict=True)]


def unique_names(names: Iterable[str]) -> list[str]:
    """Names that may be unpacked anywhere: no root, no way up, none twice."""
    safe: list[str] = []
    for index, name in enumerate(names):
        parts = ("".join(filter(str.isprintable, part)) for part in re.split(r"[/\\]", name))
        path = "/".join(p for p in parts if p not in ("", ".", "..") and not p.endswith(":"))
        path = path or f"picture-{index + 1}"
        while path in safe or path == REPORT:
            pure = PurePosixPath(path)
            path = str(pure.with_name(f"{pure.stem}-{index + 1}{pure.suffix}"))
        safe.append(path)
    return safe


class _Stream(io.RawIOBase):
    """What a zip file is written to: it keeps what was written until it is taken."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        content = b"".join(self.parts)
        self.parts.clear()
        return content


async def _clear_zip(
    request: Request, engine: Engine, inputs: list[Entry], template: Order
) -> AsyncGenerator[bytes, None]:
    """The zip file of the results, entry by entry, in the order of the inputs.

    Raises:
        RefusedError: none of the pictures can be used; nothing was yielded before.
    """
    report: list[dict[str, Any]] = []
    jobs: deque[tuple[str, Job | CorunError]] = deque()
    open_ones = iter(inputs)
    stream = _Stream()
    outputs: set[str] = set()
    try:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            while True:
                # As many at a time as there are threads: others are to be served meanwhile.
                while len(jobs) < engine.threads and (entry := next(open_ones, None)) is not None:
                    jobs.append((entry.name, await _submitted(engine, entry, template)))
                if not jobs:
                    break
                name, job = jobs.popleft()
                try:
                    if isinstance(job, CorunError):
                        raise job
                    answer = await answered(request, engine, job)
                except CorunError as error:
                    report.append({"input": name, "status": "failed", "error": message_of(error)})
                    continue
                output = _with_suffix(name, answer.file_format, outputs)
                outputs.add(output)
                archive.writestr(zipfile.ZipInfo(output, DATE), answer.content)
                notes = {"notes": list(answer.notes)} if answer.notes else {}
                report.append({"input": name, "status": "ok", "output": output, **notes})
                yield stream.take()
            if not outputs:
                raise RefusedError(422, report[0]["error"])
            text = json.dumps(report, indent=1, ensure_ascii=False)
            archive.writestr(zipfile.ZipInfo(REPORT, DATE), text)
        yield stream.take()
    finally:
        for _, job in jobs:
            if isinstance(job, Job):
                job.abandon()


async def _submitted(engine: Engine, entry: Entry, template: Order) -> Job | CorunError:
    """A job of the batch; waits where the queue is full, for a batch was accepted as a whole."""
    try:
        content = await asyncio.to_thread(entry.read)
    except CorunError as error:
        return error
    order = replace(template, content=content, name=entry.name)
    while True:
        try:
            return engine.submit(order, in_batch=True)
        except BusyError:
            await asyncio.sleep(0.05)


def _with_suffix(name: str, file_format: str, taken: set[str]) -> str:
    """The name, with the suffix of the format where it has another one's."""
    path = PurePosixPath(name)
    if FORMAT_OF_SUFFIX.get(path.suffix.lower()) != file_format:
        path = path.with_name(path.stem + SUFFIX_OF_FORMAT[file_format])
    while str(path) in taken:
        path = path.with_name(f"{path.stem}_{path.suffix}")
    return str(path)
