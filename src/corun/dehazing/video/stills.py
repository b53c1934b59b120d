"""Single clear pictures out of a film, at a steady distance in time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.video.conversion import VideoOptions
from corun.dehazing.video.segments import cannot_write
from corun.dehazing.video.source import Film, Reader, read_film, tone_of, upright
from corun.errors import ConfigurationError, VideoError
from corun.shapes import Shaped


def dehaze_stills(
    source: Path,
    folder: Path,
    dehazer: Dehazer,
    *,
    every: float,
    options: VideoOptions,
) -> list[Path]:
    """Writes clear PNG pictures NAME-00-01-02.500.png, upright; 16 bits of films with more than 8.

    Args:
        source: the film.
        folder: where they go; it is made.
        dehazer: the network, which looks at each by itself, as at a photo.
        every: seconds between them, counted from the start.
        options: strength, start, end, tone, side by side and overwrite are followed.

    Returns:
        The pictures.

    Raises:
        VideoError: the film cannot be read, or a picture exists.
        ConfigurationError: `every` is not above 0.
    """
    if not every > 0:
        raise ConfigurationError(f"--every is in seconds and above 0, not {every}")
    film = read_film(source)
    tone = tone_of(film, options.tone)
    reader = Reader(source, film, start=options.start, end=options.end, tone=tone)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    due = 0.0

    def wanted(number: int, stamp: int) -> bool:
        nonlocal due
        since = float((stamp - reader.first) * film.time_base)
        if since + 1e-9 < due:
            return False
        due = (since // every + 1) * every
        return True

    written = []
    for moment in reader.moments(wanted=wanted):
        hazy = upright(moment.rgb, film)
        result = dehazer(
            Image.fromarray(hazy) if hazy.dtype == np.uint8 else hazy, strength=options.strength
        )
        if options.side_by_side:
            shown = np.concatenate((hazy, np.asarray(result.image)), axis=1)
            pixels = Image.fromarray(shown) if shown.dtype == np.uint8 else shown
            result = type(result)(pixels, None, None)
        seconds = float((moment.stamp - film.begins) * film.time_base)
        path = folder / f"{source.stem}-{_clock(seconds)}.png"
        result.save(path, overwrite=options.overwrite)
        written.append(path)
    if not written:
        raise VideoError(f"{source}: no frame of it is between --start and --end")
    return written


def still_at(source: Path, film: Film, seconds: float) -> tuple[Shaped[np.ndarray, "h w 3"], float]:
    """A film's first frame from a time on, or its first of all where it ends before.

    Args:
        source: where the film is.
        film: what it states.
        seconds: since its beginning.

    Returns:
        The frame, RGB, uint8 or uint16, upright, HDR brought to SDR; and its own time.

    Raises:
        VideoError: it cannot be read.
    """
    tone = tone_of(film, "sdr")
    for start in (seconds, 0.0):
        with closing(Reader(source, film, start=start, tone=tone).moments()) as moments:
            moment = next(moments, None)
        if moment is not None:
            at = float((moment.stamp - film.begins) * film.time_base)
            return upright(moment.rgb, film), at
    raise VideoError(f"{film.name}: none of its frames can be decoded")


def _clock(seconds: float) -> str:
    """01-02-03.450 for an hour, two minutes and 3.45 seconds."""
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02d}-{minutes % 60:02d}-{rest // 1000:02d}.{rest % 1000:03d}"
