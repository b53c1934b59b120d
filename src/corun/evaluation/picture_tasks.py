"""The pieces of work a comparison is cut into; each runs in any process.

What goes wrong with one picture is a line in the report and not the end of a long run. Only a full
disk, which is wrong with all of them, is raised, as a DataError.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from corun.errors import CorunError, DataError, is_out_of_memory, one_line
from corun.evaluation.detection_scores import detections_to_json
from corun.evaluation.methods import Method, run_method
from corun.evaluation.prepared_pictures import Made, SizeRule, adopt_result, prepare_input
from corun.evaluation.scoring import Companion, needs_of, ready
from corun.files import is_full
from corun.metrics.detection_models import Detector, DetectorLayout, load_detector
from corun.metrics.pictures import read_picture
from corun.metrics.scoring import score_picture


@dataclass(frozen=True)
class InputTask:
    """Write a photo as PNG at the comparison's size."""

    dataset: str
    photo: str
    source: Path
    target: Path
    long_side: int | None
    crop_like: Path | None = None


@dataclass(frozen=True)
class ResultTask:
    """Make or adopt one result."""

    dataset: str
    photo: str
    method: Method
    hazy: Path
    target: Path
    candidates: tuple[Path, ...] = ()
    sizes: SizeRule = "refuse"


@dataclass(frozen=True)
class ScoreTask:
    """Score one result with the metrics that are not known yet."""

    dataset: str
    photo: str
    method: str
    result: Path
    companions: dict[Companion, Path]
    metrics: tuple[str, ...]
    files: dict[str, Path]


@dataclass(frozen=True)
class DetectionTask:
    """Detect in one result."""

    dataset: str
    photo: str
    method: str
    result: Path
    detector: str
    layout: DetectorLayout


def make_input(task: InputTask) -> Made:
    """Writes the prepared input."""
    try:
        prepare_input(task.source, task.target, task.long_side, crop_like=task.crop_like)
        return Made.of(task.target)
    except Exception as error:
        return Made(problem=told(error))


def make_result(task: ResultTask) -> Made:
    """Runs the method, or takes the result somebody else made."""
    try:
        if task.method.kind == "folder":
            return adopt_result(list(task.candidates), task.hazy, task.target, sizes=task.sizes)
        run_method(task.method, task.hazy, task.target)
        # a command may write anything: alpha, 16 bits, another size
        return adopt_result([task.target], task.hazy, task.target, sizes=task.sizes, replace=True)
    except Exception as error:
        return Made(problem=told(error))


def score_result(task: ScoreTask) -> dict[str, tuple[float | None, str]]:
    """Metric → value, or None and the problem."""
    answers: dict[str, tuple[float | None, str]] = {}
    for need in dict.fromkeys(needs_of(name) for name in task.metrics):
        names = [name for name in task.metrics if needs_of(name) == need]
        companion = None if need is None else task.companions[need]
        try:
            metrics = [ready(name, task.files) for name in names]
            found = score_picture(task.result, metrics, companion)
        except Exception as error:
            reason = f"{task.result}: {told(error)}"
            answers |= dict.fromkeys(names, (None, reason))
            continue
        answers |= {name: (value, "") for name, value in found.scores.items()}
        answers |= {name: (None, reason) for name, reason in found.failures.items()}
    return answers


def detect(task: DetectionTask) -> tuple[dict[str, Any] | None, str]:
    """What the detector finds, as JSON; or None and the problem."""
    try:
        found = _detector(task.detector, task.layout)(read_picture(task.result))
        return detections_to_json(found), ""
    except Exception as error:
        return None, f"{task.result}: {told(error)}"


def told(error: Exception) -> str:
    """Our own errors speak for themselves; others are named by their type.

    Raises:
        DataError: nothing more can be written.
    """
    if is_full(error):
        assert isinstance(error, OSError)
        place = error.filename2 or error.filename or "the output folder"
        raise DataError(
            f"{place}: cannot be written ({error.strerror}); make room: what is done is kept, and "
            "the same command goes on"
        ) from error
    if isinstance(error, CorunError):
        return one_line(error)
    if is_out_of_memory(error):
        return "not enough memory; use fewer --jobs, or a smaller --long-side"
    return one_line(f"{type(error).__name__}: {error}")


@lru_cache(maxsize=1)
def _detector(source: str, layout: DetectorLayout) -> Detector:
    return load_detector(source, layout)
