"""The study's pages: what they tell, what they refuse; served as every page of corun is."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from corun.errors import CorunError
from corun.pictures.colours import read_eight_bit
from corun.server.limits import Limits
from corun.server.running import AppServer
from corun.server.same_site import CONFINED, SameSite
from corun.study.page import PAGE, POLICY, SCRIPT, STYLE
from corun.study.trials import HIGHEST, LOWEST, Study, Trial
from corun.study.votes import VoteStore

COOKIE = "participant"
YEAR = 31_536_000
MOST_BYTES = 4096
"""Of a request's body; answers are tiny."""

FIXED = {
    "/": ("text/html; charset=utf-8", PAGE),
    "/style.css": ("text/css; charset=utf-8", STYLE),
    "/study.js": ("text/javascript; charset=utf-8", SCRIPT),
    "/favicon.ico": ("image/x-icon", ""),
}

HEADERS = {
    "Content-Security-Policy": POLICY,
    **CONFINED,
    "Cache-Control": "no-store",  # a question's picture has the same address for everybody
}


class StudyServer(AppServer):
    """Serves one study.

    Args:
        study: what is asked.
        votes: where answers go; must belong to the study.
        host: where to listen.
        port: 0 for any free one; `url` says which.

    Raises:
        DeviceError: the port cannot be had.
    """

    def __init__(
        self, study: Study, votes: VoteStore, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        votes.bind(study)
        self.study = study
        self.votes = votes
        super().__init__(self._app(), host=host, port=port, limits=Limits(seconds=10.0))

    def state(self, token: str) -> dict[str, Any]:
        """What a participant sees next; nothing in it names a method."""
        trials = self.study.trials(token)
        answered = self.votes.answered(token)
        open_ones = [index for index, trial in enumerate(trials) if trial.key not in answered]
        state: dict[str, Any] = {
            "known": True,
            "mode": self.study.mode,
            "total": len(trials),
            "done": len(trials) - len(open_ones),
            "finished": not open_ones,
        }
        if open_ones:
            state["trial"] = open_ones[0]
            state["original"] = trials[open_ones[0]].photo in self.study.originals
        return state

    def _app(self) -> FastAPI:
        app = FastAPI(
            openapi_url=None,
            exception_handlers={
                HTTPException: _refused,
                **dict.fromkeys((CorunError, OSError, sqlite3.Error), _failed),
            },
        )
        for path in FIXED:
            app.add_api_route(path, _fixed)
        app.add_api_route("/api/state", self._state)
        app.add_api_route("/picture/{trial}/{side}", self._picture)
        app.add_api_route("/api/start", self._start, methods=["POST"])
        app.add_api_route("/api/vote", self._vote, methods=["POST"])
        app.add_middleware(SameSite, hosts=())
        return app

    def _state(self, request: Request) -> JSONResponse:
        token = self._token(request)
        return _told({"known": False} if token is None else self.state(token))

    async def _start(self, request: Request) -> JSONResponse:
        content = await _json_of(request)
        token, _ = await run_in_threadpool(self.votes.enrol, str(content.get("code", "")))
        answer = _told(await run_in_threadpool(self.state, token))
        answer.set_cookie(COOKIE, token, max_age=YEAR, httponly=True, samesite="strict")
        return answer

    async def _vote(self, request: Request) -> JSONResponse:
        return await run_in_threadpool(self._record, request, await _json_of(request))

    def _record(self, request: Request, content: dict[str, Any]) -> JSONResponse:
        token = self._participant(request)
        trial = self._trial(token, content.get("trial"))
        stored = self.votes.record(token, trial, self._value(content.get("value")))
        return _told({**self.state(token), "stored": stored})

    def _picture(self, request: Request, trial: str, side: str) -> Response:
        token = self._participant(request)
        asked = self._trial(token, _number(trial))
        study = self.study
        if side == "original" and asked.photo in study.originals:
            path = study.originals[asked.photo]
        elif (index := _number(side)) is not None and index < len(asked.methods):
            path = study.pictures[asked.photo][asked.methods[index]]
        else:
            raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such picture")
        return Response(shown_png(path), media_type="image/png", headers=HEADERS)

    def _token(self, request: Request) -> str | None:
        token = request.cookies.get(COOKIE)
        return token if token is not None and self.votes.knows(token) else None

    def _participant(self, request: Request) -> str:
        token = self._token(request)
        if token is None:
            raise HTTPException(HTTPStatus.FORBIDDEN, "begin first")
        return token

    def _trial(self, token: str, index: object) -> Trial:
        trials = self.study.trials(token)
        if type(index) is not int or not 0 <= index < len(trials):
            raise HTTPException(HTTPStatus.BAD_REQUEST, "there is no such question")
        return trials[index]

    def _value(self, value: object) -> float:
        allowed: tuple[float, ...] = (
            tuple(range(LOWEST, HIGHEST + 1)) if self.study.mode == "score" else (0, 0.5, 1)
        )
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "there is no such answer")
        return float(value)


def _fixed(request: Request) -> Response:
    kind, text = FIXED[request.url.path]
    status = HTTPStatus.OK if text else HTTPStatus.NO_CONTENT
    return Response(text or None, status, HEADERS, kind)


async def _json_of(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0]
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            break
    # another site's form cannot send JSON without asking first
    if kind != "application/json" or len(body) > MOST_BYTES:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "send a small JSON object")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:  # brackets in brackets in brackets …
        raise HTTPException(HTTPStatus.BAD_REQUEST, "that is no JSON") from error
    if not isinstance(content, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "send a JSON object")
    return content


def _told(content: dict[str, Any], status: int = HTTPStatus.OK) -> JSONResponse:
    return JSONResponse(content, status, HEADERS)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _told({"error": str(error.detail)}, error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    # whoever runs the study is told; the participant is not, since paths name methods
    print(f"corun: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    message = "the server cannot answer this now; please tell who runs the study"
    return _told({"error": message}, HTTPStatus.INTERNAL_SERVER_ERROR)


def _number(text: str) -> int | None:
    """A short decimal number; `str.isdigit` alone also takes ², which is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@lru_cache(maxsize=64)
def shown_png(path: Path) -> bytes:
    """The pixels alone: a file's name, format or metadata could tell the method.

    Raises:
        ImageFileError: as `read_eight_bit`.
    """
    buffer = io.BytesIO()
    Image.fromarray(read_eight_bit(path)[0]).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
