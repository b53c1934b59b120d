"""Which picture goes where: inputs as typed, outputs by rule, conflicts found before any work."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from corun.errors import CorunError
from corun.pictures.formats import (
    FORMAT_OF_SUFFIX,
    READABLE_SUFFIXES,
    SUFFIX_OF_FORMAT,
    format_from_name,
)

DEFAULT_SUFFIX = ".dehazed"
TRANSMISSION_SUFFIX = ".transmission.png"
STANDARD_STREAM = "-"


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
        output: a folder, a file (one input only), "-" for standard output, or None: beside.
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
    def infix(self) -> str:
        """The suffix in force, "" for none."""
        if self.suffix is not None:
            return self.suffix
        return DEFAULT_SUFFIX if self.output is None else ""


@dataclass(frozen=True)
class _Found:
    """A picture and where it lies under the folder it was found in."""

    path: Path
    relative: Path


@dataclass
class Plan:
    """The jobs, and what cannot even become a job: (input, why)."""

    jobs: list[Job] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


def make_plan(
    inputs: list[str],
    naming: Naming,
    *,
    recursive: bool = False,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> Plan:
    """Turns inputs into jobs.

    Args:
        inputs: files, folders, glob patterns, or "-" alone for standard input. A file that is
            missing becomes a job that fails, a name or folder the system does not open becomes
            one of the plan's failures; the others go on.
        naming: where results go.
        recursive: whether folders are searched to the bottom.
        overwrite: whether a picture may be replaced by its own result.
        skip_existing: whether inputs that are other inputs' results are left out, as a pattern
            that the shell expands for a second run names them too.

    Raises:
        PlanError: two inputs have the same output, an output is another input or (unless
            `overwrite`) its own input, "-" is combined with other inputs, several pictures are
            to go into one file, or a name is empty.
        ConfigurationError: an unknown format.
    """
    file_format = None if naming.file_format is None else format_from_name(naming.file_format)
    if naming.suffix is not None and ("/" in naming.suffix or "\\" in naming.suffix):
        raise PlanError(f"--suffix {naming.suffix}: a suffix is part of a file name, not a path")
    if "" in inputs:
        raise PlanError("an input is an empty name; for the current folder, give .")
    if naming.output == "":
        raise PlanError("-o is an empty name; for the current folder, give -o .")
    if STANDARD_STREAM in inputs:
        return Plan([_stream_job(inputs, naming, file_format)])
    plan = Plan()
    found = _search(inputs, naming, recursive, plan)
    single = len(inputs) == 1 and len(found) == 1 and not Path(inputs[0]).is_dir()
    for picture in found:
        plan.jobs.append(_job(picture, naming, file_format, single))
    if naming.output == STANDARD_STREAM and len(plan.jobs) > 1:
        raise PlanError("-o -: standard output takes one picture; give one input or a folder -o")
    _tell_transmissions_apart(plan)
    if skip_existing:
        _leave_out_results(plan)
    _refuse_conflicts(plan, overwrite)
    return plan


def _stream_job(inputs: list[str], naming: Naming, file_format: str | None) -> Job:
    if len(inputs) > 1:
        raise PlanError("'-' is standard input and goes alone; leave out the other inputs")
    if naming.output in (None, STANDARD_STREAM):
        if naming.save_transmission:
            raise PlanError("--save-transmission needs a file name: add -o FILE")
        return Job(None, None, None, file_format)
    target = Path(str(naming.output))
    if _means_folder(str(naming.output)):
        raise PlanError(f"-o {naming.output}: a picture from standard input needs a file name")
    return _job(_Found(target, Path(target.name)), naming, file_format, single=True, stream=True)


def _search(inputs: list[str], naming: Naming, recursive: bool, plan: Plan) -> list[_Found]:
    found: dict[Path, _Found] = {}
    for text in inputs:
        try:
            for picture in _pictures_of(text, naming, recursive, plan):
                found.setdefault(picture.path.resolve(), picture)
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, no such home
            plan.failures.append((text, _not_readable(text, error)))
    return list(found.values())


def _pictures_of(text: str, naming: Naming, recursive: bool, plan: Plan) -> list[_Found]:
    path = Path(text).expanduser()
    if path.is_dir():
        failures = len(plan.failures)
        pictures = _pictures_in(path, naming, recursive, plan)
        if not pictures and len(plan.failures) == failures:
            hint = "" if recursive else "; add --recursive to look into its folders"
            plan.failures.append((text, f"{text}: the folder holds no pictures{hint}"))
        return pictures
    if not path.exists() and glob.has_magic(text):
        return _pictures_matching(text, path, naming, plan)
    return [_Found(path, Path(path.name))]


def _pictures_matching(text: str, pattern: Path, naming: Naming, plan: Plan) -> list[_Found]:
    """What a pattern matches, without results of earlier runs unless it asks for them by name."""
    matches = sorted(map(Path, glob.glob(_with_literal_folders(pattern), recursive=True)))  # noqa: PTH207 (absolute patterns)
    files = []
    failures = len(plan.failures)
    for match in matches:
        if match.is_file():
            files.append(match)
        elif _dangles(match):
            plan.failures.append((str(match), _dangling(match)))
    results = None if naming.output is None else _resolved_output(naming.output)
    pictures = []
    for file in files:
        among_results = results in (None, file.parent.resolve())
        if file.name.endswith(TRANSMISSION_SUFFIX):
            earlier = not pattern.name.endswith(TRANSMISSION_SUFFIX)
        else:
            earlier = among_results and _named_as_result(file, naming)
            earlier = earlier and not _named_as_result(pattern, naming)
        if not earlier:
            pictures.append(_Found(file, Path(file.name)))
    if files and not pictures:
        plan.failures.append((text, f"{text}: matches only results of earlier runs"))
    elif len(plan.failures) == failures and not pictures:
        plan.failures.append((text, f"{text}: matches no file; check the pattern"))
    return pictures


def _with_literal_folders(pattern: Path) -> str:
    """The pattern with its leading folders escaped that exist as they are written.

    A folder called "x[1]" is that folder, not a pattern for "x1".
    """
    folder = Path(pattern.anchor)
    parts = pattern.parts[1:] if pattern.anchor else pattern.parts
    count = 0
    for part in parts[:-1]:
        if not (folder / part).is_dir():
            break
        folder, count = folder / part, count + 1
    escaped = [glob.escape(part) for part in parts[:count]]
    return str(Path(pattern.anchor, *escaped, *parts[count:]))


def _named_as_result(path: Path, naming: Naming) -> bool:
    """Whether a file in the folder of the results (or a pattern for it) has the name of one."""
    return bool(naming.infix) and path.stem.endswith(naming.infix)


def _not_readable(name: str | Path, error: OSError | RuntimeError) -> str:
    return f"{name}: cannot be read ({_reason(error)}); check its name and permissions"


def _dangles(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _dangling(link: Path) -> str:
    return f"{link}: its link leads nowhere ({link.readlink()}); mend or remove it"


def _reason(error: OSError | RuntimeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _files_in(folder: Path, recursive: bool, plan: Plan) -> Iterator[Path]:
    """What a folder holds, hidden entries and folders aside; folders that are links stay shut."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        plan.failures.append((str(folder), _not_readable(folder, error)))
        return
    for entry in entries:
        try:
            if entry.is_file():
                yield entry
            elif entry.suffix.lower() in READABLE_SUFFIXES and _dangles(entry):
                plan.failures.append((str(entry), _dangling(entry)))
            elif recursive and entry.is_dir() and not entry.is_symlink():
                yield from _files_in(entry, recursive, plan)
        except OSError as error:
            if recursive or entry.suffix.lower() in READABLE_SUFFIXES:
                plan.failures.append((str(entry), _not_readable(entry, error)))


