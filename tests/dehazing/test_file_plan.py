"""What a pattern or folder means on the second run, and which names outputs get."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from corun.dehazing.file_naming import Naming, PlanError
from corun.dehazing.file_plan import Plan, make_plan


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
    for text in (str(tmp_path), f"{tmp_path}/*.jpg"):
        plan = make_plan([text], elsewhere)
        assert sources(plan) == ["p.jpg"]
        assert "p.dehazed.jpg" in {path.name for path in plan.left_out}
    for naming in (Naming(), elsewhere):
        only_results = make_plan([f"{tmp_path}/p.d*"], naming)
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
    for naming in (Naming(), Naming(output=f"{tmp_path}/out/")):
        plan = make_plan(names, naming)
        assert sources(plan) == ["p.jpg", "q.jpg"]
        assert [path.name for path in plan.left_out] == ["p.dehazed.jpg"]
    alone = make_plan([f"{tmp_path}/p.dehazed.jpg"], Naming(output=f"{tmp_path}/out/"))
    assert sources(alone) == ["p.dehazed.jpg"]


def test_every_name_of_one_file_has_its_result(tmp_path: Path) -> None:
    touched(tmp_path, "a.jpg", "inner/x.txt")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "c.jpg").hardlink_to(tmp_path / "a.jpg")
    (tmp_path / "door").symlink_to(tmp_path, target_is_directory=True)
    inputs = [str(tmp_path), f"{tmp_path}/a.jpg", f"{tmp_path}/door/a.jpg"]
    for output in (None, f"{tmp_path}/out"):
        plan = make_plan(inputs, Naming(output=output))
        targets = [job.target.name for job in plan.jobs if job.target is not None]
        infix = ".dehazed" if output is None else ""
        assert sorted(targets) == [f"{name}{infix}.jpg" for name in "abc"]


def test_what_is_no_picture_by_its_name_does_not_stop_one_that_is(tmp_path: Path) -> None:
    touched(tmp_path, "p.png", "q.jpg", "alone.txt")
    (tmp_path / "p.txt").write_text("a text")
    (tmp_path / "p.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(12))
    Image.new("RGB", (4, 3)).save(tmp_path / "p.picture", format="PNG")
    plan = make_plan([str(path) for path in sorted(tmp_path.iterdir())], Naming())
    assert sources(plan) == ["alone.txt", "p.png", "q.jpg"]
    told = {Path(name).name: message for name, message in plan.failures}
    assert set(told) == {"p.mp4", "p.picture", "p.txt"}
    assert "p.mp4: is a video, not a picture" in told["p.mp4"]
    assert "p.txt: not a picture corun can read" in told["p.txt"]
    assert f"p.dehazed.png, as {tmp_path / 'p.png'} is; dehaze it" in told["p.picture"]


def test_a_tilde_is_the_home_folder_unless_there_is_such_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    touched(home, "h.jpg")
    touched(here, "~.jpg", "~name")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    names = ["~.jpg", "~name", "~/h.jpg", "~/*.jpg"]
    plan = make_plan(names, Naming(output="~/out/"))
    assert plan.failures == []
    assert [job.source for job in plan.jobs] == [Path("~.jpg"), Path("~name"), home / "h.jpg"]
    assert [job.target for job in plan.jobs] == [
        home / "out" / name for name in ("~.jpg", "~name.png", "h.jpg")
    ]
    [job] = make_plan(["~.jpg"], Naming(output="~draft.png")).jobs
    assert job.target == Path("~draft.png")
    touched(here, "~/h.jpg")
    assert [job.source for job in make_plan(["~/h.jpg"], Naming()).jobs] == [Path("~/h.jpg")]


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there is no /dev/stdout here")
def test_devices_are_streams_and_no_folders(tmp_path: Path) -> None:
    touched(tmp_path, "a.jpg")
    [job] = make_plan([f"{tmp_path}/a.jpg"], Naming(output="/dev/stdout")).jobs
    assert job.target is None
    [job] = make_plan(["/dev/stdin"], Naming()).jobs
    assert (job.source, job.target) == (None, None)
    [job] = make_plan([f"{tmp_path}/a.jpg"], Naming(output="/dev/null")).jobs
    assert (job.target, job.file_format) == (Path("/dev/null"), None)


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
