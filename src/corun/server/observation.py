"""What an operator sees of a server: one JSON line for each request, and counters for Prometheus.

A line has the request's id, its path, status and timings; never a query, a file name or content,
and no id of a job, which is a secret.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECRET = re.compile(r"(?<=/v1/videos/)[^/]+")
MOST_PATH = 200
LOGGER = logging.getLogger("corun.server")
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json(level: int = logging.INFO) -> None:
    """Sends the logs of the server, and of uvicorn under it, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("corun.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name == "corun.server" else logging.WARNING)


class ServiceMetrics:
    """The counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = (
            partial(Counter, registry=self.registry),
            partial(Gauge, registry=self.registry),
        )
        histogram = partial(Histogram, registry=self.registry)
        self.requests = counter("corun_requests", "Requests answered.", ["route", "status"])
        what = "From the head of a request to the end of its answer."
        self.request_seconds = histogram("corun_request_seconds", what, ["route"], buckets=BUCKETS)
        what = "A picture's time waiting, decoding, dehazing and encoding."
        self.stage_seconds = histogram("corun_stage_seconds", what, ["stage"], buckets=BUCKETS)
        self.pictures = counter("corun_pictures", "Pictures by outcome.", ["outcome"])
        what = "Pictures in one call of the network."
        self.batch = histogram("corun_network_batch", what, buckets=(1, 2, 4, 8))
        self.videos = counter("corun_videos", "Films by outcome.", ["outcome"])
        self.video_frames = counter("corun_video_frames", "Frames of films finished.")
        self.unfinished_videos = gauge("corun_unfinished_videos", "Films accepted and not ended.")
        self.queued = gauge("corun_unanswered_pictures", "Accepted and not answered.")

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self.registry)


class Observed:
    """ASGI middleware: gives every request an id, counts it and logs it.

    Args:
        app: what answers.
        metrics: where it is counted; None counts nothing.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics | None = None) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, and writes the line when the answer has ended."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        path = SECRET.sub("{job}", scope["path"])[:MOST_PATH]
        facts: dict[str, Any] = {"id": request_id, "method": scope["method"], "path": path}
        received = sent = status = 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal sent, status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counted_receive, counted_send)
        except Exception:
            status = status or 500
            raise
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other")
            # 499, as nginx has it: the client left before an answer began
            facts |= {"status": status or 499, "seconds": round(seconds, 4)}
            facts |= {"bytes_in": received, "bytes_out": sent} | state.get("facts", {})
            if client := scope.get("client"):
                facts["client"] = client[0]
            LOGGER.info("request", extra={"facts": facts})
            if self.metrics is not None:
                self.metrics.requests.labels(route, str(status or 499)).inc()
                self.metrics.request_seconds.labels(route).observe(seconds)
