"""`corun pool inspect`: what it says and draws."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
from pool_writer import IDENTITY, KEYS, put

from corun.apps.pool_commands import pool_app
from corun.colabator.label_pool import LabelPool


def test_inspect_a_pool(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path / "pool", IDENTITY, KEYS)
    for key in KEYS[:3]:
        put(pool, key, 10)
    pool.commit(10)
    put(pool, KEYS[0], 40)
    pool.commit(40)
    sheet = tmp_path / "sheet.png"
    done = CliRunner().invoke(pool_app, ["inspect", str(tmp_path / "pool"), "--sheet", str(sheet)])
    assert done.exit_code == 0, done.output
    assert "3 of 6 photos have a label; 1 replacements" in done.output
    assert "quality  first 10.0000  now 20.0000" in done.output
    assert "step     40  labels     3  quality 20.0000" in done.output
    with Image.open(sheet) as picture:
        assert picture.size == (4 * 2 * 144, 144)


def test_inspect_an_empty_pool(tmp_path: Path) -> None:
    LabelPool(tmp_path, IDENTITY, KEYS).close()
    done = CliRunner().invoke(pool_app, ["inspect", str(tmp_path)])
    assert done.exit_code == 0
    assert "0 of 6" in done.output


def test_inspect_what_is_no_pool(tmp_path: Path) -> None:
    done = CliRunner().invoke(pool_app, ["inspect", str(tmp_path)])
    assert done.exit_code == 1


def inspect(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(pool_app, ["inspect", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


def filled(folder: Path) -> Path:
    pool = LabelPool(folder, IDENTITY, KEYS)
    for step in (4, 8):
        for key in KEYS[:3]:
            put(pool, key, step)
        pool.commit(step)
    pool.close()
    return folder


def cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size)


def changed(**values: object) -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values)) and None


DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("keys.json", cut(9), "keys.json: damaged"),
    ("keys.json", lambda path: path.write_text("[1]"), "keys.json: damaged"),
    ("keys.json", Path.unlink, "labels without keys.json"),
    ("history.json", cut(9), "history.json: damaged"),
    ("history.json", lambda path: path.write_text('[{"step": "x"}]'), "history.json: damaged"),
    ("records.bin", cut(100), "records.bin: cut short (100 of 768 bytes)"),
    ("labels.bin", cut(10), "labels.bin: cut short"),
    ("labels.bin", Path.unlink, "labels.bin: cannot be opened"),
    ("pool.json", cut(9), "pool.json: damaged"),
    ("pool.json", lambda path: path.write_text("{}"), "not the description of a label pool"),
    ("pool.json", changed(side="x"), "pool.json: damaged (side)"),
    ("pool.json", changed(block=0), "pool.json: damaged (block)"),
    ("pool.json", changed(version=1), "of another version of corun (layout 1, not 2)"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_inspect_a_damaged_pool(
    tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    folder = filled(tmp_path / "pool")
    damage(folder / name)
    before = contents(folder)
    status, said, complaint = inspect(folder, "--sheet", tmp_path / "sheet.png")
    assert (status, said) == (1, "")
    assert message in complaint
    assert complaint.count("\n") == 1
    assert "checkpoint" not in complaint
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_inspect_changes_nothing(tmp_path: Path) -> None:
    folder = filled(tmp_path / "pool")
    for name in ("lock", "committed.bin"):
        (folder / name).unlink()
    before = contents(folder)
    assert inspect(folder, "--sheet", tmp_path / "sheet.png")[0] == 0
    assert contents(folder) == before


def test_inspect_labels_of_which_one_is_damaged(tmp_path: Path) -> None:
    folder = filled(tmp_path / "pool")
    stride = (folder / "labels.bin").stat().st_size // (2 * len(KEYS))
    with (folder / "labels.bin").open("r+b") as stream:
        stream.write(b"\xff" * (2 * stride))
    sheet = tmp_path / "sheet.png"
    status, said, _ = inspect(folder, "--sheet", sheet)
    assert status == 0
    assert "2 of 6 photos have a label" in said
    assert "damaged: the newest label of 1 photos" in said
    with Image.open(sheet) as picture:
        assert picture.size == (4 * 2 * 144, 144)


def test_inspect_labels_of_two_runs(tmp_path: Path) -> None:
    pool = LabelPool(filled(tmp_path / "pool"), IDENTITY, KEYS)
    pool.keep()
    put(pool, KEYS[0], 9)
    pool.commit(2)
    pool.close()
    said = inspect(tmp_path / "pool")[1]
    assert "run 1  step      8  labels     3" in said
    assert "run 2  step      2  labels     3" in said


def test_a_sheet_that_cannot_be_written(tmp_path: Path) -> None:
    folder = filled(tmp_path / "pool")
    status, said, complaint = inspect(folder, "--sheet", tmp_path / "missing" / "sheet.png")
    assert (status, said) == (1, "")
    assert "its folder does not exist" in complaint
    for name in ("sheet", "sheet.txt"):
        status, said, complaint = inspect(folder, "--sheet", tmp_path / name)
        assert (status, said) == (1, "")
        assert "use .png or .jpg" in complaint
    assert "not written" in inspect(empty(tmp_path), "--sheet", tmp_path / "sheet.png")[1]


def empty(folder: Path) -> Path:
    LabelPool(folder / "empty", IDENTITY, KEYS).close()
    return folder / "empty"
