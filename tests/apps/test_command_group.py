"""What every command shares: one line for what goes wrong, home folders, no bars in pipes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from corun.apps.progress_bar import ProgressBar
from corun.data import synthesize as synthesizing
from corun.data.real_photos import RealPhotoFolder, RealPhotosConfig
from corun.errors import DataError, tell

Corun = Callable[..., Result]

TOO_LITTLE = "corun: not enough memory; close other programs, or give less at once\n"
LOADING = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "corun.apps.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from corun.__main__ import main
main()
"""


def test_an_interrupt_while_loading_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"corun: interrupted\n")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "corun: interrupted\n"),
        (
            MemoryError(),
            1,
            "corun: not enough memory; close other programs, or give less at once\n",
        ),
    ],
)
def test_what_ends_any_command_is_one_line(
    corun: Corun, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(synthesizing, "synthesize_folder", fail)
    result = corun("synthesize", "--clean", "c", "--depth", "d", "-o", "o")
    assert (result.exit_code, result.stderr) == (status, said)


def test_paths_of_commands_know_the_home_folder(
    corun: Corun, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def note(clean: Path, depth: Path, output: Path, **_: object) -> None:
        given.extend((clean, depth, output))

    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(synthesizing, "synthesize_folder", note)
    assert corun("synthesize", "--clean=~/c", "--depth", "d", "--output=~/o").exit_code == 0
    assert given == [Path("/home/me/c"), Path("d"), Path("/home/me/o")]


def test_no_bar_is_drawn_into_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with ProgressBar() as bar:
        assert bar.console.is_terminal  # as Rich sees it
        assert bar.disable


EVIL = "\x1b[2J\u202egpj.exe\x9b31m.jpg"


def test_names_steer_no_terminal_whatever_prints_them(
    corun: Corun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / EVIL).write_bytes(b"no picture")
    checked = corun("data", "check", "folder", tmp_path, "--decode")
    with pytest.raises(DataError):
        RealPhotoFolder(RealPhotosConfig(folder=tmp_path)).sample(0)
    tell(f"note: {tmp_path / EVIL}:\nodd")
    told = capsys.readouterr().err
    assert told.count("\n") == 2
    for text in (checked.stdout, *told.splitlines()):
        assert r"\u001b[2J\u202egpj.exe\u009b31m.jpg" in text
        assert not {"\x1b", "\u202e", "\x9b"} & set(text)
