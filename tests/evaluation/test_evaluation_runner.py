"""Whole comparisons on small pictures: values, caching, resuming, failures, detection."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from evaluation_pictures import save_levels
from PIL import Image

from corun.errors import ConfigurationError, DataError, DeviceError, WeightsError
from corun.evaluation import methods, picture_tasks, runner
from corun.evaluation.methods import parse_method
from corun.evaluation.plan import Plan, parse_dataset
from corun.evaluation.prepared_pictures import Made
from corun.evaluation.report import Report
from corun.evaluation.report_files import write_report
from corun.evaluation.runner import evaluate
from corun.evaluation.work_pool import WorkPool


def plan_of(pairs: Path, output: Path, *methods: str, **options: object) -> Plan:
    settings = {"metrics": ("brightness", "hue-shift"), **options}
    return Plan(
        methods=tuple(parse_method(text) for text in methods),
        datasets=(parse_dataset(f"pairs={pairs}"),),
        output=output,
        **settings,
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the work that is really done."""
    counts = {"made": 0, "scored": 0}
    make, score = picture_tasks.make_result, picture_tasks.score_result

    def make_one(task: picture_tasks.ResultTask) -> Made:
        counts["made"] += 1
        return make(task)

    def score_one(task: picture_tasks.ScoreTask) -> dict[str, tuple[float | None, str]]:
        counts["scored"] += len(task.metrics)
        return score(task)

    monkeypatch.setattr(runner, "make_result", make_one)
    monkeypatch.setattr(runner, "score_result", score_one)
    return counts


def value(report: Report, method: str, metric: str) -> float:
    return report.table("pairs")[method][metric].value


def test_values_are_those_of_the_saved_pictures(pairs: Path, tmp_path: Path) -> None:
    plan = plan_of(
        pairs,
        tmp_path / "o",
        "input",
        f"clear={pairs / 'clear'}",
        metrics=("brightness", "psnr"),
    )
    report = evaluate(plan)
    assert report.methods == ("hazy input", "clear")
    hazy = [np.asarray(Image.open(pairs / "hazy" / f"p{k}.png")) / 255 for k in range(3)]
    assert value(report, "hazy input", "brightness") == pytest.approx(
        np.mean([h.mean() for h in hazy]), abs=1e-6
    )
    # the truth against itself is perfect: it wins, and nothing has failed
    cell = report.table("pairs")["clear"]["psnr"]
    assert (cell.value, cell.scored, cell.failed, cell.place) == (np.inf, 3, 0, 1)
    assert report.problems == ()
    assert evaluate(plan) == report  # from the kept scores


