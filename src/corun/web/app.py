"""The page on the service: one application, one engine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from corun.server.engine import BusyError, Engine
from corun.server.limits import Limits
from corun.server.same_site import CONFINED
from corun.server.service import Loader, create_service
from corun.server.videos import VideoJobs
from corun.web.temporary import HOUR, TemporaryFolder


class PageHeaders:
    """ASGI middleware: what keeps a page to itself, on every answer.

    Args:
        app: what answers.
        policy: content security policy.
    """

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self.app = app
        self.headers = {"Content-Security-Policy": policy, **CONFINED}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Adds them."""

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        await self.app(scope, receive, headed if scope["type"] == "http" else send)


def create_web(
    load: Loader,
    models: list[str],
    *,
    limits: Limits | None = None,
    hosts: tuple[str, ...] = (),
    most_seconds: float = HOUR,
) -> FastAPI:
    """The service with the page at its root.

    Args:
        load: gives the dehazers by name, the default first.
        models: their names.
        limits: of everything.
        hosts: names the page may be called by, beside addresses and this machine's own.
        most_seconds: for which uploads and results are kept.
    """
    bounds = limits or Limits()
    folder = TemporaryFolder(most_seconds=most_seconds)
    # Gradio reads these when it is imported or a component is made.
    os.environ["GRADIO_TEMP_DIR"] = str(folder.path)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import gradio as gr

    from corun.web.page import POLICY, STYLE, Page
    from corun.web.previews import Previews

    # once a film is done it is moved to where the page's results are
    jobs = VideoJobs(folder.work, replace(bounds, keep_seconds=most_seconds))
    app = create_service(load, limits=bounds, hosts=hosts, videos=jobs)
    kept: list[Previews] = []

    def engine() -> Engine:
        found: Engine | None = app.state.engine
        if found is None:
            raise BusyError("the models are being loaded; try again in a moment", 2)
        return found

    def previews() -> Previews:
        if not kept or kept[0].engine is not engine():
            kept[:] = [Previews(engine(), folder)]
        return kept[0]

    app.add_middleware(PageHeaders, policy=POLICY)
    gr.mount_gradio_app(
        app,
        Page(engine, previews, jobs).blocks(models),
        path="/",
        theme=gr.themes.Default(
            primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        css=STYLE,
        max_file_size=max(bounds.body_bytes, bounds.video_bytes),  # looked at again for each
        ssr_mode=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=True,
    )
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: FastAPI) -> AsyncIterator[None]:
        try:
            async with inner(served):
                yield
        finally:
            folder.close()

    app.router.lifespan_context = lifespan
    return app
