"""How results are named: the job that a picture, an output and a format make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corun.errors import CorunError, reason_of
from corun.files import is_stream, user_path
from corun.pictures.formats import FORMAT_OF_SUFFIX, SUFFIX_OF_FORMAT

DEFAULT_SUFFIX = ".dehazed"
TRANSMISSION_SUFFIX = ".transmission.png"
STANDARD_STREAM = "-"
STANDARD_OUTPUTS = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
"""Other names of it."""


class PlanError(CorunError):
    """What was asked for contradicts itself or would destroy a picture: wrong usage."""


@dataclass(frozen=True)
class Job:
    """One picture to dehaze.

    Attributes:
        source: the picture, None for standard input.
        target: where the result goes, None for standard output.
        transmission: where the transmission goes, None to leave it.
        file_format: Pillow's name of the target's format; None: the source's own.
    """

    source: Path | None
    target: Path | None
    transmission: Path | None = None
    file_format: str | None = None

    @property
    def name(self) -> str:
        """What to call the picture in messages."""
        return "standard input" if self.source is None else str(self.source)

    @property
    def outputs(self) -> list[Path]:
        """The files it writes, the picture last: where it is, the job is done."""
        return [path for path in (self.transmission, self.target) if path is not None]


@dataclass(frozen=True)
class Naming:
    """How outputs are named.

    Attributes:
        output: a folder, a file (one input only), a device or pipe, "-" for standard output, or
            None: beside.
        suffix: goes between stem and extension; None is ".dehazed" beside the input and nothing
            in a folder of its own.
        file_format: "jpg", "png", ...; None keeps each input's.
        save_transmission: whether NAME.transmission.png is written too; where pictures differ
            in the extension only, NAME.jpg.transmission.png.
    """

    output: str | None = None
    suffix: str | None = None
    file_format: str | None = None
    save_transmission: bool = False

    @property
    def to_standard_output(self) -> bool:
        """Whether the result goes there."""
        return self.output == STANDARD_STREAM or (
            self.output in STANDARD_OUTPUTS and Path(self.output).exists()
        )

    @property
    def place(self) -> Path | None:
        """Where results go; None for beside, or for standard output."""
        if self.output is None or self.to_standard_output:
            return None
        return user_path(self.output)

    @property
    def infix(self) -> str:
        """The suffix in force, "" for none."""
        if self.suffix is not None:
            return self.suffix
        return DEFAULT_SUFFIX if self.output is None else ""


@dataclass(frozen=True)
class Found:
    """A picture and where it lies under the folder it was found in."""

    path: Path
    relative: Path


def job_of(
    found: Found, naming: Naming, file_format: str | None, *, single: bool, stream: bool = False
) -> Job:
    """The job of one picture.

    Args:
        found: the picture; from standard input, the name that its result gets.
        naming: where results go.
        file_format: Pillow's name of the format asked for, or None for the picture's own.
        single: whether it is the only one.
        stream: whether it comes from standard input.

    Raises:
        PlanError: several pictures go into one file, or its name contradicts the format.
    """
    source = None if stream else found.path
    if naming.to_standard_output:
        if naming.save_transmission:
            raise PlanError("--save-transmission needs a file name: add -o FILE")
        return Job(source, None, None, file_format)
    place = naming.place
    if place is not None and not means_folder(naming):
        if not single:
            raise PlanError(
                f"-o {naming.output}: several pictures need a folder; end it with a slash"
            )
        wanted = FORMAT_OF_SUFFIX.get(place.suffix.lower())
        if wanted is None and is_stream(place):
            wanted = file_format  # a device's name says nothing of formats
        elif wanted is None:
            raise PlanError(
                f"-o {naming.output}: the suffix names no format corun writes; "
                "for a folder, end it with a slash"
            )
        elif file_format not in (None, wanted):
            raise PlanError(f"-o {naming.output} and --format {naming.file_format} disagree")
        target, stem, folder = place, place.stem, place.parent
    else:
        folder = found.path.parent if place is None else place / found.relative.parent
        stem = found.path.stem
        extension = found.path.suffix if found.path.suffix.lower() in FORMAT_OF_SUFFIX else ".png"
        if file_format is not None and FORMAT_OF_SUFFIX.get(extension.lower()) != file_format:
            extension = SUFFIX_OF_FORMAT[file_format]
        target = folder / f"{stem}{naming.infix}{extension}"
        wanted = FORMAT_OF_SUFFIX[extension.lower()]
    transmission = folder / f"{stem}{TRANSMISSION_SUFFIX}" if naming.save_transmission else None
    return Job(source, target, transmission, wanted)


def means_folder(naming: Naming) -> bool:
    """Whether the output is a folder, that is there or that its name means.

    Raises:
        PlanError: the system does not look it up.
    """
    text, place = str(naming.output), naming.place
    assert place is not None
    try:
        if place.is_dir() or text.endswith(("/", "\\")):
            return True
        return not place.suffix and not place.exists()
    except OSError as error:
        raise unusable(naming, error) from error


def unusable(naming: Naming, error: OSError | RuntimeError) -> PlanError:
    """An output that the system does not look up."""
    return PlanError(f"-o {naming.output}: cannot be used ({reason_of(error)}); choose another")
