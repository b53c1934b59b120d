"""Doing the jobs of a plan, in their order; a bad picture does not stop the rest."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from corun.dehazing.dehazed import Dehazed
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.file_naming import Job
from corun.dehazing.loading import Loading
from corun.dehazing.memory import memory_advice
from corun.dehazing.overlap import overlapped
from corun.dehazing.standard_streams import read_standard_input, write_standard_output
from corun.errors import (
    CorunError,
    ImageFileError,
    is_out_of_memory,
    one_line,
    system_errors_as,
)
from corun.files import is_stream
from corun.pictures.formats import written_format
from corun.pictures.limits import DEFAULT_MAX_PIXELS
from corun.pictures.metadata import PictureMetadata
from corun.pictures.reading import Picture, read_picture
from corun.pictures.writing import (
    DEFAULT_QUALITY,
    encode_picture,
    write_encoded,
)

TRACEBACK_VARIABLE = "CORUN_TRACEBACK"
"""Set, an unexpected error ends the run with its traceback instead of failing one picture."""


@dataclass(frozen=True)
class JobOptions:
    """What all jobs of a run share.

    Attributes:
        strength: how much of the haze goes, 0 to 1.
        quality: 1-100, of lossy formats.
        max_pixels: larger pictures are refused.
        existing: what happens where an output exists: "refuse" fails, "skip" leaves it,
            "overwrite" replaces it.
    """

    strength: float = 1.0
    quality: int = DEFAULT_QUALITY
    max_pixels: int = DEFAULT_MAX_PIXELS
    existing: Literal["refuse", "skip", "overwrite"] = "refuse"


@dataclass(frozen=True)
class Outcome:
    """What became of one job; its fields are those of the command's --json lines.

    Attributes:
        input: the picture.
        output: the file written (or found, if skipped), None for standard output or a failure.
        status: "ok", "skipped" or "failed".
        transmission: the transmission's file.
        model, engine, device, dtype: what computed it.
        width, height: pixels of the upright picture.
        seconds: reading, dehazing and writing; those of other pictures run beside them.
        notes: what was not kept, one line each.
        error: why it failed, one line.
    """

    input: str
    status: Literal["ok", "skipped", "failed"]
    output: str | None = None
    transmission: str | None = None
    model: str | None = None
    engine: str | None = None
    device: str | None = None
    dtype: str | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The fields that say something."""
        return {key: value for key, value in asdict(self).items() if value not in (None, ())}


def run_jobs(
    jobs: Iterable[Job], dehazer: Dehazer | Loading, options: JobOptions
) -> Iterator[Outcome]:
    """Does the jobs in order; what a picture or its destination is to blame for fails that job.

    While the network is still being loaded, the first picture is read.

    So does an exception nobody foresaw: it is a bug, but the other pictures are not to blame for
    it. With the environment variable CORUN_TRACEBACK set it is raised.

    Raises:
        BrokenPipeError: nobody reads standard output any more.
        CorunError: the network that was being loaded cannot be.
    """
    work = _Work(dehazer, options)
    for result in overlapped(jobs, work.read, work.dehaze, work.write, begin=work.wait):
        if isinstance(result, Outcome):
            yield result
        else:
            yield failed_outcome(result.job.name, result.error, work.dehazer)


