"""The page's parts and what they do."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path, PurePath
from typing import Any

import gradio as gr
from gradio.data_classes import FileData, ListFiles

from corun.errors import CorunError
from corun.server.batch import unique_names
from corun.server.engine import Answer, BusyError, Engine, Order
from corun.server.replies import message_of
from corun.server.videos import VideoJobs
from corun.web.films import Told, cleared
from corun.web.previews import Photo, Previews, bytes_of

TITLE = "corun: clear photos and films out of hazy ones"
BEGIN = "Drop a hazy photo or film to begin."
AT_ONCE = 4
"""Events of one kind that run at a time, of all visitors."""

STYLE = """
.gradio-container { max-width: 72rem !important; margin: 0 auto !important; }
#head h1 { margin: .5rem 0 0; font-size: 1.5rem; }
#head p { margin: 0; opacity: .8; }
#status { min-height: 1.6rem; }
#status p { margin: 0; }
#files { min-height: 7rem; }
#bar progress { appearance: none; width: 100%; height: .5rem; border: 0; border-radius: .25rem;
  overflow: hidden; background: var(--neutral-200); color: var(--color-accent); }
#bar progress::-webkit-progress-bar { background: var(--neutral-200); }
#bar progress::-webkit-progress-value { background: var(--color-accent); }
#bar progress::-moz-progress-bar { background: var(--color-accent); }
footer { display: none !important; }
@media (max-width: 40rem) { .gradio-container { padding: .5rem !important; } }
"""

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "worker-src 'self' blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Content security policy: the browser itself refuses any request to anywhere else."""


class NamedFiles(gr.File):
    """Files with the names that their owner gave them, which Gradio's own simplifies."""

    is_template = True  # in the browser it is Gradio's own

    def preprocess(  # type: ignore[override]
        self, payload: ListFiles | FileData | None
    ) -> list[Photo]:
        """What was dropped, as photos."""
        files = payload.root if isinstance(payload, ListFiles) else [payload]
        return [
            Photo(file.path, PurePath((file.orig_name or file.path).replace("\\", "/")).name)
            for file in files
            if isinstance(file, FileData)
        ]


class PlainVideo(gr.Video):
    """A film as it is: Gradio's own would have a program convert what some browser cannot play."""

    is_template = True

    def postprocess(self, value: str | Path | None) -> FileData | None:
        """The file."""
        return None if value is None else FileData(path=str(value), orig_name=PurePath(value).name)


