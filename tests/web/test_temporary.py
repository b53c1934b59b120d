"""What visitors leave goes: after its time, at the end, and after a process that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from corun.web.temporary import PREFIX, TemporaryFolder


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_files_go_when_they_are_too_old_and_all_at_the_end() -> None:
    folder = TemporaryFolder(most_seconds=100.0)
    old, new = folder.place("old.jpg"), folder.place("new.jpg")
    for path in (old, new):
        path.write_bytes(b"x")
    for path in (old, old.parent):
        os.utime(path, (1, 1))
    folder.remove_old()
    assert not old.exists()
    assert new.exists()
    folder.close()
    assert not folder.path.exists()


def test_the_oldest_go_where_there_is_too_much() -> None:
    folder = TemporaryFolder(most_bytes=25)
    paths = [folder.place(f"{number}.jpg") for number in range(4)]
    now = paths[0].parent.stat().st_mtime
    for number, path in enumerate(paths):
        path.write_bytes(b"0123456789")
        os.utime(path, (now + number, now + number))
    folder.remove_old()
    assert [path.exists() for path in paths] == [False, False, True, True]
    folder.close()


def test_it_sweeps_by_itself() -> None:
    folder = TemporaryFolder(most_seconds=0.0, every=0.02)
    path = folder.place("a.jpg")
    path.write_bytes(b"x")
    for _ in range(500):
        if not path.exists():
            break
        folder._closed.wait(0.02)
    assert not path.exists()
    folder.close()


def test_work_that_is_not_finished_is_left_alone() -> None:
    folder = TemporaryFolder(most_seconds=0.0, every=60.0)
    film = folder.work / "film"
    film.write_bytes(b"x")
    os.utime(film, (1, 1))
    folder.remove_old()
    assert film.exists()
    folder.close()
    assert not film.exists()


def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    left = tmp_path / f"{PREFIX}{done.stdout.strip()}-x"
    left.mkdir()
    (left / "photo.jpg").write_bytes(b"x")
    living = tmp_path / f"{PREFIX}{os.getpid()}-x"
    living.mkdir()
    folder = TemporaryFolder()
    assert not left.exists()
    assert living.exists()
    folder.close()