def test_a_second_run_does_nothing_and_says_the_same(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = counted(monkeypatch)
    first = evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"))
    assert counts == {"made": 6, "scored": 12}
    again = evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"))
    assert counts == {"made": 6, "scored": 12}
    assert again == first


def test_only_what_changed_is_done_again(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(plan_of(pairs, tmp_path / "o", "input"))
    counts = counted(monkeypatch)
    evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"))
    assert counts == {"made": 3, "scored": 6}
    changed = pairs / "hazy" / "p1.png"
    save_levels(changed, np.full((30, 40, 3), 77, np.uint8))
    os.utime(changed, ns=(2**62, 2**62))
    report = evaluate(plan_of(pairs, tmp_path / "o", "input"))
    assert counts == {"made": 4, "scored": 8}
    known = {s.photo: s.value for s in report.scores if s.metric == "brightness"}
    assert known["p1"] == pytest.approx(77 / 255)


def test_another_source_of_an_older_date_is_scored(pairs: Path, tmp_path: Path) -> None:
    plan = plan_of(pairs, tmp_path / "o", "input", metrics=("psnr", "brightness"))
    before = value(evaluate(plan), "hazy input", "psnr")
    for folder in ("hazy", "clear"):
        changed = pairs / folder / "p1.png"
        save_levels(changed, np.full((30, 40, 3), 77 if folder == "hazy" else 79, np.uint8))
        os.utime(changed, ns=(10**18, 10**18))
    report = evaluate(plan)
    known = {(s.photo, s.metric): s.value for s in report.scores}
    assert known["p1", "brightness"] == pytest.approx(77 / 255)
    assert known["p1", "psnr"] == pytest.approx(20 * np.log10(255 / 2))
    assert value(report, "hazy input", "psnr") != before


def test_inputs_that_were_tampered_with_change_nothing(pairs: Path, tmp_path: Path) -> None:
    first = evaluate(plan_of(pairs, tmp_path / "o", "input", metrics=("psnr",)))
    for kind in ("inputs", "references"):
        save_levels(tmp_path / "o" / kind / "pairs/p0.png", np.zeros((30, 40, 3), np.uint8))
    assert evaluate(plan_of(pairs, tmp_path / "o", "input", metrics=("psnr",))) == first


def test_indoor_pairs_of_unequal_sizes_are_compared_in_the_middle(tmp_path: Path) -> None:
    """RESIDE's indoor test set: hazy 620×460, clear 640×480, here a tenth of it."""
    clear = np.random.default_rng(3).integers(0, 200, (48, 64, 3)).astype(np.uint8)
    hazy = clear[1:47, 1:63] + 5
    save_levels(tmp_path / "s/gt/1400.png", clear)
    save_levels(tmp_path / "s/hazy/1400_1.png", hazy.astype(np.uint8))
    plan = Plan(
        methods=(parse_method("input"),),
        datasets=(parse_dataset(f"sots-indoor={tmp_path / 's'}"),),
        metrics=("psnr",),
        output=tmp_path / "o",
    )
    report = evaluate(plan)
    assert report.problems == ()
    cell = report.table("sots-indoor")["hazy input"]["psnr"]
    assert cell.value == pytest.approx(20 * np.log10(255 / 5))


def test_a_run_that_was_cut_short_goes_on(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CutShortError(Exception):
        pass

    def cut(what: str, done: int, total: int) -> None:
        if what == "scores" and done == 2:
            raise CutShortError

    with pytest.raises(CutShortError):
        evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"), progress=cut)
    counts = counted(monkeypatch)
    evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"))
    assert counts == {"made": 0, "scored": 8}


def test_results_of_older_code_are_made_again(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"))
    counts = counted(monkeypatch)
    monkeypatch.setitem(methods.RESULT_VERSIONS, "dcp", methods.RESULT_VERSIONS["dcp"] + 1)
    evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"))
    assert counts["made"] == 3


def test_a_worker_that_dies_is_named() -> None:
    with WorkPool(2) as pool, pytest.raises(DeviceError, match=r"worker process died.*--jobs"):
        list(pool.finished(os._exit, [1, 1]))


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/corun"])
def test_an_output_that_cannot_be_is_named(pairs: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    output = tmp_path / place
    with pytest.raises(DataError, match=r"cannot be kept there .*give another --output"):
        evaluate(plan_of(pairs, output, "input"))
    report = Report(("input",), {"d": ("p",)}, (), ())
    with pytest.raises(DataError, match="the report cannot be written there"):
        write_report(report, output)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("what", ["inputs", "results"])
def test_a_full_disk_ends_the_run_and_keeps_what_is_done(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    evaluate(plan_of(pairs, tmp_path / "o", "input"))
    counts = counted(monkeypatch)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*_: object, **__: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(picture_tasks, "prepare_input" if what == "inputs" else "run_method", fail)
        with pytest.raises(DataError, match=r"cannot be written \(No space left .*; make room"):
            evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"))
    counts.update(made=0, scored=0)
    evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"))
    assert counts == {"made": 3, "scored": 6}


def test_too_little_memory_is_a_line_of_the_report(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(picture_tasks, "run_method", fail)
    report = evaluate(plan_of(pairs, tmp_path / "o", "dcp"))
    assert set(report.problems) == {
        f"dcp, pairs/p{k}: not enough memory; use fewer --jobs, or a smaller --long-side"
        for k in range(3)
    }


def test_folders_of_odd_names_are_data(tmp_path: Path) -> None:
    save_levels(tmp_path / "beta=0.2" / "a.png", np.zeros((4, 4, 3), np.uint8))
    choice = parse_dataset(str(tmp_path / "beta=0.2"))
    assert (choice.name, choice.label) == ("folder", "beta=0.2")
    with pytest.raises(ConfigurationError, match="no such folder"):
        parse_dataset("folder=" + "x" * 300)


def test_a_result_somebody_touched_is_made_again(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(plan_of(pairs, tmp_path / "o", "dcp"))
    save_levels(tmp_path / "o/results/dcp/pairs/p0.png", np.zeros((30, 40, 3), np.uint8))
    assert evaluate(plan_of(pairs, tmp_path / "o", "dcp")) == first


def test_failures_are_counted_and_never_averaged(pairs: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    save_levels(theirs / "p0.png", np.full((30, 40, 3), 51, np.uint8))
    save_levels(theirs / "p1.png", np.full((15, 20, 3), 255, np.uint8))
    save_levels(theirs / "q.png", np.zeros((30, 40, 3), np.uint8))
    report = evaluate(plan_of(pairs, tmp_path / "o", str(theirs)))
    cell = report.table("pairs")["theirs"]["brightness"]
    assert cell.value == pytest.approx(0.2)
    assert (cell.scored, cell.failed) == (1, 2)
    text = "\n".join(report.problems)
    assert "theirs, pairs/p1:" in text
    assert "20x15, its input is 40x30" in text
    assert "theirs, pairs/p2: p2: no result of that name" in text
    assert report.notes == ("theirs: 1 of no photo in pairs: q",)
    resized = evaluate(plan_of(pairs, tmp_path / "o", str(theirs), sizes="resize"))
    assert resized.table("pairs")["theirs"]["brightness"].scored == 2


def test_an_unreadable_photo_fails_every_method(pairs: Path, tmp_path: Path) -> None:
    (pairs / "hazy" / "p2.png").write_bytes(b"broken")
    report = evaluate(plan_of(pairs, tmp_path / "o", "input", "dcp"))
    assert [report.table("pairs")[m]["brightness"].failed for m in report.methods] == [1, 1]


def test_several_processes_give_the_same_report(pairs: Path, tmp_path: Path) -> None:
    alone = evaluate(plan_of(pairs, tmp_path / "a", "input", "dcp", metrics=("brightness",)))
    many = evaluate(plan_of(pairs, tmp_path / "b", "input", "dcp", metrics=("brightness",), jobs=2))
    assert list(many.rows()) == list(alone.rows())


def test_the_photos_are_scaled_first(pairs: Path, tmp_path: Path) -> None:
    report = evaluate(
        plan_of(pairs, tmp_path / "o", "input", long_side=20, metrics=("brightness", "psnr"))
    )
    with Image.open(report.pictures["pairs"]["hazy input"]["p0"]) as image:
        assert image.size == (20, 15)
    assert report.table("pairs")["hazy input"]["psnr"].scored == 3  # the clear views too


def test_plans_that_cannot_be_carried_out(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="two of one method label"):
        plan_of(pairs, tmp_path, "a=dcp", "a=input")
    with pytest.raises(ConfigurationError, match=r"no metric is called .beauty."):
        evaluate(plan_of(pairs, tmp_path / "o", "dcp", metrics=("beauty",)))
    with pytest.raises(ConfigurationError, match="give the detector too"):
        evaluate(plan_of(pairs, tmp_path / "o", "dcp", metrics=("map-voc",)))
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"broken\.pth"):
        evaluate(plan_of(pairs, tmp_path / "o", str(tmp_path / "broken.pth")))
    with pytest.raises(ConfigurationError, match="no such folder"):
        parse_dataset("fattal=/nowhere")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "scores.sqlite").write_text("this is not a database but a plain text")
    with pytest.raises(DataError, match="not a file of scores"):
        evaluate(plan_of(pairs, tmp_path / "text", "dcp"))
