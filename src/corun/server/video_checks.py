"""What a film states is looked at before it becomes a job: format, pixels, seconds, colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from corun.errors import VideoError
from corun.server.bodies import RefusedError
from corun.server.limits import Limits
from corun.server.video_records import FILM, VideoJob, VideoOrder
from corun.server.videos import MOST_RATE, VideoJobs, too_long

if TYPE_CHECKING:
    from corun.dehazing.video.source import Film

FORMATS = "mov,matroska,avi,mpeg,mpegts,asf,flv,ogg,mxf,dv,ivf,yuv4mpegpipe"
"""FFmpeg's names of what is taken. Others, such as playlists, can name files and addresses of the
server to be read along."""


def accepted(jobs: VideoJobs, folder: Path, order: VideoOrder, container: str | None) -> VideoJob:
    """Looks at a film that came, and makes it a job.

    Raises:
        VideoError: it is none, is HDR and shall stay so, or the clear one's format cannot hold it.
        RefusedError: it is too large or too long.
    """
    film, suffix = looked_at(folder / FILM, jobs.limits, hdr=order.tone is not None)
    from corun.dehazing.video.conversion import planned

    if container is not None:
        suffix = f".{container}"
    planned(folder / FILM, film, Path(f"clear{suffix}"), order.options(), folder)
    (folder / f"trial{suffix}").unlink(missing_ok=True)
    return jobs.accept(folder, replace(order, suffix=suffix))


def looked_at(path: Path, limits: Limits, *, hdr: bool, name: str = FILM) -> tuple[Film, str]:
    """A film, and the suffix that suits it; bounds are checked before a frame is decoded.

    Args:
        path: where it is.
        limits: of pixels and seconds.
        hdr: whether HDR is taken.
        name: what to call it in messages.

    Raises:
        VideoError: it is none, its format is not taken, or it is HDR.
        RefusedError: it is too large or too long.
    """
    import av

    from corun.dehazing.video.source import film_of, hdr_refusal, opened, video_stream

    try:
        with opened(path, name=name, options={"format_whitelist": FORMATS}) as container:
            stream = video_stream(container, name)
            width, height = stream.codec_context.width, stream.codec_context.height
            seconds = 0.0 if container.duration is None else container.duration / av.time_base
            _require_bounds(name, width, height, seconds, stream.frames, limits)
            film = film_of(container, name)
            formats = container.format.name.split(",")
            brand = container.metadata.get("major_brand", "")
    except VideoError as error:
        if isinstance(error.__cause__, av.ArgumentError):
            raise VideoError(f"{name}: its format is not taken here; send MP4 or MKV") from error
        raise
    _require_bounds(name, film.width, film.height, film.seconds, film.frames, limits)
    refusal = hdr_refusal(film)
    if refusal is not None and not hdr:
        raise VideoError(refusal)
    if "mov" in formats:
        return film, ".mov" if brand.startswith("qt") else ".mp4"
    return film, ".mkv"


def _require_bounds(
    name: str, width: int, height: int, seconds: float, frames: int, limits: Limits
) -> None:
    if width * height > limits.video_pixels:
        raise RefusedError(
            413, f"{name}: frames of {width}x{height} are above the limit of "
            f"{limits.video_pixels:,} pixels; send a smaller one"
        )  # fmt: skip
    if seconds > limits.video_seconds or frames > limits.video_seconds * MOST_RATE:
        raise RefusedError(413, too_long(limits))
