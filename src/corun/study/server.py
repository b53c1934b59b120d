"""The study's web server: the standard library, a thread for each request."""

from __future__ import annotations

import json
import sqlite3
import sys
from functools import lru_cache
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from corun.errors import CorunError, DeviceError
from corun.study.page import PAGE, POLICY, SCRIPT, STYLE
from corun.study.shown_pictures import shown_png
from corun.study.trials import HIGHEST, LOWEST, Study, Trial
from corun.study.votes import VoteStore

COOKIE = "participant"
MOST_BYTES = 4096
"""Of a request's body; answers are tiny."""


class _RefusedError(CorunError):
    """A request that cannot be answered, with its HTTP status."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class StudyServer(ThreadingHTTPServer):
    """Serves one study.

    Args:
        study: what is asked.
        votes: where answers go; must belong to the study.
        host: where to listen.
        port: 0 for any free one; `url` says which.

    Raises:
        DeviceError: the port cannot be had.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, study: Study, votes: VoteStore, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        votes.bind(study)
        self.study = study
        self.votes = votes
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DeviceError(
                f"{host}:{port}: cannot listen there ({reason}); choose another --port"
            ) from error

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

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


class _Handler(BaseHTTPRequestHandler):
    server: StudyServer
    protocol_version = "HTTP/1.1"
    server_version = "corun-study"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Who looked at what is nobody's business."""

    def _answer(self, method: Any) -> None:
        try:
            method(self._path())
        except _RefusedError as error:
            self._json({"error": str(error)}, error.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except (CorunError, OSError, sqlite3.Error) as error:
            # whoever runs the study is told; the participant is not, since paths name methods
            print(f"corun: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            message = "the server cannot answer this now; please tell who runs the study"
            self._json({"error": message}, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _path(self) -> str:
        try:
            return urlsplit(self.path).path
        except ValueError as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "that is no address") from error

    def _get(self, path: str) -> None:
        fixed = {
            "/": ("text/html; charset=utf-8", PAGE),
            "/style.css": ("text/css; charset=utf-8", STYLE),
            "/study.js": ("text/javascript; charset=utf-8", SCRIPT),
        }
        if path in fixed:
            kind, text = fixed[path]
            self._send(text.encode(), kind)
        elif path == "/favicon.ico":
            self._send(b"", "image/x-icon", HTTPStatus.NO_CONTENT)
        elif path == "/api/state":
            token = self._token()
            self._json({"known": False} if token is None else self.server.state(token))
        elif path.startswith("/picture/"):
            self._send(_kept_png(self._picture(path)), "image/png")
        else:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _post(self, path: str) -> None:
        content = self._body()
        if path == "/api/start":
            token, _ = self.server.votes.enrol(str(content.get("code", "")))
            cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
            self._json(self.server.state(token), cookie=cookie)
        elif path == "/api/vote":
            token = self._participant()
            trial = self._trial(token, content.get("trial"))
            value = self._value(content.get("value"))
            stored = self.server.votes.record(token, trial, value)
            self._json({**self.server.state(token), "stored": stored})
        else:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _picture(self, path: str) -> Path:
        parts = path.split("/")
        token = self._participant()
        trial = self._trial(token, _number(parts[2]))
        study = self.server.study
        if parts[3:] == ["original"] and trial.photo in study.originals:
            return study.originals[trial.photo]
        side = _number(parts[3]) if len(parts) == 4 else None
        if side is not None and side < len(trial.methods):
            return study.pictures[trial.photo][trial.methods[side]]
        raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such picture")

    def _token(self) -> str | None:
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return None
        if morsel is None or not self.server.votes.knows(morsel.value):
            return None
        return morsel.value

    def _participant(self) -> str:
        token = self._token()
        if token is None:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "begin first")
        return token

    def _trial(self, token: str, index: object) -> Trial:
        trials = self.server.study.trials(token)
        if type(index) is not int or not 0 <= index < len(trials):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "there is no such question")
        return trials[index]

    def _value(self, value: object) -> float:
        allowed: tuple[float, ...] = (
            tuple(range(LOWEST, HIGHEST + 1)) if self.server.study.mode == "score" else (0, 0.5, 1)
        )
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "there is no such answer")
        return float(value)

    def _body(self) -> dict[str, Any]:
        length = _number(self.headers.get("Content-Length", ""))
        kind = self.headers.get("Content-Type", "").partition(";")[0]
        # another site's form cannot send JSON without asking first
        if kind != "application/json" or length is None or length > MOST_BYTES:
            self.close_connection = True
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "send a small JSON object")
        try:
            content = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError) as error:  # brackets in brackets in brackets …
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "that is no JSON") from error
        if not isinstance(content, dict):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "send a JSON object")
        return content

    def _json(
        self, content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, cookie: str = ""
    ) -> None:
        self._send(json.dumps(content).encode(), "application/json", status, cookie)

    def _send(
        self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, cookie: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        # a question's picture has the same address for everybody
        self.send_header("Cache-Control", "no-store")
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(content)


def _number(text: str) -> int | None:
    """A short decimal number; `str.isdigit` alone also takes ², which is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@lru_cache(maxsize=64)
def _kept_png(path: Path) -> bytes:
    return shown_png(path)