def _pictures_in(folder: Path, naming: Naming, recursive: bool, plan: Plan) -> list[_Found]:
    """The pictures of a folder, without hidden files and without results of earlier runs."""
    results = None if naming.output is None else _resolved_output(naming.output)
    among_results = results in (None, folder.resolve())
    pictures = []
    for path in sorted(_files_in(folder, recursive, plan)):
        relative = path.relative_to(folder)
        if path.suffix.lower() not in READABLE_SUFFIXES:
            continue
        if path.name.endswith(TRANSMISSION_SUFFIX):
            continue
        if among_results and _named_as_result(path, naming):
            continue
        inside = results is not None and results in path.resolve().parents
        if inside and results != folder.resolve():
            continue
        pictures.append(_Found(path, relative))
    return pictures


def _job(
    found: _Found, naming: Naming, file_format: str | None, single: bool, *, stream: bool = False
) -> Job:
    source = None if stream else found.path
    output = naming.output
    if output == STANDARD_STREAM:
        if naming.save_transmission:
            raise PlanError("--save-transmission needs a file name: add -o FILE")
        return Job(source, None, None, file_format)
    if output is not None and not _means_folder(output):
        if not single:
            raise PlanError(f"-o {output}: several pictures need a folder; end it with a slash")
        target = Path(output)
        wanted = FORMAT_OF_SUFFIX.get(target.suffix.lower())
        if wanted is None:
            raise PlanError(
                f"-o {output}: the suffix names no format corun writes; "
                "for a folder, end it with a slash"
            )
        if file_format not in (None, wanted):
            raise PlanError(f"-o {output} and --format {naming.file_format} disagree")
        stem, folder = target.stem, target.parent
    else:
        base = found.path.parent if output is None else Path(output) / found.relative.parent
        stem, folder = found.path.stem, base
        own = found.path.suffix if found.path.suffix.lower() in FORMAT_OF_SUFFIX else ".png"
        extension = own
        if file_format is not None and FORMAT_OF_SUFFIX.get(own.lower()) != file_format:
            extension = SUFFIX_OF_FORMAT[file_format]
        target = folder / f"{stem}{naming.infix}{extension}"
        wanted = FORMAT_OF_SUFFIX[extension.lower()]
    transmission = folder / f"{stem}{TRANSMISSION_SUFFIX}" if naming.save_transmission else None
    return Job(source, target, transmission, wanted)


