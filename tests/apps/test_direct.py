"""The way around Typer: what it understands, Typer understands the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

from corun.apps.cli import COMMANDS, assemble
from corun.apps.dehaze_command import dehaze
from corun.apps.direct import direct_call

VALUES = ("-", "a.jpg", "b c", "", "0.5", "1", "7", "101", "2.5", "nan", "jpg", "onnx", "-3", "1_0")
OPTIONS = (
    *(
        "-o",
        "--output",
        "--model",
        "--strength",
        "--recursive",
        "--suffix",
        "--format",
        "--quality",
    ),
    *("--save-transmission", "--overwrite", "--skip-existing", "--engine", "--threads"),
    *(
        "-q",
        "--device",
        "--dtype",
        "--max-pixels",
        "--json",
        "--quiet",
        "--help",
        "--no-json",
        "-qo",
    ),
)
WORDS = st.one_of(
    st.sampled_from((*VALUES, *OPTIONS, "--", "--over")),
    st.tuples(st.sampled_from(OPTIONS), st.sampled_from(VALUES)).map("=".join),
)


TYPER: Any = get_command(assemble(["dehaze"])).get_command(None, "dehaze")  # type: ignore[attr-defined]


def by_typer(words: list[str]) -> dict[str, Any]:
    return dict(TYPER.make_context("dehaze", list(words)).params)


@settings(deadline=None, max_examples=300)
@given(st.lists(WORDS, max_size=7))
def test_what_is_called_directly_is_what_typer_would_call(words: list[str]) -> None:
    call: Any = direct_call(dehaze, words)
    if call is not None:
        understood = by_typer(words)
        defaults = by_typer(["a.jpg"])
        assert {**defaults, **call.keywords} == understood


@pytest.mark.parametrize(
    "words",
    [
        *(["--help"], [], ["a.jpg", "--nothing"], ["a.jpg", "--quality", "101"], ["a.jpg", "-qo"]),
        *(
            ["a.jpg", "--threads", "9" * 5000],
            ["a.jpg", "--strength", "nan"],
            ["a.jpg", "--engine", "mine"],
            ["a.jpg", "-o"],
        ),
    ],
)
def test_help_and_mistakes_are_left_to_typer(words: list[str]) -> None:
    assert direct_call(dehaze, words) is None


def test_patterns_that_no_shell_expands_are_left_to_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert direct_call(dehaze, ["*.jpg"]) is not None
    monkeypatch.setattr(os, "name", "nt")
    assert direct_call(dehaze, ["*.jpg"]) is None
    assert direct_call(dehaze, ["a.jpg"]) is not None


@pytest.mark.parametrize("words", ["corun dehaze --over", "corun dehaze a.jpg --over"])
def test_a_shell_still_completes_words(words: str) -> None:
    for argv in ([], words.split()[1:]):
        done = subprocess.run(
            [sys.executable, "-m", "corun", *argv],
            env={
                **os.environ,
                "_CORUN_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split()) - 1),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == ["--overwrite"], done.stderr


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "dehaze"])
def test_other_commands_are_left_to_typer(name: str) -> None:
    from corun.apps import cli

    assert direct_call(cli._named(name)[1], ["a"]) is None


def test_a_photo_is_cleared_without_typer_and_what_it_imports(photos: Path) -> None:
    code = (
        f"import sys; sys.argv = ['corun', 'dehaze', {str(photos / 'a.jpg')!r}]\n"
        "for name in ('typer', 'pydantic', 'rich', 'torch'): sys.modules[name] = None\n"
        "from corun.__main__ import main; main()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert (photos / "a.dehazed.jpg").is_file()
    missing = code.replace("a.jpg", "none.jpg")
    done = subprocess.run([sys.executable, "-c", missing], capture_output=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("corun: ")
    assert done.stderr.count(b"\n") == 1


def test_nobody_reads_the_picture_that_is_cleared_directly(photos: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "corun", "dehaze", str(photos / "a.jpg"), "-o", "-"]
    done = subprocess.run([*command, "--model", "dcp"], stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, b"")
