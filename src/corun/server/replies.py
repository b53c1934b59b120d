"""What a service says: headers beside a picture, refusals in words, and the status of each."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from corun.errors import CorunError, DeviceError, MissingExtraError
from corun.pictures.limits import TooLargeError
from corun.server.bodies import MEDIA_TYPES, RefusedError
from corun.server.engine import Answer, BusyError
from corun.server.same_site import refusal


class Problem(BaseModel):
    """Every refusal."""

    error: str


BINARY = {"schema": {"type": "string", "format": "binary"}}
EVERY_REFUSAL: dict[int | str, dict[str, Any]] = {
    status: {
        "model": Problem,
        "description": description,
        "content": {"application/json": {"example": {"error": example}}},
    }
    for status, description, example in (
        (400, "A request that is cut short.", "the request ended too soon"),
        (401, "No or a wrong API key.", "send the API key: Authorization: Bearer KEY"),
        (403, "Sent by another site's page.", "another site may not write here"),
        (404, "No such job, or its time is over.", "there is no job of that id, or no more"),
        (406, "No format in Accept is written.", "Accept names no format that is written here"),
        (408, "It took too long to arrive.", "the request took too long to arrive"),
        (409, "The job has no result yet, or none ever.", "the film is not done yet"),
        (413, "Too many bytes or pixels.", "the request is longer than 67,108,864 bytes"),
        (415, "Not the kind of body that is taken.", "send an image, or a form with a picture"),
        (422, "Cannot be read as a picture.", "photo.jpg: the file is cut short or damaged"),
        (500, "A bug of corun.", "unexpected error; the log of the server has it"),
        (501, "Films are not taken here.", str(MissingExtraError("PyAV", "video"))),
        (503, "Too busy; see Retry-After.", "too many pictures are waiting; try again later"),
    )
}
REFUSALS = {k: told for k, told in EVERY_REFUSAL.items() if k not in (404, 409, 501)}
"""Of pictures."""

DEHAZED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The clear picture, or its transmission map.",
        "content": dict.fromkeys(MEDIA_TYPES.values(), BINARY),
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in (
                ("X-Corun-Model", "What dehazed it."),
                ("X-Corun-Airlight", "The colour of the haze: R,G,B in [0,1]."),
                ("X-Corun-Notes", "What could not be kept: a JSON list of sentences."),
                ("Server-Timing", "Milliseconds by stage."),
            )
        },
    },
    **REFUSALS,
}


def facts_of(answer: Answer) -> dict[str, Any]:
    """What the log says of a picture."""
    width, height = answer.size
    timings = {name: round(seconds, 4) for name, seconds in answer.seconds.items()}
    return {"pixels": width * height, "timings": timings}


def told(answer: Answer, model: str) -> dict[str, str]:
    """The headers beside a picture."""
    headers = {"X-Corun-Model": model.encode("ascii", "backslashreplace").decode()}
    if answer.airlight is not None:
        headers["X-Corun-Airlight"] = ",".join(f"{value:.4f}" for value in answer.airlight)
    if answer.notes:
        headers["X-Corun-Notes"] = json.dumps(answer.notes)
    headers["Server-Timing"] = ", ".join(
        f"{name};dur={1000 * seconds:.1f}" for name, seconds in answer.seconds.items()
    )
    return headers


def status_of(error: CorunError) -> int:
    """The status that says whose fault an error is."""
    if isinstance(error, RefusedError):
        return error.status
    if isinstance(error, BusyError | DeviceError):
        return 503
    if isinstance(error, MissingExtraError):
        return 415
    return 413 if isinstance(error.__cause__, TooLargeError) else 422


def message_of(error: CorunError) -> str:
    """What is told of it: one line, without hints at options that a client does not have."""
    text = " ".join(str(error).split())
    cause = error.__cause__
    if isinstance(cause, TooLargeError):
        return text.partition("; if you trust it")[0].partition("; close other")[0]
    text = text.replace("choose another --format", "ask for another format with Accept")
    return re.sub(r"--([a-z])", r"\1", re.sub(r"--(tone|codec) (\w+)", r"\1=\2", text))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, CorunError)
    status = status_of(error)
    answer = refusal(status, message_of(error))
    if status == 503:
        answer.headers["Retry-After"] = str(
            error.retry_after if isinstance(error, BusyError) else 5
        )
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told_of = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
    return refusal(422, told_of)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _left(request: Request, error: Exception) -> Response:
    return refusal(499, "the client left")  # nobody reads it; the log has it


async def _unexpected(request: Request, error: Exception) -> Response:
    return refusal(500, "unexpected error; this is a bug of corun, the log of the server has it")


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    CorunError: _refused,
    RequestValidationError: _invalid,
    HTTPException: _http_error,
    ClientDisconnect: _left,
    Exception: _unexpected,
}
