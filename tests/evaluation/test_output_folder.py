"""What a comparison never writes over, and several comparisons in one folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluation_pictures import save_levels
from filelock import FileLock

from corun.errors import ConfigurationError
from corun.evaluation.methods import parse_method
from corun.evaluation.output_folder import CACHE_NAME, LOCK_NAME
from corun.evaluation.plan import Plan, file_name, parse_dataset
from corun.evaluation.report_files import write_report
from corun.evaluation.runner import evaluate


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """home/photos/p0.png and p1.png, of 40×30."""
    rng = np.random.default_rng(1)
    for name in ("p0", "p1"):
        pixels = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        save_levels(tmp_path / "home" / "photos" / f"{name}.png", pixels)
    return tmp_path / "home" / "photos"


def plan(data: str | Path, output: str | Path, *methods: str, **options: object) -> Plan:
    return Plan(
        methods=tuple(parse_method(text) for text in methods or ("input",)),
        datasets=(parse_dataset(str(data)),),
        metrics=("brightness",),
        output=Path(output),
        **options,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("label", ["..", ".", "../../x", "a/b", "…/..", "", "~", ".git", "x" * 300])
def test_a_label_is_one_part_of_a_path(label: str) -> None:
    name = file_name(label)
    assert Path(name).parts == (name,)
    assert not name.startswith(".")
    assert len(name.encode()) <= 255


def test_a_folder_above_is_compared_and_left_alone(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(photos)
    (photos / "work").mkdir()
    monkeypatch.chdir(photos / "work")
    report = evaluate(plan("..", "..", long_side=20))
    assert list(report.datasets) == ["photos"]
    assert contents(photos).items() >= before.items()


def test_a_method_named_dots_stays_inside(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "home" / "out"
    evaluate(plan(f"..:folder={photos}", output, "..=input", "../../x=dcp"))
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"photos", "out"}
    assert {path.name for path in (output / "results").iterdir()} == {"_", "x"}


def test_what_is_compared_is_not_written_over(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    evaluate(plan(f"photos={photos}", output, "dcp"))
    own = output / "inputs" / "photos"
    before = contents(own)
    with pytest.raises(ConfigurationError, match=r"p0\.png: is compared, and would be written"):
        evaluate(plan(f"photos={own}", output, long_side=20))
    theirs = output / "results" / "dcp" / "photos"
    with pytest.raises(ConfigurationError, match=r"p0\.png: is compared"):
        evaluate(plan(f"photos={photos}", output, f"old={theirs}", "dcp"))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "inputs").symlink_to(photos.parent)
    with pytest.raises(ConfigurationError, match=r"p0\.png: is compared"):
        evaluate(plan(f"photos={photos}", tmp_path / "linked"))
    assert contents(own) == before
    again = evaluate(plan(f"photos={photos}", output, f"prepared={own}"))
    assert again.problems == ()
    assert contents(own) == before


@pytest.mark.parametrize("name", ["table.csv", "results/input/photos/p1.png"])
def test_files_of_others_stay(photos: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    chosen = plan(f"photos={photos}", tmp_path / "out", "input=input")
    with pytest.raises(ConfigurationError, match="is there already and not of an earlier"):
        evaluate(chosen)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "out" / CACHE_NAME).exists()
    mine.unlink()
    report = evaluate(chosen)
    write_report(report, tmp_path / "out")
    (tmp_path / "out" / CACHE_NAME).unlink()
    assert evaluate(chosen) == report  # its report tells whose folder it is


def test_a_plain_folder_may_have_a_label(photos: Path) -> None:
    choice = parse_dataset(f"photos={photos}")
    assert (choice.label, choice.name) == ("photos", "folder")
    with pytest.raises(ConfigurationError, match=r"fatal: .* write fattal=DIR, or fatal:folder="):
        parse_dataset(f"fatal={photos}")


def test_one_name_has_one_spelling(photos: Path, tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (photos / "p0.png").rename(photos / f"{decomposed}.png")
    (photos / "p1.png").rename(photos / f"{composed}2.png")
    theirs = tmp_path / "theirs"
    save_levels(theirs / f"{composed}.png", np.zeros((30, 40, 3), np.uint8))
    save_levels(theirs / f"{decomposed}2.png", np.zeros((30, 40, 3), np.uint8))
    report = evaluate(plan(f"photos={photos}", tmp_path / "out", str(theirs)))
    assert report.problems == ()
    assert report.datasets == {"photos": (composed, f"{composed}2")}


def test_a_name_that_is_no_utf_8_is_reported(photos: Path, tmp_path: Path) -> None:
    odd = photos / "\udcff.png"
    odd.write_bytes((photos / "p0.png").read_bytes())
    folder = tmp_path / "caf\udce9"
    photos.rename(folder)
    chosen = plan(str(folder), tmp_path / "out", f"theirs={folder}")
    report = evaluate(chosen)
    assert report.problems == (
        f"caf\\udce9: {folder / odd.name}: its name is not UTF-8; rename it",
    )
    assert list(report.datasets) == ["caf\\udce9"]
    for path in write_report(report, tmp_path / "out"):
        path.read_bytes().decode()


def test_a_broken_twin_is_no_second_result(photos: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    for name in ("p0", "p1"):
        save_levels(theirs / f"{name}.png", np.zeros((30, 40, 3), np.uint8))
    (theirs / "p0.jpg").write_bytes(b"")
    assert evaluate(plan(f"photos={photos}", tmp_path / "out", str(theirs))).problems == ()


def test_another_comparison_is_waited_for(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    words = [
        *(sys.executable, "-m", "corun", "evaluate", "-m", "input", "-d", f"photos={photos}"),
        *("-o", str(output), "--metrics", "brightness", "--jobs", "1"),
    ]
    with FileLock(output / LOCK_NAME):
        running = [
            subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in running:
            assert process.stderr is not None
            assert "waiting for another corun evaluate" in process.stderr.readline()
    for process in running:
        _, rest = process.communicate(timeout=120)
        assert (process.returncode, rest) == (0, "")
