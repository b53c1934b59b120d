"""What differs on Windows and macOS, as far as it can be tried on another system."""

from __future__ import annotations

import ast
import errno
import io
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from corun import files
from corun.colabator import pool_labels
from corun.dehazing import devices, standard_streams
from corun.errors import ImageFileError
from corun.evaluation import methods, work_pool
from corun.pictures import limits, writing

SOURCE = Path(__file__).resolve().parents[1] / "src" / "corun"
POSIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix"}


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


class Stream(io.RawIOBase):
    """A standard output whose writing fails."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def write(self, content: object) -> int:
        raise self.error


@pytest.mark.parametrize(("system", "raised"), [("nt", BrokenPipeError), ("posix", ImageFileError)])
def test_nobody_reads_any_more_as_windows_says_it(
    monkeypatch: pytest.MonkeyPatch, system: str, raised: type[Exception]
) -> None:
    stream = Stream(OSError(errno.EINVAL, "Invalid argument"))
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(flush=lambda: None, buffer=stream))
    monkeypatch.setattr(standard_streams.os, "name", system)
    with pytest.raises(raised):
        standard_streams.write_standard_output(b"x")


def test_a_file_that_another_program_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows replaces no open file; it says the same of a folder that is not writable."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(writing, "write_atomically", refused)
    monkeypatch.setattr(writing, "os", types.SimpleNamespace(name="nt"))
    with pytest.raises(ImageFileError, match="another program has it open"):
        writing.write_encoded(tmp_path / "clear.jpg", b"x", overwrite=True)


def test_as_many_threads_as_processors_where_there_is_no_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "CGROUP_QUOTA", tmp_path / "none")
    monkeypatch.setattr(devices, "os", types.SimpleNamespace(cpu_count=lambda: 6))
    assert devices.usable_threads() == 6
    monkeypatch.setattr(devices, "os", types.SimpleNamespace(cpu_count=lambda: None))
    assert devices.usable_threads() == 1


def test_free_memory_is_unknown_where_no_system_call_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(limits, "_CONTAINER", tmp_path)

    def unknown(name: str) -> int:  # macOS
        raise ValueError(f"unrecognized configuration name {name}")

    for system in (types.SimpleNamespace(sysconf=unknown), types.SimpleNamespace()):
        monkeypatch.setattr(limits, "os", system)
        assert limits.free_memory() is None


def test_a_process_is_never_asked_by_a_signal_that_would_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "os", types.SimpleNamespace(name="nt"))
    assert files._lives(os.getpid())


@pytest.mark.parametrize("error", [errno.EPERM, errno.EACCES, errno.EINVAL])
def test_a_new_file_gets_its_name_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refused(*_: object) -> None:
        raise OSError(error, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    target = tmp_path / "clear.png"
    files.write_atomically(target, b"new", overwrite=False)
    assert target.read_bytes() == b"new"
    with pytest.raises(FileExistsError):
        files.write_atomically(target, b"other", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["clear.png"]


def test_a_worker_starts_where_signals_cannot_be_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(work_pool.signal, "pthread_sigmask", raising=False)
    with work_pool._deaf_to_interrupts():
        pass
