"""Methods × data sets × metrics in one go: cached, resumable, over processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corun.data.datasets.boxes import TrueBoxes, read_coco, read_voc
from corun.data.datasets.catalogue import open_dataset
from corun.data.datasets.photo_sets import Photo
from corun.errors import ConfigurationError, DataError
from corun.evaluation.detection_scores import (
    DETECTION_METRICS,
    detection_facts,
    detections_from_json,
    scaled_boxes,
    set_scores,
)
from corun.evaluation.methods import load_method
from corun.evaluation.output_folder import CACHE_NAME, refuse_overwriting
from corun.evaluation.picture_tasks import (
    DetectionTask,
    InputTask,
    ResultTask,
    ScoreTask,
    detect,
    make_input,
    make_result,
    score_result,
)
from corun.evaluation.plan import DatasetChoice, Plan, provenance_of
from corun.evaluation.prepared_pictures import Made, common_ending, index_results
from corun.evaluation.report import MetricFacts, Report, Score, SetComparison, SetScore
from corun.evaluation.score_cache import ScoreCache
from corun.evaluation.scoring import Companion, facts_of, needs_of
from corun.evaluation.work_pool import WorkPool
from corun.files import checksum, same_name
from corun.metrics.detection import Detections
from corun.metrics.detection_models import load_detector
from corun.pictures.reading import read_size

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done and how many there are."""


@dataclass
class _Run:
    """What accumulates while a comparison runs."""

    plan: Plan
    cache: ScoreCache
    pool: WorkPool
    progress: Progress
    photos: dict[str, dict[str, Photo]]
    inputs: dict[tuple[str, str], Made] = field(default_factory=dict)
    references: dict[tuple[str, str], Made] = field(default_factory=dict)
    results: dict[tuple[str, str, str], Made] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)
    set_scores: list[SetScore] = field(default_factory=list)
    set_comparisons: list[SetComparison] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def evaluate(
    plan: Plan, *, command: str = "", progress: Progress = lambda what, done, total: None
) -> Report:
    """Makes what is missing, scores what is not scored yet, and reports everything.

    Results lie in `plan.output` as PNGs, scores in its `scores.sqlite`: a run that was
    interrupted goes on where it stopped, and one more method costs only its own work. Who may have
    company in that folder holds it meanwhile (`output_folder.held`).

    Args:
        plan: what to compare.
        command: how it was started, for the report.
        progress: told what happens.

    Raises:
        CorunError: the plan cannot be carried out at all: a data set, method or detector is
            unusable, or a metric lacks its weights. What is wrong with single pictures is in the
            report.
    """
    picture_metrics = tuple(name for name in plan.metrics if name not in DETECTION_METRICS)
    ap_metrics = [name for name in plan.metrics if name in DETECTION_METRICS]
    if ap_metrics and plan.detector is None:
        raise ConfigurationError(f"{ap_metrics[0]}: give the detector too (--detector FILE.onnx)")
    facts = {name: facts_of(name, plan.files) for name in picture_metrics}
    for method in plan.methods:
        load_method(method)
    photos: dict[str, dict[str, Photo]] = {}
    problems: list[str] = []
    for choice in plan.datasets:
        photos[choice.label], unusable = _photos(plan, choice)
        problems += unusable
    _refuse_overwriting(plan, photos)
    with ScoreCache(plan.output / CACHE_NAME) as cache, WorkPool(plan.jobs) as pool:
        run = _Run(plan, cache, pool, progress, photos, problems=problems)
        _make_inputs(run)
        _make_results(run)
        _score(run, facts)
        if ap_metrics:
            facts |= _detect(run, ap_metrics)
    return Report(
        methods=tuple(method.label for method in plan.methods),
        datasets={label: tuple(photos) for label, photos in run.photos.items()},
        metrics=tuple(facts[name] for name in plan.metrics if name in facts),
        scores=tuple(run.scores),
        set_scores=tuple(run.set_scores),
        set_comparisons=tuple(run.set_comparisons),
        problems=tuple(dict.fromkeys(run.problems)),
        notes=tuple(dict.fromkeys(run.notes)),
        pictures=_pictures(run),
        sources={choice.label: choice.name for choice in plan.datasets},
        provenance=provenance_of(plan, facts, command),
    )


def _photos(plan: Plan, choice: DatasetChoice) -> tuple[dict[str, Photo], list[str]]:
    """The photos of a data set by name, and what is wrong with others."""
    found = open_dataset(choice.name, choice.folder)
    if not found.photos:
        raise DataError("; ".join((f"{choice.folder}: no usable photo", *found.problems[:1])))
    photos = {photo.name: photo for photo in found.photos[: plan.limit]}
    return photos, [f"{choice.label}: {problem}" for problem in found.problems]


