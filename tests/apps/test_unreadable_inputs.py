"""Names and folders the system does not open: each is named with its reason, the rest goes on."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import Result

from corun.dehazing.file_naming import Naming, PlanError
from corun.dehazing.file_plan import Plan, make_plan

Corun = Callable[..., Result]
LONG = "x" * 300 + ".jpg"
NOBODY = 65534


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root may open everything, so it steps down for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder everybody may enter, with open.jpg and shut/inner.jpg."""
    path = Path(tempfile.mkdtemp())
    (path / "shut").mkdir()
    for name in ("open.jpg", "shut/inner.jpg"):
        (path / name).touch()
    path.chmod(0o755)
    (path / "shut").chmod(0)
    yield path
    (path / "shut").chmod(0o700)
    shutil.rmtree(path)


def sources(plan: Plan) -> list[str]:
    return [job.source.name for job in plan.jobs if job.source is not None]


def test_long_names_and_circular_links_do_not_stop_the_others(corun: Corun, photos: Path) -> None:
    (photos / "one.jpg").symlink_to(photos / "two.jpg")
    (photos / "two.jpg").symlink_to(photos / "one.jpg")
    inputs = (photos / LONG, photos / "one.jpg", photos / "a.jpg")
    result = corun("dehaze", *inputs, "--model", "dcp")
    assert result.exit_code == 1
    complaints = [line for line in result.stderr.splitlines() if line.startswith("corun: ")]
    assert len(complaints) == 2
    assert "File name too long" in complaints[0]
    assert "one.jpg: cannot be read (" in complaints[1]
    assert "Traceback" not in result.stderr
    assert (photos / "a.dehazed.jpg").exists()


def test_a_file_in_a_shut_folder_is_named(folder: Path) -> None:
    with as_somebody_else():
        plan = make_plan([str(folder / "shut" / "inner.jpg"), str(folder / "open.jpg")], Naming())
    assert sources(plan) == ["open.jpg"]
    [(name, message)] = plan.failures
    assert name.endswith("inner.jpg")
    assert "inner.jpg: cannot be read (Permission denied)" in message


@pytest.mark.parametrize("recursive", [False, True])
def test_a_shut_folder_is_not_called_empty(folder: Path, recursive: bool) -> None:
    with as_somebody_else():
        plan = make_plan([str(folder / "shut")], Naming(), recursive=recursive)
    [(_, message)] = plan.failures
    assert "shut: cannot be read (Permission denied)" in message


def test_a_shut_folder_among_the_searched_is_named(folder: Path) -> None:
    with as_somebody_else():
        plan = make_plan([str(folder)], Naming(), recursive=True)
        flat = make_plan([str(folder)], Naming())
    assert sources(plan) == sources(flat) == ["open.jpg"]
    assert [Path(name).name for name, _ in plan.failures] == ["shut"]
    assert flat.failures == []


def test_outputs_that_cannot_be_looked_up_are_named(corun: Corun, photos: Path) -> None:
    stem = "y" * 250
    shutil.copy(photos / "a.jpg", photos / f"{stem}.jpg")
    result = corun("dehaze", photos / f"{stem}.jpg", photos / "a.jpg", "--model", "dcp")
    assert result.exit_code == 1
    assert "dehazed.jpg: cannot be written (File name too long); choose another -o" in result.stderr
    assert (photos / "a.dehazed.jpg").exists()
    with pytest.raises(PlanError, match=r"cannot be used \(File name too long\)"):
        make_plan([str(photos / "a.jpg")], Naming(output=LONG))
