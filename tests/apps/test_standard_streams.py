"""Standard streams that are full or closed: one line that says so, exit status 1."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corun.apps.job_display import print_json
from corun.dehazing.standard_streams import read_standard_input, write_standard_output
from corun.errors import ImageFileError


def redirected(command: list[str], arguments: str, cwd: Path) -> tuple[int, list[str]]:
    result = subprocess.run(
        ["bash", "-c", f"exec {' '.join(command)} dehaze --model dcp {arguments}"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        timeout=600,
        check=False,
    )
    return result.returncode, result.stderr.splitlines()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", ["- < a.jpg > /dev/full", "a.jpg --json > /dev/full"])
def test_a_full_standard_output_is_one_line(
    command: list[str], photos: Path, arguments: str
) -> None:
    status, lines = redirected(command, arguments, photos)
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith("corun: standard output: cannot be written (No space left")


def test_a_closed_standard_input_is_one_line(command: list[str], photos: Path) -> None:
    status, lines = redirected(command, "- -o clear.png <&-", photos)
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith("corun: standard input: is closed; redirect a picture")


def test_closed_streams_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(ImageFileError, match="standard input: is closed"):
        read_standard_input()
    with pytest.raises(ImageFileError, match="standard output: is closed"):
        write_standard_output(b"picture")


def test_json_of_any_file_name_is_utf_8(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    name = "Nebel/\udcff日本.jpg"
    print_json({"input": name})
    assert json.loads(capfdbinary.readouterr().out.decode("utf-8")) == {"input": name}
