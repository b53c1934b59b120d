"""Running an application: a socket that is bound first, uvicorn behind it, an end in good order."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from corun.errors import DeviceError, reason_of
from corun.server.connections import BoundedConnection
from corun.server.limits import Limits

BACKLOG = 512


class AppServer(uvicorn.Server):
    """Serves one ASGI application.

    The port is taken when the object is made, so that `url` is known and a taken one is an error
    at once. `run` returns after SIGTERM or SIGINT, or after `stop`: nothing new is accepted,
    what was accepted is finished.

    Args:
        app: what is served.
        host: where to listen.
        port: 0 for any free one.
        limits: of connections.
        root_path: the path under which a proxy shows it.
        proxies: addresses whose X-Forwarded-For and -Proto are believed, comma-separated.
        on_stop: called when the end begins.

    Raises:
        DeviceError: the port cannot be had.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
        root_path: str = "",
        proxies: str = "127.0.0.1",
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.listener = listen(host, port)
        self.host = host
        self.port: int = self.listener.getsockname()[1]
        self._on_stop = on_stop
        self._ended = threading.Event()
        protocol = partial(BoundedConnection, limits=self.limits)
        config = uvicorn.Config(
            cast(Any, app),
            http=cast(Any, protocol),
            ws="none",
            backlog=BACKLOG,
            log_config=None,
            access_log=False,
            server_header=False,
            root_path=root_path.rstrip("/"),
            forwarded_allow_ips=proxies,
            timeout_graceful_shutdown=int(self.limits.seconds + self.limits.write_seconds),
        )
        super().__init__(config)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until it is stopped."""
        try:
            super().run(sockets or [self.listener])
        finally:
            self.listener.close()
            self._ended.set()

    def stop(self) -> None:
        """From another thread: begins the end and waits for it."""
        self.should_exit = True
        self._ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells the application before the connections."""
        if self._on_stop is not None:
            self._on_stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ends on SIGINT and SIGTERM; unlike uvicorn's, does not raise them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to that address; not listening yet.

    Raises:
        DeviceError: the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)  # else a second server on Linux would only fail later
    except OSError as error:
        listener.close()
        what = f"{host}:{port}: cannot listen there ({reason_of(error)})"
        raise DeviceError(f"{what}; choose another --port") from error
    return listener
