"""`corun web`: the page in a browser."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from corun.apps import options
from corun.apps.serve_command import loaded_models, run_service

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
    from corun.server.limits import Limits
    from corun.server.observation import log_as_json
    from corun.web.app import create_web

    limits = Limits(
        body_bytes=max_bytes,
        pixels=max_pixels,
        video_bytes=max_video_bytes,
        video_pixels=max_video_pixels,
        video_seconds=max_video_seconds,
    )
    loaded = loaded_models(model, device=device, trust=trust)
    app = create_web(lambda: loaded, list(loaded), limits=limits, hosts=tuple(host_name or ()))
    log_as_json(logging.WARNING)  # who looked at what is nobody's business
    run_service(app, limits, host=host, port=port, root_path=root_path, proxies=proxy)