def failed_outcome(name: str, error: Exception, dehazer: Dehazer) -> Outcome:
    """Of a picture for which an error was raised.

    Raises:
        BrokenPipeError: that was it.
        Exception: it was an unforeseen one, and CORUN_TRACEBACK is set.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    if isinstance(error, CorunError):
        return Outcome(name, "failed", error=str(error))
    if is_out_of_memory(error):
        advice = memory_advice(dehazer.name, dehazer.device)
        return Outcome(name, "failed", error=f"{name}: not enough memory; {advice}")
    if os.environ.get(TRACEBACK_VARIABLE):
        raise error
    return Outcome(name, "failed", error=_unexpected(name, error))


def _unexpected(name: str, error: Exception) -> str:
    text = one_line(error)
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return (
        f"{name}: unexpected error ({what}); this is a bug of corun, "
        f"set {TRACEBACK_VARIABLE}=1 to see where"
    )


class _Started(NamedTuple):
    """A picture that was read, and the seconds so far.

    It is None where nothing is to be written, and of standard input, which is read later.
    """

    picture: Picture | None
    missing: list[Path]
    seconds: float


class _Cleared(NamedTuple):
    """A picture that was dehazed, or None; its own format; and the seconds so far."""

    result: Dehazed | None
    file_format: str
    missing: list[Path]
    seconds: float


class _Work:
    """The three steps of a job; each runs in a thread of its own (see `overlapped`)."""

    def __init__(self, dehazer: Dehazer | Loading, options: JobOptions) -> None:
        self._loading, self.options = dehazer, options

    def wait(self) -> None:
        """Has the network, from here on."""
        loading = self._loading
        self.dehazer = loading.wait() if isinstance(loading, Loading) else loading

    def read(self, job: Job) -> _Started:
        start = time.perf_counter()
        missing = _outputs_to_write(job, self.options)
        if job.outputs and not missing:
            return _Started(None, [], 0.0)
        picture = None if job.source is None else self._picture(job, job.source)
        return _Started(picture, missing, time.perf_counter() - start)

    def _picture(self, job: Job, source: Path | bytes) -> Picture:
        return read_picture(source, name=job.name, max_pixels=self.options.max_pixels)

    def dehaze(self, job: Job, started: _Started) -> _Cleared:
        start = time.perf_counter()
        picture = started.picture
        if picture is None:
            if job.source is not None or (job.outputs and not started.missing):
                return _Cleared(None, "", [], 0.0)
            # Not beside the rest: a thread that waits for what may never come cannot be ended.
            picture = self._picture(job, read_standard_input())
        file_format = job.file_format or written_format(picture.metadata.format)
        with _naming(job.name):
            result = self.dehazer.dehaze_picture(picture, strength=self.options.strength)
        seconds = started.seconds + time.perf_counter() - start
        return _Cleared(result, file_format, started.missing, seconds)

    def write(self, job: Job, cleared: _Cleared) -> Outcome:
        start = time.perf_counter()
        result, missing, options = cleared.result, cleared.missing, self.options
        if result is None:
            return Outcome(job.name, "skipped", output=str(job.target))
        with _naming(job.name):
            content, notes = encode_picture(
                result.storable_image(),
                result.metadata,
                cleared.file_format,
                quality=options.quality,
            )
            if job.transmission in missing:
                transmission = result.transmission_image()
                encoded, _ = encode_picture(transmission, PictureMetadata(), "PNG")
                _write(job.transmission, encoded, options)
        if job.target is None:
            write_standard_output(content)
        elif job.target in missing and not _write(job.target, content, options):
            return Outcome(job.name, "skipped", output=str(job.target))
        return outcome_of(
            self.dehazer,
            result,
            input=job.name,
            output=None if job.target is None else str(job.target),
            transmission=None if job.transmission is None else str(job.transmission),
            seconds=cleared.seconds + time.perf_counter() - start,
            notes=notes,
        )


def outcome_of(
    dehazer: Dehazer,
    result: Dehazed,
    *,
    input: str,  # noqa: A002
    output: str | None,
    seconds: float,
    notes: Iterable[str],
    transmission: str | None = None,
) -> Outcome:
    """Of a picture that was written; `notes` are the writer's, beside those of the result."""
    height, width = result.size
    facts = dehazer.engine.facts
    return Outcome(
        input,
        "ok",
        output=output,
        transmission=transmission,
        model=dehazer.name,
        engine=facts.name,
        device=facts.device,
        dtype=facts.dtype,
        width=width,
        height=height,
        seconds=round(seconds, 3),
        notes=tuple(dict.fromkeys((*result.metadata.notes, *notes))),
    )


def _outputs_to_write(job: Job, options: JobOptions) -> list[Path]:
    if options.existing == "overwrite":
        return job.outputs
    missing = [path for path in job.outputs if is_stream(path) or not _exists(path)]
    if options.existing == "refuse" and len(missing) < len(job.outputs):
        existing = next(path for path in job.outputs if path not in missing)
        raise _exists_already(existing)
    return missing


def _exists(path: Path) -> bool:
    with system_errors_as(ImageFileError, f"{path}: cannot be written", "choose another -o"):
        return path.exists()


def _write(path: Path | None, content: bytes, options: JobOptions) -> bool:
    """Writes an output; False where it is to be left, because somebody made it meanwhile."""
    assert path is not None
    what = f"{path}: its folder cannot be made"
    with system_errors_as(ImageFileError, what, "choose another -o"):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_encoded(path, content, overwrite=options.existing == "overwrite")
    except FileExistsError as error:
        if options.existing == "skip":
            return False
        raise _exists_already(path) from error
    return True


def _exists_already(path: Path) -> ImageFileError:
    return ImageFileError(f"{path}: exists already; add --overwrite or --skip-existing")


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Lets every error of a picture name it."""
    try:
        yield
    except CorunError as error:
        text = str(error)
        raise ImageFileError(text if name in text else f"{name}: {text}") from error