class Page:
    """What the page does, for every visitor alike; who sees what is in the browser's own state.

    Args:
        engine: gives the engine, once its models are loaded.
        previews: gives the previews.
        jobs: of films.
    """

    def __init__(
        self, engine: Callable[[], Engine], previews: Callable[[], Previews], jobs: VideoJobs
    ) -> None:
        self._engine = engine
        self._previews = previews
        self._jobs = jobs

    def blocks(self, models: list[str]) -> gr.Blocks:
        """The page."""
        page: gr.Blocks
        with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
            gr.Markdown(
                "# corun\nTakes the haze out of photos and films. "
                "They stay on this server for an hour.",
                elem_id="head",
            )
            with gr.Row(equal_height=False):
                with gr.Column(scale=1, min_width=280):
                    files = NamedFiles(
                        label="Hazy photos or films",
                        file_count="multiple",
                        elem_id="files",
                        height=170,
                    )
                    choice = gr.Dropdown(
                        [], label="Photo or film", visible=False, interactive=True, elem_id="choice"
                    )
                    strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", elem_id="strength")
                    model = gr.Dropdown(
                        models, value=models[0], label="Model", interactive=True, elem_id="model",
                        visible=len(models) > 1,
                    )  # fmt: skip
                    full = gr.Button("Make the full-size photo", variant="primary", elem_id="full")
                    film = gr.Button(
                        "Make the clear film", variant="primary", visible=False, elem_id="film"
                    )
                    every = gr.Button("Make a zip of all photos", visible=False, elem_id="every")
                    saved = gr.DownloadButton("Download", visible=False, elem_id="saved")
                    cancel = gr.Button("Cancel", elem_id="cancel")
                with gr.Column(scale=3, min_width=320):
                    status = gr.Markdown(BEGIN, elem_id="status")
                    bar = gr.HTML(visible=False, elem_id="bar")
                    with gr.Tab("Before and after"):
                        slider = gr.ImageSlider(
                            label="Before and after", type="filepath", format="png",
                            interactive=False, show_label=False, max_height=640, elem_id="slider",
                            buttons=["fullscreen"],
                        )  # fmt: skip
                    with gr.Tab("Transmission"):
                        drawn = gr.Image(
                            label="Share of the scene's light that comes through the haze: "
                            "white is all of it. Click a point.",
                            type="filepath", format="png", interactive=False, elem_id="drawn",
                            buttons=["fullscreen"],
                        )  # fmt: skip
                        point = gr.Markdown("Click a point for its numbers.", elem_id="point")
                    player = PlainVideo(
                        label="The clear film", interactive=False, visible=False, elem_id="player",
                        height=360, buttons=[],
                    )  # fmt: skip
            chosen: list[Any] = [files, choice, model, strength]
            seen: list[Any] = [slider, drawn, status, saved, full, film, player]
            running: dict[str, Any] = {"concurrency_limit": AT_ONCE, "show_progress": "minimal"}
            shown = [
                trigger(self.show, chosen, seen, **running)
                for trigger in (choice.input, model.input, strength.release)
            ]
            # the keys of a slider release nothing
            shown.append(
                strength.input(self.show, chosen, seen, trigger_mode="always_last", **running)
            )
            made = [
                full.click(self.make, chosen, [saved, status], **running),
                every.click(self.make_all, chosen, [saved, status], **running),
            ]
            filmed = film.click(
                self.make_film, chosen, [slider, status, saved, film, player, bar],
                # as many as may wait, and one that is told that these are too many
                concurrency_limit=self._jobs.limits.video_queue + 1, show_progress="hidden",
            )  # fmt: skip
            made.append(filmed)
            drawn.select(self.told_of, [files, choice, model], point, show_progress="hidden")
            idle = gr.Button(interactive=True), gr.HTML(visible=False)
            # First what is said of the files before is given up, for it would be said last: the
            # browser takes the listeners of one event in this order.
            files.change(lambda: idle, None, [film, bar], cancels=[*shown, *made], queue=False)
            opened = files.change(
                self.opened, files, [choice, every], show_progress="hidden", queue=False
            ).then(self.show, chosen, seen, trigger_mode="always_last", **running)
            cancel.click(
                lambda: ("Cancelled.", *idle),
                None, [status, film, bar], cancels=[opened, *shown, *made], queue=False,
            )  # fmt: skip
        page.queue(max_size=64, api_open=False)
        return page

    def opened(self, photos: list[Photo]) -> tuple[Any, Any]:
        """The list of photos and films to choose from."""
        several = len(photos) > 1
        archived = sum(not photo.is_film for photo in photos) > 1
        names = [(photo.name, index) for index, photo in enumerate(photos)]
        return (
            gr.Dropdown(choices=names, value=0 if photos else None, visible=several),
            gr.Button(visible=archived),
        )

    def show(
        self, photos: list[Photo], index: int | None, model: str, strength: float
    ) -> Iterator[tuple[Any, ...]]:
        """The preview of the photo or film that is chosen."""
        hidden, none = gr.DownloadButton(visible=False), PlainVideo(value=None, visible=False)
        if not photos:
            buttons = gr.Button(visible=True), gr.Button(visible=False)
            yield None, None, BEGIN, hidden, *buttons, none
            return
        photo = photos[min(index or 0, len(photos) - 1)]
        rest = (
            hidden, gr.Button(visible=not photo.is_film), gr.Button(visible=photo.is_film), none
        )  # fmt: skip
        yield gr.skip(), gr.skip(), f"Clearing {_plain(photo.name)} …", *rest
        try:
            shown = self._previews().show(photo, model, strength)
        except CorunError as error:
            yield None, None, _trouble(error), *rest
            return
        width, height = shown.size
        what = "a preview; the full size is made on request" if shown.reduced else "full size"
        if photo.is_film:
            what = "a frame from its middle; the film is made on request"
        told = f"{_plain(photo.name)}, {width} × {height} pixels: {what}."
        yield (shown.before, shown.after), shown.transmission, told, *rest

    def told_of(
        self, photos: list[Photo], index: int | None, model: str, event: gr.SelectData
    ) -> str:
        """T and A at the point that was clicked."""
        if not photos:
            return ""
        photo = photos[min(index or 0, len(photos) - 1)]
        x, y = (int(number) for number in event.index[:2])
        try:
            found = self._previews().at(photo, model, x, y)
        except CorunError as error:
            return _trouble(error)
        if found is None:
            return "This model gives no transmission."
        T, A = found
        colour = ", ".join(str(round(255 * value)) for value in A)
        return (
            f"At ({x}, {y}): transmission T = **{T:.2f}**: {100 * T:.0f} % of the scene's light "
            f"comes through. The haze's own light A = ({', '.join(f'{v:.2f}' for v in A)}), "
            f"rgb({colour})."
        )

    def make(
        self, photos: list[Photo], index: int | None, model: str, strength: float
    ) -> Iterator[tuple[Any, str]]:
        """The full-size photo, with its name, format and metadata, to be downloaded."""
        if not photos:
            yield gr.skip(), "Drop a hazy photo first."
            return
        photo = photos[min(index or 0, len(photos) - 1)]
        yield gr.DownloadButton(visible=False), f"Making {_plain(photo.name)} at full size …"
        try:
            answer = yield from self._answer(photo, model, strength)
        except CorunError as error:
            yield gr.skip(), _trouble(error)
            return
        path = self._previews().folder.place(photo.name)
        path.write_bytes(answer.content)
        size = len(answer.content) / 1e6
        button = gr.DownloadButton(
            f"Download {photo.name} ({size:.1f} MB)", value=str(path), visible=True
        )
        yield button, " ".join(["Ready.", *(f"{note}." for note in answer.notes)])

    def make_film(
        self, photos: list[Photo], index: int | None, model: str, strength: float
    ) -> Iterator[tuple[Any, ...]]:
        """The clear film, to be played and downloaded, and a frame of it before and after."""
        if not photos:
            yield gr.skip(), "Drop a hazy film first.", *[gr.skip()] * 4
            return
        photo = photos[min(index or 0, len(photos) - 1)]
        name = _plain(photo.name)
        busy, ready = gr.Button(interactive=False), gr.Button(interactive=True)
        saved, player = gr.DownloadButton(visible=False), PlainVideo(value=None, visible=False)
        no_bar = gr.HTML(visible=False)
        yield gr.skip(), f"Looking at {name} …", saved, busy, player, no_bar
        steps = cleared(self._jobs, self._previews(), photo, model, strength)
        try:
            with closing(steps):
                for step in steps:
                    if isinstance(step, Told):
                        bar = gr.HTML(_progress(step.share), visible=True)
                        yield gr.skip(), f"{name}: {step.text}", *[gr.skip()] * 3, bar
                        continue
                    size = step.path.stat().st_size / 1e6
                    saved = gr.DownloadButton(
                        f"Download {step.path.name} ({size:.1f} MB)", value=str(step.path),
                        visible=True,
                    )  # fmt: skip
                    player = PlainVideo(value=str(step.path), visible=True)
                    words = [f"{name}: {step.frames:,} frames. Ready."]
                    words += [f"{_plain(note)}." for note in step.notes]
                    yield step.pair, " ".join(words), saved, ready, player, no_bar
        except CorunError as error:
            yield gr.skip(), _trouble(error), saved, ready, player, no_bar

    def make_all(
        self, photos: list[Photo], index: int | None, model: str, strength: float
    ) -> Iterator[tuple[Any, str]]:
        """A zip file of every photo at full size."""
        path = self._previews().folder.place("clear-photos.zip")
        films = [photo for photo in photos if photo.is_film]
        photos = [photo for photo in photos if not photo.is_film]
        names = unique_names(photo.name for photo in photos)
        failed = [f"{_plain(film.name)}: films are made one by one." for film in films]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for done, (photo, name) in enumerate(zip(photos, names, strict=True)):
                yield gr.DownloadButton(visible=False), f"{done} of {len(photos)} done …"
                try:
                    answer = yield from self._answer(photo, model, strength)
                except CorunError as error:
                    failed.append(_trouble(error))
                    continue
                archive.writestr(name, answer.content)
        made = len(photos) + len(films) - len(failed)
        told = "\n\n".join([f"{made} of {len(photos)} photos are ready.", *failed])
        yield gr.DownloadButton(f"Download {path.name}", value=str(path), visible=made > 0), told

    def _answer(
        self, photo: Photo, model: str, strength: float
    ) -> Generator[tuple[Any, Any], None, Answer]:
        """Waits for the engine; where the visitor cancels or leaves, the work is abandoned."""
        engine = self._engine()
        content = bytes_of(photo, engine.limits.body_bytes)
        while True:
            try:
                job = engine.submit(Order(content, model, photo.name, strength))
                break
            except BusyError:
                if engine.closing:
                    raise
                yield gr.skip(), "Others are before you …"
                time.sleep(0.5)
        try:
            while not job.future.done():
                time.sleep(0.05)
                yield gr.skip(), gr.skip()
            answer: Answer = job.future.result()
            return answer
        except CancelledError as error:
            raise BusyError("cancelled", 1) from error
        finally:
            job.abandon()


def _trouble(error: CorunError) -> str:
    return f"⚠ {_plain(message_of(error))}"


def _progress(share: float | None) -> str:
    """The browser's own bar; one that moves to and fro where nothing is known."""
    value = "" if share is None else f' value="{share:.4f}"'
    return f'<progress max="1"{value} aria-label="How much of the film is done"></progress>'


def _plain(text: str) -> str:
    """Text whose characters mean nothing to Markdown or HTML."""
    return "".join(f"&#{ord(c)};" if c in "<>&*_`[]()#|\\~$" else c for c in text)