def _means_folder(output: str) -> bool:
    path = Path(output)
    try:
        return path.is_dir() or output.endswith(("/", "\\")) or not path.suffix
    except OSError as error:
        raise _unusable(output, error) from error


def _resolved_output(output: str) -> Path:
    try:
        return Path(output).resolve()
    except (OSError, RuntimeError) as error:
        raise _unusable(output, error) from error


def _unusable(output: str, error: OSError | RuntimeError) -> PlanError:
    return PlanError(f"-o {output}: cannot be used ({_reason(error)}); choose another")


def _tell_transmissions_apart(plan: Plan) -> None:
    """Keeps the extension in the names of transmissions that would else be the same."""
    shared = Counter(job.transmission for job in plan.jobs)
    for index, job in enumerate(plan.jobs):
        if job.transmission is not None and job.source is not None and shared[job.transmission] > 1:
            name = job.source.name + TRANSMISSION_SUFFIX
            plan.jobs[index] = replace(job, transmission=job.transmission.with_name(name))


def _leave_out_results(plan: Plan) -> None:
    """Takes out the jobs whose picture another job writes."""
    writers: dict[Path, set[Path]] = {}
    for job in plan.jobs:
        if job.source is not None:
            for output in job.outputs:
                writers.setdefault(_place(output), set()).add(_place(job.source))
    plan.jobs[:] = [
        job
        for job in plan.jobs
        if job.source is None or not (writers.get(_place(job.source), set()) - {_place(job.source)})
    ]


def _place(path: Path) -> Path:
    """The path resolved, or as it is where the system does not look it up (reported later)."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def _refuse_conflicts(plan: Plan, overwrite: bool) -> None:
    """Raises where outputs and inputs meet; a job whose output cannot even be looked up fails."""
    sources = {job.source.resolve() for job in plan.jobs if job.source is not None}
    writers: dict[Path, Job] = {}
    for job in list(plan.jobs):
        try:
            outputs = {output: output.resolve() for output in job.outputs}
        except (OSError, RuntimeError) as error:
            where = f"{job.target}: cannot be written ({_reason(error)}); choose another -o"
            plan.failures.append((job.name, where))
            plan.jobs.remove(job)
            continue
        for output, resolved in outputs.items():
            if resolved in writers:
                raise PlanError(
                    f"{writers[resolved].name} and {job.name} would both be written to {output}; "
                    "dehaze them separately, or choose -o or --suffix"
                )
            writers[resolved] = job
            own = job.source is not None and resolved == job.source.resolve()
            if own and not overwrite:
                raise PlanError(
                    f"{output} would replace the picture itself; "
                    "choose another --suffix or -o, or add --overwrite"
                )
            if resolved in sources and not own:
                raise PlanError(
                    f"the result of {job.name} would replace the input {output}; "
                    "choose another --suffix or -o"
                )
