"""A live film in a browser: the newest clear frame, to everybody who looks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import closing

import cv2
import numpy as np
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, StreamingResponse

from corun.dehazing.video.live import LiveFrame
from corun.errors import CorunError
from corun.server.same_site import CONFINED, SameSite
from corun.shapes import Shaped

QUALITY = 85
"""Of the JPEG pictures that a browser is sent."""
_LOOK_AGAIN = 0.01
"""Seconds between looks for a new frame."""
_BOUNDARY = "frame"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'self'",
    **CONFINED,
    "Cache-Control": "no-store",
}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>corun live</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; min-height: 100vh; display: grid;
  grid-template-rows: 1fr auto; background: Canvas; color: CanvasText; }
img { width: 100%; height: calc(100vh - 3rem); object-fit: contain; }
p { margin: 0; padding: .75rem 1rem; height: 1.5rem; overflow: hidden; }
</style></head><body>
<img src="live.mjpeg" alt="The live film without its haze">
<p role="status" id="said">Waiting for the first frame …</p>
<script>
const said = document.getElementById("said");
async function look() {
  try {
    const state = await (await fetch("state")).json();
    if (state.error) said.textContent = state.error;
    else if (state.ended) said.textContent = "The stream has ended.";
    else if (state.frames) said.textContent =
      `${state.seconds.toFixed(0)} s, ${state.frames} frames shown, ${state.dropped} left out`;
    if (!state.ended) setTimeout(look, 1000);
  } catch { said.textContent = "corun has been stopped."; }
}
look();
</script></body></html>
"""


class LivePage:
    """Takes clear frames as they come and keeps the newest one, for every viewer the same.

    A viewer whose connection is slow misses frames; nobody waits for them.

    Args:
        frames: of `live_frames`; taken, and closed, in a thread.
        on_end: called in that thread when there are no more.

    Attributes:
        error: why the stream broke off, in words, None while it did not.
        frames: how many there were.
        dropped: frames of the stream that were left out.
        ended: whether there are no more.
    """

    def __init__(
        self,
        frames: Generator[LiveFrame, None, None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.error: str | None = None
        self.frames = self.dropped = 0
        self.seconds = 0.0
        self.ended = self._closed = False
        self._picture = b""
        self._failure: BaseException | None = None
        self._source, self._on_end = frames, on_end
        self._thread = threading.Thread(target=self._take, name="corun-live-page", daemon=True)

    def start(self) -> None:
        """Begins to take frames."""
        self._thread.start()

    def close(self) -> None:
        """Lets the viewers go, and takes no more frames than the one that is being made."""
        self._closed = True

    def wait(self) -> None:
        """Until the stream is closed.

        Raises:
            BaseException: what nobody foresaw, and ended it.
        """
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def app(self, hosts: tuple[str, ...] = ()) -> FastAPI:
        """The page at `/`, the film at `/live.mjpeg`, its counts at `/state`.

        Args:
            hosts: names it may be called by, beside addresses and this machine's own.
        """
        app = FastAPI(openapi_url=None)

        @app.get("/")
        async def page() -> HTMLResponse:
            return HTMLResponse(PAGE, headers=HEADERS)

        @app.get("/state")
        async def state() -> dict[str, object]:
            return {
                "frames": self.frames,
                "dropped": self.dropped,
                "seconds": self.seconds,
                "ended": self.ended,
                "error": self.error,
            }

        @app.get("/live.mjpeg")
        async def film() -> StreamingResponse:
            kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
            return StreamingResponse(self._parts(), media_type=kind, headers=HEADERS)

        app.add_middleware(SameSite, hosts=hosts)
        return app

    async def _parts(self) -> AsyncIterator[bytes]:
        shown = 0
        while not self._closed:
            if self.frames == shown:
                if self.ended:
                    return
                await asyncio.sleep(_LOOK_AGAIN)
                continue
            shown, picture = self.frames, self._picture
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
            yield head.encode() + b"\r\n\r\n" + picture + b"\r\n"

    def _take(self) -> None:
        try:
            with closing(self._source) as frames:
                for frame in frames:
                    if self._closed:
                        break
                    self._picture = jpeg_of(frame.rgb)
                    self.dropped, self.seconds = frame.dropped, frame.seconds
                    self.frames += 1
        except CorunError as error:
            self.error = str(error)
        except BaseException as error:  # raised where it is waited for
            self.error, self._failure = "unexpected error; the terminal of corun has it", error
        finally:
            self.ended = True
            self._on_end()


def jpeg_of(rgb: Shaped[np.ndarray, "h w 3"]) -> bytes:
    """A frame as a JPEG picture."""
    eight = rgb if rgb.dtype == np.uint8 else (rgb >> 8).astype(np.uint8)
    bgr = cv2.cvtColor(eight, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
