"""Standard streams that are full or closed: one line that says so, exit status 1."""

from __future__ import annotations

import json
import signal
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


def waiting_for_a_picture(*arguments: str | Path) -> subprocess.Popen[str]:
    """The command, whose standard input never ends; Ctrl-C means something to it."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from corun.dehazing import file_jobs, standard_streams\n"
        "def read():\n"
        "    print('reading', flush=True)\n"
        "    return standard_streams.read_standard_input()\n"
        "file_jobs.read_standard_input = read\n"
        "from corun.apps.cli import main; main()"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, "dehaze", "-", "-o", *map(str, arguments)]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_a_network_that_cannot_be_had_is_said_before_standard_input_ends(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_text("no graph")
    process = waiting_for_a_picture(tmp_path / "clear.png", "--model", damaged)
    with process:
        try:
            assert process.wait(60) == 1
        finally:
            process.kill()
        assert process.stderr is not None
        assert str(damaged) in process.stderr.read()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_one_interrupt_ends_the_waiting_for_standard_input(tmp_path: Path) -> None:
    process = waiting_for_a_picture(tmp_path / "clear.png", "--model", "dcp")
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "reading\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.stderr.read().startswith("corun: interrupted after 0 of 1")


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
