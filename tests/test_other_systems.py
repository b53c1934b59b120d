"""What differs on Windows and macOS, as far as it can be tried on another system."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from corun.colabator import pool_labels
from corun.evaluation import methods

SOURCE = Path(__file__).resolve().parents[1] / "src" / "corun"
POSIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix"}
TEXT_CALLS = {"read_text", "write_text"}


def sources() -> list[tuple[Path, ast.Module]]:
    paths = sorted(SOURCE.rglob("*.py"))
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def test_no_module_needs_what_only_posix_has() -> None:
    """A module of POSIX alone may be imported below `if sys.platform` only."""
    found = []
    for path, tree in sources():
        guarded = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "platform" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            if POSIX_ONLY & set(names) and node not in guarded:
                found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_every_text_file_is_opened_in_a_stated_encoding() -> None:
    """Windows reads and writes text in a code page unless told otherwise."""
    found = []
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                stated = any(word.arg == "encoding" for word in node.keywords)
                if node.func.attr in TEXT_CALLS and not stated:
                    found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_signs_that_an_encoding_lacks_are_printed_all_the_same() -> None:
    """`corun config keys` prints ≥, β and ×, which the code page of an old console lacks."""
    ran = subprocess.run(
        [sys.executable, "-m", "corun", "config", "keys"],
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert b"\\u2265" in ran.stdout


def test_a_command_line_of_windows_quotes_by_its_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a hazy photo.png"
    assert methods._quoted(path) == f"'{path}'"
    monkeypatch.setattr(methods, "os", types.SimpleNamespace(name="nt"))
    assert methods._quoted(path) == f'"{path}"'


def test_a_folder_of_labels_is_settled_where_folders_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pool_labels, "os", types.SimpleNamespace(name="nt", open=refused))
    labels = object.__new__(pool_labels.LabelFiles)
    labels.folder = tmp_path
    labels.settle()
