"""Which picture goes where: inputs as typed, outputs by rule, conflicts found before any work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from corun.dehazing.file_naming import (
    STANDARD_STREAM,
    TRANSMISSION_SUFFIX,
    Found,
    Job,
    Naming,
    PlanError,
    job_of,
    means_folder,
)
from corun.dehazing.file_search import search
from corun.errors import CorunError, reason_of
from corun.files import is_stream, user_path
from corun.pictures.formats import READABLE_SUFFIXES, format_from_name

STANDARD_INPUTS = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


@dataclass
class Plan:
    """The jobs; what cannot even become a job: (input, why); earlier results that are left out."""

    jobs: list[Job] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)


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
            missing becomes a job that fails; a name or folder the system does not open, and a
            file that is no picture by its name and would get the result of one that is, become
            failures of the plan; the others go on.
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
    inputs = [STANDARD_STREAM if text in STANDARD_INPUTS else text for text in inputs]
    if STANDARD_STREAM in inputs:
        return Plan([_stream_job(inputs, naming, file_format)])
    searched = search(inputs, naming, recursive)
    found = searched.found
    plan = Plan(failures=searched.failures, left_out=searched.left_out, videos=searched.videos)
    single = len(inputs) == 1 and len(found) == 1 and not user_path(inputs[0]).is_dir()
    for picture in found:
        plan.jobs.append(job_of(picture, naming, file_format, single=single))
    if naming.to_standard_output and len(plan.jobs) > 1:
        raise PlanError("-o -: standard output takes one picture; give one input or a folder -o")
    _tell_transmissions_apart(plan)
    if skip_existing:
        _leave_out_results(plan)
    _refuse_conflicts(plan, overwrite)
    return plan


def _stream_job(inputs: list[str], naming: Naming, file_format: str | None) -> Job:
    if len(inputs) > 1:
        raise PlanError("'-' is standard input and goes alone; leave out the other inputs")
    if naming.output is None:
        naming = replace(naming, output=STANDARD_STREAM)
    target = naming.place or Path(STANDARD_STREAM)
    if naming.place is not None and means_folder(naming):
        raise PlanError(f"-o {naming.output}: a picture from standard input needs a file name")
    return job_of(Found(target, Path(target.name)), naming, file_format, single=True, stream=True)


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
    for job in list(plan.jobs):
        if job.source is not None and writers.get(_place(job.source), set()) - {_place(job.source)}:
            plan.jobs.remove(job)
            plan.left_out.append(job.source)


def _place(path: Path) -> Path:
    """The path resolved, or as it is where the system does not look it up (reported later)."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def _refuse_conflicts(plan: Plan, overwrite: bool) -> None:
    """Raises where outputs and inputs meet; a job whose output cannot even be looked up fails."""
    sources = {_place(job.source) for job in plan.jobs if job.source is not None}
    writers: dict[Path, Job] = {}
    for job in sorted(plan.jobs, key=_is_odd):
        reason = _taken(job, sources, writers, overwrite)
        if reason is not None:
            plan.failures.append((job.name, reason))
            plan.jobs.remove(job)


def _is_odd(job: Job) -> bool:
    """Whether a file is no picture by its name: a text or a video beside a photo, mostly."""
    return job.source is not None and job.source.suffix.lower() not in READABLE_SUFFIXES


def _why_no_picture(job: Job) -> str | None:
    """What a file is instead; None where it is a picture after all."""
    from corun.pictures.reading import read_size

    assert job.source is not None
    try:
        read_size(job.source)
    except CorunError as error:
        return str(error)
    return None


def _taken(job: Job, sources: set[Path], writers: dict[Path, Job], overwrite: bool) -> str | None:
    """Notes what a job writes; why the job alone fails, or None."""
    try:
        outputs = {path: path.resolve() for path in job.outputs if not is_stream(path)}
        own = None if job.source is None else job.source.resolve()
    except (OSError, RuntimeError) as error:
        return f"{job.target}: cannot be written ({reason_of(error)}); choose another -o"
    for output, resolved in outputs.items():
        other = writers.get(resolved)
        if other is not None and _is_odd(job):
            return _why_no_picture(job) or (
                f"{job.name}: would be written to {output}, as {other.name} is; dehaze it alone"
            )
        if other is not None:
            raise PlanError(
                f"{other.name} and {job.name} would both be written to {output}; "
                "dehaze them separately, or choose -o or --suffix"
            )
        if resolved == own and not overwrite:
            raise PlanError(
                f"{output} would replace the picture itself; "
                "choose another --suffix or -o, or add --overwrite"
            )
        if resolved in sources and resolved != own:
            raise PlanError(
                f"the result of {job.name} would replace the input {output}; "
                "choose another --suffix or -o"
            )
    writers.update(dict.fromkeys(outputs.values(), job))
    return None