def _refuse_overwriting(plan: Plan, photos: dict[str, dict[str, Photo]]) -> None:
    inputs = [*plan.files.values(), *(d.truth for d in plan.datasets if d.truth is not None)]
    targets = []
    # what we prepared may be compared, too, as a row of its own: it is made again as it was
    prepared = [(plan.output / kind).resolve() for kind in ("inputs", "references")]
    for label, own in photos.items():
        for name, photo in own.items():
            of_photo = (photo.image, photo.reference, photo.annotation, photo.depth)
            inputs += [path for path in of_photo if path is not None]
            targets.append(plan.hazy(label, name))
            if photo.reference is not None:
                targets.append(plan.reference(label, name))
            targets += [
                plan.picture(method.label, label, name)
                for method in plan.methods
                if method.kind != "folder"  # see `adopt_result`
            ]
        for method in plan.methods:
            if method.kind == "folder":
                offered = index_results(Path(method.source), label)
                inputs += [
                    path
                    for paths in offered.values()
                    for path in paths
                    if not any(own in path.resolve().parents for own in prepared)
                ]
    inputs += [Path(method.source) for method in plan.methods if method.checksum]
    refuse_overwriting(plan.output, inputs, targets)


def _make_inputs(run: _Run) -> None:
    plan = run.plan
    inputs, references = [], []
    for label, photos in run.photos.items():
        for name, photo in photos.items():
            target = plan.hazy(label, name)
            inputs.append(InputTask(label, name, photo.image, target, plan.long_side))
            if photo.reference is not None:
                target = plan.reference(label, name)
                crop = photo.image if photo.reference_crop == "centre" else None
                references.append(
                    InputTask(label, name, photo.reference, target, plan.long_side, crop)
                )
    for what, kept, tasks in (
        ("inputs", run.inputs, inputs),
        ("references", run.references, references),
    ):
        for count, (task, made) in enumerate(run.pool.finished(make_input, tasks), 1):
            kept[task.dataset, task.photo] = made
            if made.problem:
                run.problems.append(f"{task.dataset}: {made.problem}")
            run.progress(what, count, len(tasks))


def _make_results(run: _Run) -> None:
    plan = run.plan
    tasks = []
    for method in plan.methods:
        for label, photos in run.photos.items():
            offered = index_results(Path(method.source), label) if method.kind == "folder" else {}
            ending = common_ending(offered, photos)
            if ending:
                run.notes.append(f"{method.label}, {label}: results are called PHOTO{ending}")
            for name in photos:
                hazy = run.inputs[label, name]
                if hazy.problem:
                    run.results[method.label, label, name] = Made(problem=hazy.problem)
                    continue
                target = plan.picture(method.label, label, name)
                task = ResultTask(
                    label,
                    name,
                    method,
                    Path(hazy.path),
                    target,
                    tuple(offered.get(name + ending, ())),
                    plan.sizes,
                )
                kept = _kept_result(run, task, hazy)
                if kept is None:
                    tasks.append(task)
                else:
                    run.results[method.label, label, name] = kept
            used = {name + ending for name in photos}
            unused = sorted(set(offered) - used) if plan.limit is None else []
            if unused:
                names = ", ".join(unused[:5]) + (", …" if len(unused) > 5 else "")
                run.notes.append(f"{method.label}: {len(unused)} of no photo in {label}: {names}")
    for count, (task, made) in enumerate(run.pool.finished(make_result, tasks), 1):
        key = (task.method.label, task.dataset, task.photo)
        run.results[key] = made
        if not made.problem and task.method.kind != "folder":
            content = [run.inputs[task.dataset, task.photo].checksum, plan.sizes]
            answer = {"checksum": made.checksum, "notes": list(made.notes)}
            run.cache.put("result", task.method.fingerprint, content, answer)
        run.progress("results", count, len(tasks))
    run.results = {
        (method.label, label, name): run.results[method.label, label, name]
        for method in plan.methods
        for label, photos in run.photos.items()
        for name in photos
    }
    for (method_label, dataset, photo), made in run.results.items():
        if made.problem:
            run.problems.append(f"{method_label}, {dataset}/{photo}: {made.problem}")
        run.notes += [f"{method_label}, {dataset}/{photo}: {note}" for note in made.notes]


def _kept_result(run: _Run, task: ResultTask, hazy: Made) -> Made | None:
    """The result of an earlier run, if the file is still what it was."""
    if task.method.kind == "folder" or not task.target.is_file():
        return None
    known = run.cache.get("result", task.method.fingerprint, [hazy.checksum, run.plan.sizes])
    if known is None:
        return None
    if checksum(task.target) != known["checksum"]:
        return None
    return Made(str(task.target), known["checksum"], tuple(known["notes"]))


