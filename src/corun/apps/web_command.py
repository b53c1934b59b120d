"""`corun web`: the page in a browser."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from corun.apps import options

if TYPE_CHECKING:
    from corun.dehazing.dehazer import Dehazer

HELP = (
    "Open a page that takes the haze out of photos and films.\n\n"
    "It needs no internet and sends nothing anywhere; the service of `corun serve` answers under "
    "the same address. It answers on this machine only unless --host says otherwise.\n\n"
    "corun web --port 7860"
)


def web(
    host: options.Host = "127.0.0.1",
    port: options.Port = 7860,
    model: options.ServedModels = None,
    device: options.Device = "auto",
    trust: options.Trust = False,
    host_name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="By which browsers may call it, beside this machine's."),
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1, help="Of one photo's file.")] = 64 * 1024**2,
    max_pixels: Annotated[int, typer.Option(min=1, help="Of one photo.")] = 50_000_000,
    max_video_bytes: options.MaxVideoBytes = 1024**3,
    max_video_pixels: options.MaxVideoPixels = 4096 * 2160,
    max_video_seconds: options.MaxVideoSeconds = 600,
    root_path: options.RootPath = "",
    proxy: options.Proxy = "127.0.0.1",
) -> None:
    """Open a page that takes the haze out of photos and films."""
    from corun.dehazing.loading import load
    from corun.server.limits import Limits
    from corun.server.observation import log_as_json
    from corun.server.running import AppServer
    from corun.server.service import stop_accepting
    from corun.web.app import create_web

    limits = Limits(
        body_bytes=max_bytes,
        pixels=max_pixels,
        video_bytes=max_video_bytes,
        video_pixels=max_video_pixels,
        video_seconds=max_video_seconds,
    )
    names = model or ["corun-lite"]
    loaded: Mapping[str, Dehazer] = {name: load(name, device=device, trust=trust) for name in names}
    app = create_web(lambda: loaded, names, limits=limits, hosts=tuple(host_name or ()))
    server = AppServer(
        app,
        host=host,
        port=port,
        limits=limits,
        root_path=root_path,
        proxies=proxy,
        on_stop=lambda: stop_accepting(app),
    )
    log_as_json(logging.WARNING)  # who looked at what is nobody's business
    print(f"{server.url} (Ctrl-C ends)", flush=True)
    server.run()
