"""The routes of films: a film in, a job out; its progress, its result, its end."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel
from starlette.responses import FileResponse

from corun.errors import MissingExtraError
from corun.server.bodies import RAW, UNLABELLED, RefusedError, media_type, stated_length, to_file
from corun.server.engine import BusyError
from corun.server.replies import BINARY, EVERY_REFUSAL
from corun.server.routes import ModelName, Strength, chosen_model, engine_of, require_key
from corun.server.video_checks import accepted
from corun.server.video_records import FILM, CodecName, Status, VideoJob, VideoOrder
from corun.server.videos import FULL, VideoJobs

TYPE_OF_SUFFIX = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
}


class Video(BaseModel):
    """A film's job.

    `ahead` is how many jobs come before it; `frames_total` and `seconds_left` are estimates, null
    where there is none yet; `result` is where the clear film is, once it is done, until `expires`.
    """

    id: str
    status: Status
    ahead: int
    frames: int
    frames_total: int | None
    seconds_left: float | None
    error: str | None
    notes: list[str]
    expires: str | None
    result: str | None


EXAMPLE = {
    "id": "p0fZJ2gS8v3cXx1mYlq7d9TtK4wRbE6u",
    "status": "running",
    "ahead": 0,
    "frames": 750,
    "frames_total": 3000,
    "seconds_left": 281.2,
    "error": None,
    "notes": [],
    "expires": None,
    "result": None,
}
SHOWN = {"content": {"application/json": {"example": EXAMPLE}}}
JobId = Annotated[
    str,
    InPath(max_length=64, description="As it was given on acceptance.", examples=[EXAMPLE["id"]]),
]


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: EVERY_REFUSAL[status] for status in (401, 403, *statuses, 500, 501, 503)}


router = APIRouter(prefix="/v1/videos", tags=["videos"], dependencies=[Depends(require_key)])


@router.post(
    "",
    status_code=202,
    responses={202: SHOWN, **_refusals(400, 408, 413, 415, 422)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The film's file itself.",
            "content": dict.fromkeys((*TYPE_OF_SUFFIX.values(), RAW), BINARY),
        }
    },
)
async def submit(
    request: Request,
    response: Response,
    strength: Strength = 1.0,
    model: ModelName = None,
    codec: Annotated[CodecName, Query(description="Of the clear film.")] = "h264",
    crf: Annotated[
        int | None, Query(ge=0, le=63, description="Constant quality, lower is better.")
    ] = None,
    container: Annotated[
        Literal["mp4", "mov", "mkv", "webm"] | None,
        Query(description="Format of the clear film; near to the film's own without."),
    ] = None,
    tone: Annotated[
        Literal["sdr"] | None, Query(description="Brings HDR, which is refused without, to SDR.")
    ] = None,
) -> Video:
    """Take the haze out of a film.

    The answer comes at once and names the job; ask for it at `Location`. Whoever knows the id owns
    the job, so keep it to yourself. The job survives a restart of the server.

        curl -X POST -T hazy.mp4 http://127.0.0.1:8000/v1/videos
    """
    jobs = _jobs(request)
    kind = media_type(request)
    if kind not in UNLABELLED and not kind.startswith("video/"):
        raise RefusedError(415, "send the film itself as the body, such as video/mp4; no form")
    order = VideoOrder(chosen_model(engine_of(request), model), strength, codec, crf, tone)
    order.options()
    limits = jobs.limits
    with jobs.arriving(min(stated_length(request), limits.video_bytes)) as folder:
        try:
            await to_file(request, folder / FILM, limits.video_bytes)
        except OSError as error:
            raise BusyError(f"{FULL}; try again later", 600) from error
        job = await asyncio.to_thread(accepted, jobs, folder, order, container)
    response.headers["Location"] = _address(request, job)
    return _shown(request, jobs, job)


@router.get("/{job}", responses={200: SHOWN, **_refusals(404, 422)})
def progress(request: Request, job: JobId) -> Video:
    """How far a job is.

    curl http://127.0.0.1:8000/v1/videos/ID
    """
    jobs = _jobs(request)
    return _shown(request, jobs, _found(jobs, job))


@router.get(
    "/{job}/result",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The clear film.",
            "content": dict.fromkeys(TYPE_OF_SUFFIX.values(), BINARY),
        },
        206: {"description": "The part of it that `Range` asks for."},
        416: {"description": "It has no such part."},
        **_refusals(404, 409, 422),
    },
)
def result(request: Request, job: JobId) -> FileResponse:
    """The clear film of a job that is done.

    curl -o clear.mp4 http://127.0.0.1:8000/v1/videos/ID/result
    """
    found = _found(_jobs(request), job)
    if found.status == "failed":
        raise RefusedError(409, f"there is no result: {found.record.error}")
    if found.status != "done":
        raise RefusedError(409, "the film is not done yet; ask for its progress")
    suffix = found.output.suffix
    return FileResponse(
        found.output,
        media_type=TYPE_OF_SUFFIX[suffix],
        filename=f"clear{suffix}",
        headers={"Cache-Control": "private, no-store"},  # nobody between keeps it
    )


@router.delete("/{job}", status_code=204, responses=_refusals(404, 422))
def cancel(request: Request, job: JobId) -> None:
    """End a job, whether or not it is done, and delete all that there is of it.

    curl -X DELETE http://127.0.0.1:8000/v1/videos/ID
    """
    jobs = _jobs(request)
    jobs.remove(_found(jobs, job))


def _jobs(request: Request) -> VideoJobs:
    """The jobs of the server.

    Raises:
        RefusedError: it takes no films, or lacks what reads them.
    """
    try:
        import corun.dehazing.video  # noqa: F401 - says whether the extra is there
    except MissingExtraError as error:
        raise RefusedError(501, str(error)) from error
    jobs: VideoJobs | None = request.app.state.videos
    if jobs is None:
        raise RefusedError(501, "this server takes no films: it has no folder to keep them in")
    return jobs


def _found(jobs: VideoJobs, identifier: str) -> VideoJob:
    job = jobs.get(identifier)
    if job is None:
        raise RefusedError(404, "there is no job of that id, or no more")
    return job


def _shown(request: Request, jobs: VideoJobs, job: VideoJob) -> Video:
    left = job.seconds_left
    return Video(
        id=job.id,
        status=job.status,
        ahead=jobs.ahead_of(job),
        frames=job.done if job.record.ended is None else job.record.frames,
        frames_total=job.total or None,
        seconds_left=None if left is None else round(left, 1),
        error=job.record.error,
        notes=list(job.record.notes),
        expires=jobs.expiry(job),
        result=f"{_address(request, job)}/result" if job.status == "done" else None,
    )


def _address(request: Request, job: VideoJob) -> str:
    return f"{request.scope.get('root_path', '')}/v1/videos/{job.id}"
