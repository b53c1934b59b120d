"""The tutorials do what they say: their marked blocks run one after another, as a reader would.

`<!-- run -->` before a block runs it; `<!-- run: NAME -->` saves it as a file of that name.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TUTORIALS = CHECKOUT / "docs" / "tutorials"
BLOCK = re.compile(
    r"<!-- run(?:: (?P<name>\S+))? -->\n```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reader")


def follow(page: str, folder: Path) -> str:
    """Runs a page's blocks in a folder; what they print."""
    printed = ""
    for block in BLOCK.finditer((TUTORIALS / page).read_text(encoding="utf-8")):
        text = block["text"]
        if block["name"]:
            (folder / block["name"]).write_text(text, encoding="utf-8")
        elif block["kind"] == "python":
            printed += _run([sys.executable, "-c", text], folder)
        else:
            for line in text.splitlines():
                command = line.partition("  #")[0]
                command = re.sub(r"^corun\b", f'"{sys.executable}" -m corun', command)
                command = re.sub(r"^python\b", f'"{sys.executable}"', command)
                printed += _run(command, folder)
    return printed


def _run(command: str | list[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=1800,
        check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_first_photo_becomes_clear(folder: Path) -> None:
    printed = follow("first-photo.md", folder)
    before, after = (float(number) for number in re.findall(r"PSNR ([\d.]+) dB", printed))
    assert after > before
    for name in ("clear.png", "clear.transmission.png", "misty.png", "clear-too.png"):
        assert (folder / name).is_file(), name
    assert "mean transmission: 0." in printed


@pytest.mark.slow
def test_the_first_network_learns_and_colabator_adapts_it(folder: Path) -> None:
    printed = follow("first-network.md", folder)
    before, after = (float(number) for number in re.findall(r"PSNR ([\d.]+) dB", printed))
    assert after > before + 1
    follow("synthetic-to-real.md", folder)
    assert (folder / "labels.png").is_file()
    report = (folder / "comparison" / "report.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip("* ") for line in report.splitlines() if line[:2] == "| "}
    assert {"before", "after"} <= rows
