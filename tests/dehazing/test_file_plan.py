"""What a pattern or folder means on the second run, and which names outputs get."""

from __future__ import annotations

from pathlib import Path

import pytest

from corun.dehazing.file_plan import Naming, Plan, PlanError, make_plan


def touched(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def sources(plan: Plan) -> list[str]:
    return sorted(job.source.name for job in plan.jobs if job.source is not None)


def test_a_pattern_leaves_out_results_of_earlier_runs(tmp_path: Path) -> None:
    touched(tmp_path, "p.jpg", "p.dehazed.jpg", "p.transmission.png", "in/q.jpg", "in/q.z.jpg")
    assert sources(make_plan([f"{tmp_path}/*.jpg"], Naming())) == ["p.jpg"]
    assert sources(make_plan([f"{tmp_path}/p*"], Naming(save_transmission=True))) == ["p.jpg"]
    asked_for = make_plan([f"{tmp_path}/*.dehazed.jpg"], Naming())
    assert sources(asked_for) == ["p.dehazed.jpg"]
    assert sources(make_plan([f"{tmp_path}/*.transmission.png"], Naming())) == [
        "p.transmission.png"
    ]
    inner = Naming(output=f"{tmp_path}/in", suffix=".z")
    assert sources(make_plan([f"{tmp_path}/in/*.jpg"], inner)) == ["q.jpg"]
    elsewhere = Naming(output=f"{tmp_path}/out/")
    assert sources(make_plan([f"{tmp_path}/*.jpg"], elsewhere)) == ["p.dehazed.jpg", "p.jpg"]
    only_results = make_plan([f"{tmp_path}/p.d*"], Naming())
    assert only_results.jobs == []
    assert "matches only results of earlier runs" in only_results.failures[0][1]


def test_a_folder_of_results_in_itself_leaves_them_out(tmp_path: Path) -> None:
    touched(tmp_path, "p.jpg", "p.z.jpg", "in/q.jpg", "in/q.z.jpg")
    naming = Naming(output=str(tmp_path), suffix=".z")
    plan = make_plan([str(tmp_path)], naming, recursive=True)
    assert sources(plan) == ["p.jpg", "q.jpg"]


def test_names_the_shell_expanded_for_a_second_run_go_on(tmp_path: Path) -> None:
    touched(tmp_path, "p.jpg", "p.dehazed.jpg", "q.jpg")
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    assert sources(make_plan(names, Naming(), skip_existing=True)) == ["p.jpg", "q.jpg"]
    with pytest.raises(PlanError, match="would replace the input"):
        make_plan(names, Naming())


def test_transmissions_of_pictures_of_one_stem_are_told_apart(tmp_path: Path) -> None:
    touched(tmp_path, "x.jpg", "x.png", "y.png")
    plan = make_plan([str(tmp_path)], Naming(save_transmission=True))
    names = [job.transmission.name for job in plan.jobs if job.transmission is not None]
    assert names == ["x.jpg.transmission.png", "x.png.transmission.png", "y.transmission.png"]
    touched(tmp_path, *names)
    assert sources(make_plan([str(tmp_path)], Naming())) == ["x.jpg", "x.png", "y.png"]


@pytest.mark.parametrize("recursive", [False, True])
def test_a_link_to_nowhere_is_named(tmp_path: Path, recursive: bool) -> None:
    touched(tmp_path, "p.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "moved.jpg")
    (tmp_path / "notes.txt").symlink_to(tmp_path / "moved.txt")
    for text in (str(tmp_path), f"{tmp_path}/*.jpg"):
        plan = make_plan([text], Naming(), recursive=recursive)
        assert sources(plan) == ["p.jpg"]
        assert [Path(name).name for name, _ in plan.failures] == ["gone.jpg"]
        assert "gone.jpg: its link leads nowhere" in plan.failures[0][1]


def test_a_folder_with_brackets_in_its_name_may_hold_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched(tmp_path, "x[1]/r.jpg", "x[1]/in/s.jpg", "x1/t.jpg", "y2/u.jpg")
    assert sources(make_plan([f"{tmp_path}/x[1]/*.jpg"], Naming())) == ["r.jpg"]
    assert sources(make_plan([f"{tmp_path}/y[1-3]/*.jpg"], Naming())) == ["u.jpg"]
    monkeypatch.chdir(tmp_path)
    assert sources(make_plan(["x[1]/**/*.jpg"], Naming())) == ["r.jpg", "s.jpg"]


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(PlanError, match=r"empty name.*give \."):
        make_plan(["a.jpg", ""], Naming())
    with pytest.raises(PlanError, match="-o is an empty name"):
        make_plan(["a.jpg"], Naming(output=""))
