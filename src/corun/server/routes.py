"""The routes of the service, those of batches aside."""

from __future__ import annotations

import asyncio
import hmac
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from corun.pictures.writing import DEFAULT_QUALITY
from corun.server.bodies import (
    FORM,
    MEDIA_TYPES,
    RAW,
    UNLABELLED,
    HeldBytes,
    RefusedError,
    accepted_formats,
    media_type,
)
from corun.server.engine import Answer, BusyError, Engine, Job, Order
from corun.server.observation import ServiceMetrics
from corun.server.replies import BINARY, DEHAZED, REFUSALS, facts_of, told


class Model(BaseModel):
    """A model that is loaded."""

    name: str
    default: bool
    device: str


PICTURE_FORM = {
    "schema": {
        "type": "object",
        "required": ["picture"],
        "properties": {"picture": {"type": "string", "format": "binary"}},
    }
}
Strength = Annotated[
    float, Query(ge=0, le=1, description="How much of the haze goes.", examples=[1.0, 0.7])
]
Quality = Annotated[
    int, Query(ge=1, le=100, description="Of JPEG, WebP, AVIF and HEIC.", examples=[95])
]
ModelName = Annotated[
    str | None,
    Query(description="One of /v1/models; the first of them without.", examples=["corun-lite"]),
]

router = APIRouter()


def require_key(request: Request) -> None:
    """Refuses a request without the service's API key, if it has one; in constant time."""
    wanted: bytes | None = request.app.state.key
    if wanted is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        given = request.headers.get("x-api-key", "")
    # Latin-1 gives back the bytes that came, which are the key's in UTF-8.
    if not hmac.compare_digest(sha256(given.strip().encode("latin-1")).digest(), wanted):
        raise RefusedError(401, "send the API key: Authorization: Bearer KEY, or X-API-Key: KEY")


@router.post(
    "/v1/dehaze",
    tags=["pictures"],
    response_class=Response,
    responses=DEHAZED,
    dependencies=[Depends(require_key)],
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The picture's file itself, or a form with one file.",
            "content": {
                **dict.fromkeys((*MEDIA_TYPES.values(), RAW), BINARY),
                FORM: PICTURE_FORM,
            },
        }
    },
)
async def dehaze(
    request: Request,
    strength: Strength = 1.0,
    model: ModelName = None,
    transmission: Annotated[
        bool, Query(description="The transmission map instead: 16-bit grey, white is 1.")
    ] = False,
    quality: Quality = DEFAULT_QUALITY,
) -> Response:
    """Take the haze out of one picture.

    It comes back in its own format, with its EXIF, colour profile, transparency and bit depth, or
    in the format that `Accept` asks for.

        curl --data-binary @photo.jpg -o clear.jpg \\
            http://127.0.0.1:8000/v1/dehaze
    """
    engine = engine_of(request)
    kind = media_type(request)
    if kind not in (*UNLABELLED, FORM) and not kind.startswith("image/"):
        raise RefusedError(415, "send a picture, or a form (multipart/form-data) with one")
    formats = accepted_formats(request.headers.get("accept"))
    chosen = chosen_model(engine, model)
    engine.refuse_if_busy()
    held: HeldBytes = request.app.state.held
    async with held.files_of(request, engine.limits.body_bytes) as files:
        if len(files) != 1:
            raise RefusedError(422, "the form holds no file; name its field: picture")
        order = Order(
            files[0].content, chosen, files[0].name, strength, quality, formats, transmission
        )
        answer = await answered(request, engine, engine.submit(order))
    request.state.facts = facts_of(answer)
    return Response(
        answer.content, media_type=MEDIA_TYPES[answer.file_format], headers=told(answer, chosen)
    )


@router.get("/v1/models", tags=["service"], dependencies=[Depends(require_key)])
async def models(request: Request) -> list[Model]:
    """The models that are loaded; the default first."""
    engine = engine_of(request)
    return [
        Model(name=name, default=name == engine.default, device=str(batches.dehazer.device))
        for name, batches in engine.batches.items()
    ]


@router.get("/healthz", tags=["service"])
async def health() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "alive"}


@router.get("/readyz", tags=["service"], responses={503: REFUSALS[503]})
async def readiness(request: Request) -> dict[str, str]:
    """Whether a picture that came now would be taken: models loaded, queue not full."""
    engine = engine_of(request)
    engine.refuse_if_busy()
    return {"status": "ready"}


@router.get(
    "/metrics",
    tags=["service"],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Counters in the text format of Prometheus."""
    counted: ServiceMetrics = request.app.state.metrics
    return Response(counted.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def engine_of(request: Request) -> Engine:
    """The engine of the application.

    Raises:
        BusyError: its models are still being loaded.
    """
    engine: Engine | None = request.app.state.engine
    if engine is None:
        raise BusyError("the models are being loaded; try again in a moment", 2)
    return engine


def chosen_model(engine: Engine, name: str | None) -> str:
    """The model that is asked for.

    Raises:
        RefusedError: it is not loaded here.
    """
    if name is None:
        return engine.default
    if name not in engine.batches:
        known = ", ".join(engine.batches)
        raise RefusedError(422, f"no model of that name is loaded here; choose one of: {known}")
    return name


async def answered(request: Request, engine: Engine, job: Job) -> Answer:
    """Waits for an answer as long as the client does, and within the limit of seconds.

    Raises:
        ClientDisconnect: the client left; its picture is abandoned.
        BusyError: it took too long.
    """
    future = asyncio.wrap_future(job.future)
    gone = asyncio.ensure_future(_gone(request))
    pending: set[asyncio.Future[Any]] = {future, gone}
    try:
        done, _ = await asyncio.wait(
            pending, timeout=engine.limits.seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if future in done:
            return future.result()
        if gone in done:
            raise ClientDisconnect
        raise BusyError(
            f"took more than {engine.limits.seconds:g} s; try again later", engine.retry_after()
        )
    finally:
        gone.cancel()
        if not future.done():
            job.abandon()
            future.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