def _score(run: _Run, facts: Mapping[str, MetricFacts]) -> None:
    plan = run.plan
    answers: dict[tuple[str, str, str, str], tuple[float | None, str]] = {}
    contents: dict[tuple[str, str, str, str], list[str]] = {}
    tasks = []
    for (method, dataset, photo), made in run.results.items():
        available: dict[Companion, Made] = {"input": run.inputs[dataset, photo]}
        reference = run.references.get((dataset, photo))
        if reference is not None and not reference.problem:
            available["reference"] = reference
        wanted = []
        for name in facts:
            need = needs_of(name)
            if need is not None and need not in available:
                continue  # this data set has no clear views
            key = (method, dataset, photo, name)
            if made.problem:
                answers[key] = (None, made.problem)
                continue
            contents[key] = [made.checksum]
            if need is not None:
                contents[key].append(available[need].checksum)
            known = run.cache.get(name, facts[name].version, contents[key])
            if known is None:
                wanted.append(name)
            else:
                answers[key] = (float(known), "")
        if wanted:
            companions = {kind: Path(entry.path) for kind, entry in available.items()}
            tasks.append(
                ScoreTask(
                    dataset, photo, method, Path(made.path), companions, tuple(wanted), plan.files
                )
            )
    for count, (task, found) in enumerate(run.pool.finished(score_result, tasks), 1):
        for name, (value, problem) in found.items():
            key = (task.method, task.dataset, task.photo, name)
            answers[key] = (value, problem)
            if value is not None:
                run.cache.put(name, facts[name].version, contents[key], value)
        run.progress("scores", count, len(tasks))
    for method, dataset, photo in run.results:
        for name in facts:
            if (method, dataset, photo, name) in answers:
                value, problem = answers[method, dataset, photo, name]
                run.scores.append(Score(dataset, method, photo, name, value, problem))
                if value is None and not run.results[method, dataset, photo].problem:
                    run.problems.append(f"{method}, {dataset}/{photo}: {name}: {problem}")


def _detect(run: _Run, metrics: list[str]) -> dict[str, MetricFacts]:
    plan = run.plan
    assert plan.detector is not None
    version = load_detector(plan.detector, plan.layout).version
    truth, annotated = {}, {}
    for choice in plan.datasets:
        truth[choice.label], annotated[choice.label] = _truth(run, choice)
    found: dict[tuple[str, str], dict[str, Detections]] = defaultdict(dict)
    tasks = []
    for (method, dataset, photo), made in run.results.items():
        if photo not in truth[dataset] or made.problem:
            continue
        known = run.cache.get("detections", version, [made.checksum])
        if known is not None:
            found[method, dataset][photo] = detections_from_json(known)
            continue
        tasks.append(
            DetectionTask(dataset, photo, method, Path(made.path), plan.detector, plan.layout)
        )
    for count, (task, (content, problem)) in enumerate(run.pool.finished(detect, tasks), 1):
        if content is None:
            run.problems.append(f"{task.method}, {task.dataset}/{task.photo}: {problem}")
        else:
            result = run.results[task.method, task.dataset, task.photo]
            run.cache.put("detections", version, [result.checksum], content)
            found[task.method, task.dataset][task.photo] = detections_from_json(content)
        run.progress("detections", count, len(tasks))
    for label, boxes in truth.items():
        if annotated[label]:
            of_methods = {entry.label: found[entry.label, label] for entry in plan.methods}
            scores, comparisons = set_scores(
                label, boxes, of_methods, metrics, annotated=annotated[label]
            )
            run.set_scores += scores
            run.set_comparisons += comparisons
    return {name: detection_facts(name, version) for name in metrics}


def _truth(run: _Run, choice: DatasetChoice) -> tuple[dict[str, TrueBoxes], list[str]]:
    """The boxes of a data set in the pixels of its prepared inputs, empty without any.

    Also every photo that has boxes, whether or not its input could be prepared.
    """
    coco = read_coco(choice.truth) if choice.truth is not None else {}
    truth, annotated = {}, []
    for name, photo in run.photos[choice.label].items():
        made = run.inputs[choice.label, name]
        boxes = coco.get(same_name(photo.image.stem))
        if boxes is None and photo.annotation is not None:
            boxes = read_voc(photo.annotation)
        if boxes is None:
            continue
        annotated.append(name)
        if made.problem:
            continue
        prepared, original = read_size(Path(made.path)), read_size(photo.image)
        truth[name] = scaled_boxes(boxes, prepared, original)
    return truth, annotated


def _pictures(run: _Run) -> dict[str, dict[str, dict[str, str]]]:
    pictures: dict[str, dict[str, dict[str, str]]] = {}
    for (method, dataset, photo), made in run.results.items():
        if not made.problem:
            pictures.setdefault(dataset, {}).setdefault(method, {})[photo] = made.path
    return pictures
