"""`corun serve`: the service over HTTP."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corun.apps import options
from corun.files import user_path

if TYPE_CHECKING:
    from fastapi import FastAPI

    from corun.dehazing.dehazer import Dehazer
    from corun.server.limits import Limits
    from corun.server.videos import VideoJobs

HELP = (
    "Serve pictures and films over HTTP: POST /v1/dehaze, POST /v1/videos.\n\n"
    "The models stay loaded. It answers on this machine only unless --host says otherwise; put "
    "it behind a proxy that speaks TLS before it faces a network. SIGTERM finishes what was "
    "accepted and refuses the rest; films go on after a restart.\n\n"
    "corun serve --port 8000\n\n"
    "curl --data-binary @photo.jpg -o clear.jpg http://127.0.0.1:8000/v1/dehaze"
)
KEY_VARIABLE = "CORUN_API_KEY"


def serve(
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    model: options.ServedModels = None,
    device: options.Device = "auto",
    trust: options.Trust = False,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=f"Holds the API key that /v1 asks for; or set {KEY_VARIABLE}."
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Of pages elsewhere that may call it (CORS)."),
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1, help="Of one picture's file.")] = 64 * 1024**2,
    max_batch_bytes: Annotated[int, typer.Option(min=1, help="Of a batch.")] = 256 * 1024**2,
    max_pixels: Annotated[int, typer.Option(min=1, help="Of one picture.")] = 50_000_000,
    max_seconds: Annotated[
        float, typer.Option(min=1, help="From accepting a picture to its answer.")
    ] = 60,
    queue: Annotated[
        int, typer.Option(min=1, help="Pictures that wait; then 503 with Retry-After.")
    ] = 64,
    connections: Annotated[int, typer.Option(min=2, help="Open at a time.")] = 256,
    receive_seconds: Annotated[
        float, typer.Option(min=1, help="For the body of a request to arrive.")
    ] = 120,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            envvar="CORUN_STATE",
            help="Films and their results are kept in its folder corun-videos, of one server.",
            show_default="~/.local/state",
        ),
    ] = None,
    max_video_bytes: options.MaxVideoBytes = 1024**3,
    max_video_pixels: options.MaxVideoPixels = 4096 * 2160,
    max_video_seconds: options.MaxVideoSeconds = 600,
    video_queue: Annotated[
        int, typer.Option(min=1, help="Films that wait; then 503 with Retry-After.")
    ] = 8,
    keep_hours: Annotated[
        float,
        typer.Option(min=0.01, max=1e6, help="After which the results of films are deleted."),
    ] = 24,
    root_path: options.RootPath = "",
    proxy: options.Proxy = "127.0.0.1",
) -> None:
    """Serve pictures and films over HTTP."""
    from corun.server.limits import Limits
    from corun.server.observation import log_as_json
    from corun.server.service import create_service

    limits = Limits(
        body_bytes=max_bytes,
        batch_bytes=max_batch_bytes,
        held_bytes=max(4 * max_batch_bytes, 4 * max_bytes),
        pixels=max_pixels,
        seconds=max_seconds,
        queue=queue,
        connections=connections,
        body_seconds=receive_seconds,
        video_bytes=max_video_bytes,
        video_pixels=max_video_pixels,
        video_seconds=max_video_seconds,
        video_queue=video_queue,
        keep_seconds=3600 * keep_hours,
    )
    loaded = loaded_models(model, device=device, trust=trust)
    key = _key(api_key_file)
    log_as_json()
    app = create_service(
        lambda: loaded,
        limits=limits,
        key=key,
        origins=tuple(allow_origin or ()),
        videos=_videos(state, limits),
    )
    run_service(app, limits, host=host, port=port, root_path=root_path, proxies=proxy)


def loaded_models(names: list[str] | None, *, device: str, trust: bool) -> Mapping[str, Dehazer]:
    """The models that are served, by name, before a port is taken: a wrong name ends the command.

    Raises:
        CorunError: one cannot be loaded.
    """
    from corun.dehazing.loading import load

    return {name: load(name, device=device, trust=trust) for name in names or ["corun-lite"]}


def run_service(app: FastAPI, limits: Limits, **where: Any) -> None:
    """Serves until it is stopped.

    Args:
        app: of `create_service`.
        limits: of connections.
        where: as of `AppServer`.

    Raises:
        DeviceError: the port cannot be had.
    """
    from corun.server.running import AppServer
    from corun.server.service import stop_accepting

    server = AppServer(app, limits=limits, on_stop=lambda: stop_accepting(app), **where)
    print(f"{server.url} (Ctrl-C ends)", flush=True)
    server.run()


def _videos(folder: Path | None, limits: Limits) -> VideoJobs | None:
    """The jobs of films; without them the service goes on where nobody named a folder."""
    from corun.errors import ConfigurationError
    from corun.server.observation import LOGGER
    from corun.server.videos import VideoJobs

    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        return VideoJobs(folder or user_path(home), limits)
    except ConfigurationError as error:
        if folder is not None:
            raise
        LOGGER.warning("films are not taken: %s", error)
        return None


def _key(path: Path | None) -> str | None:
    """The API key: of the file, or of the environment."""
    from corun.errors import ConfigurationError, reason_of

    if path is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = f"{path}: cannot be read ({reason_of(error)})"
        raise ConfigurationError(f"{what}; write the key to it") from error
    if not key:
        raise ConfigurationError(f"{path}: is empty; write the API key to it")
    return key
