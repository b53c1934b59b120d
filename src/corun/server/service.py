"""The service: pictures in, clear pictures out, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from corun.dehazing.dehazer import Dehazer
from corun.errors import ConfigurationError
from corun.server import batch, routes, video_routes
from corun.server.bodies import HeldBytes
from corun.server.engine import Engine
from corun.server.limits import Limits
from corun.server.observation import LOGGER, Observed, ServiceMetrics
from corun.server.replies import EXCEPTION_HANDLERS
from corun.server.same_site import SameSite
from corun.server.videos import VideoJobs

Loader = Callable[[], Mapping[str, Dehazer]]


def create_service(
    load: Loader,
    *,
    limits: Limits | None = None,
    key: str | None = None,
    origins: tuple[str, ...] = (),
    hosts: tuple[str, ...] | None = None,
    threads: int | None = None,
    videos: VideoJobs | None = None,
) -> FastAPI:
    """The application.

    Args:
        load: gives the dehazers by name, the default first; called when the service starts.
        limits: of everything.
        key: the API key that /v1 asks for; None asks for none.
        origins: of pages elsewhere that may call the service (CORS); none by default.
        hosts: names it may be called by; None allows any, as fits where no page is served.
        threads: pictures worked on at a time.
        videos: the jobs of films; None takes no films. They end with the service.

    Raises:
        ConfigurationError: the key is blank.
    """
    if key is not None and not key.strip():
        raise ConfigurationError("the API key is blank: anybody would have it; give another")
    bounds = limits or Limits()
    counted = ServiceMetrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        dehazers = await run_in_threadpool(load)
        engine = Engine(dehazers, bounds, counted, threads=threads)
        app.state.engine = engine
        if videos is not None:
            videos.start(dehazers, counted)
        LOGGER.info("ready", extra={"facts": {"models": list(dehazers)}})
        yield
        if videos is not None:
            await run_in_threadpool(videos.close)
        await run_in_threadpool(engine.close)
        LOGGER.info("ended")

    app = FastAPI(
        title="corun",
        summary="Takes the haze out of pictures.",
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.state.engine = None
    app.state.metrics = counted
    app.state.videos = videos
    app.state.held = HeldBytes(bounds.held_bytes)
    app.state.key = None if key is None else sha256(key.strip().encode()).digest()
    app.include_router(routes.router)
    app.include_router(batch.router)
    app.include_router(video_routes.router)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=[
                *("X-Corun-Model", "X-Corun-Airlight", "X-Corun-Notes", "X-Request-ID"),
                *("Location", "Retry-After"),
            ],
        )
    app.add_middleware(SameSite, origins=origins, hosts=hosts)
    app.add_middleware(Observed, metrics=counted)
    return app


def stop_accepting(app: FastAPI) -> None:
    """From now on all that is new is refused.

    Pictures that were accepted are finished; films pause, and go on after a restart.
    """
    if app.state.engine is not None:
        app.state.engine.closing = True
    if app.state.videos is not None:
        app.state.videos.stop()
