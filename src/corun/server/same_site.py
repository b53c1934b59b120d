"""Keeping other sites' pages out: `Host` against rebound names, `Origin` against foreign forms."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

CONFINED = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
"""Headers that keep a page to itself, beside its content security policy."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class SameSite:
    """ASGI middleware that refuses what another site's page makes a browser send.

    A writing request that states an `Origin` must come from the host it is sent to, or from an
    origin that is named. Where a page is served, `Host` must be an address, this machine's name,
    or a name that is given: a foreign name that was made to point here is none of these.

    Args:
        app: what answers.
        origins: that may write; "*" is all.
        hosts: names that the page may be called by; None checks no name (no page is served).
    """

    def __init__(
        self, app: ASGIApp, origins: Collection[str] = (), hosts: Collection[str] | None = None
    ) -> None:
        self.app = app
        self.origins = {origin.rstrip("/").lower() for origin in origins}
        self.hosts = None if hosts is None else {*map(str.lower, hosts), *own_names()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, or answers 403 or 421."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host = headers.get("host", "").lower()
            if self.hosts is not None and not self._is_ours(host):
                name = _hostname(f"//{host}")
                answer = refusal(421, f"this server is not called {name!r}; see --host-name")
                await answer(scope, receive, send)
                return
            if scope["method"] not in SAFE_METHODS and not self._may_write(headers, host):
                answer = refusal(403, "another site may not write here; see --allow-origin")
                await answer(scope, receive, send)
                return
            if not self._is_named(headers.get("origin", "")):
                # What is below answers nobody's origin: Gradio would echo any.
                # In place: who observes the request learns its route from the same scope.
                scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"origin"]
        await self.app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name = _hostname(f"//{host}")
        if not name:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return self.hosts is not None and ("*" in self.hosts or name in self.hosts)
        return True

    def _is_named(self, origin: str) -> bool:
        return "*" in self.origins or origin.rstrip("/").lower() in self.origins

    def _may_write(self, headers: Headers, host: str) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site") != "cross-site"
        if self._is_named(origin):
            return True
        try:
            place = urlsplit(origin.lower()).netloc
        except ValueError:
            return False
        return bool(place) and place == host


def own_names() -> set[str]:
    """What this machine is called, on itself and on its network."""
    name = socket.gethostname().lower()
    return {"localhost", name, name.partition(".")[0], f"{name.partition('.')[0]}.local"}


def refusal(status: int, message: str) -> JSONResponse:
    """An answer in the form of all refusals."""
    return JSONResponse({"error": message}, status)


def _hostname(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
