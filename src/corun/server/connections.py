"""HTTP connections with deadlines and a bound: uvicorn itself waits for ever for anybody.

A connection is idle, or receives a head, or receives a body, or is being answered. Receiving has
a deadline, which a body that keeps coming fast enough may pass; so has a client that does not read
its answer. Where there are more connections than
allowed, the one that has sent the least per second goes, so that those which open connections
and say nothing lock nobody out; one that is being answered never goes.
"""

from __future__ import annotations

import asyncio
import json
import time
from http import HTTPStatus
from typing import Any, Literal

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from corun.server.limits import Limits

Phase = Literal["idle", "head", "body", "answer"]


class BoundedConnection(H11Protocol):
    """One connection of a client.

    Args:
        config, server_state, app_state: uvicorn's.
        limits: of this server.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = limits
        self.deadline: asyncio.TimerHandle | None = None
        self.write_deadline: asyncio.TimerHandle | None = None
        self.watched: tuple[Phase, int] = ("idle", 0)
        self.since = time.monotonic()
        self.received = 0

    @property
    def phase(self) -> Phase:
        """What the connection is doing."""
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        if self.cycle is not None and not self.cycle.response_complete:
            return "answer"
        return "idle" if self.cycle is not None and self.received == 0 else "head"

    @property
    def rate(self) -> float:
        """Bytes that came per second of the present phase."""
        return self.received / (time.monotonic() - self.since + 1)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins the deadline of the first head, and makes room."""
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Takes what came; the deadline of a phase begins with its first byte."""
        self.received += len(data)
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """After an answer: idle, or on to the next request that came meanwhile."""
        super().on_response_complete()
        if self.phase != "body":
            self.received = len(self.conn.trailing_data[0])
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends every deadline."""
        self._cancel()
        if self.write_deadline is not None:
            self.write_deadline.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """On the server's end: what has not been received whole is refused."""
        if self.phase == "body" and self.cycle is not None and not self.cycle.response_started:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the server is being stopped")
            return
        super().shutdown()

    def pause_writing(self) -> None:
        """The client reads too slowly: it has so long to go on."""
        super().pause_writing()
        if self.write_deadline is None:
            self.write_deadline = self.loop.call_later(
                self.limits.write_seconds, self.transport.abort
            )

    def resume_writing(self) -> None:
        """It went on."""
        super().resume_writing()
        if self.write_deadline is not None:
            self.write_deadline.cancel()
            self.write_deadline = None

    def refuse(self, status: HTTPStatus, message: str) -> None:
        """Answers by itself, without the application, and closes."""
        if self.transport.is_closing():
            return
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        body = json.dumps({"error": message}).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("retry-after", "5"),
            ("connection", "close"),
        ]
        head = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:  # the application must not answer a second time
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _watch(self) -> None:
        """Sets the deadline of the phase that was entered, if another one was."""
        phase = self.phase
        now = (phase, id(self.cycle))
        if now == self.watched and self.deadline is not None:
            return
        if now != self.watched:
            self.watched = now
            self.since = time.monotonic()
        self._cancel()
        if phase in ("head", "body"):
            limits = self.limits
            seconds = limits.head_seconds if phase == "head" else limits.body_seconds
            self.deadline = self.loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        self.deadline = None
        if self.phase == "head" and self.received == 0:
            self.transport.close()  # it never said anything
            return
        if self.phase == "body" and self.rate >= self.limits.body_rate:  # a long one, a film
            self.deadline = self.loop.call_later(self.limits.body_seconds, self._overdue)
            return
        self.refuse(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive")

    def _cancel(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def _make_room(self) -> None:
        others = [
            other
            for other in self.connections
            if isinstance(other, BoundedConnection)
            and other is not self
            and other.phase != "answer"
        ]
        if not others:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; try again later")
            return
        slowest = min(others, key=lambda other: (other.phase == "body", other.rate, other.since))
        self.connections.discard(slowest)
        slowest.transport.abort()
