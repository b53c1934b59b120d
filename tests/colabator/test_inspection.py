"""`corun pool inspect`: what it says and draws."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
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


def changed(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as base, base:
            base.execute(statement)

    return change


RECORDS, LABELS = "shards/0/records.sqlite", "shards/0/labels"
DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    (RECORDS, cut(5000), "records.sqlite: damaged"),
    (RECORDS, lambda path: path.write_text("[1]"), "records.sqlite: damaged"),
    (RECORDS, Path.unlink, "records.sqlite: gone or empty"),
    (RECORDS, cut(0), "records.sqlite: gone or empty"),
    (RECORDS, changed("UPDATE pool SET identity = '{}'"), "records.sqlite: damaged"),
    (RECORDS, changed("UPDATE pool SET identity = '{'"), "records.sqlite: damaged"),
    (RECORDS, changed("DELETE FROM pool"), "records.sqlite: damaged"),
    (RECORDS, changed("PRAGMA user_version = 4"), "of another version of corun (layout 4, not 3)"),
    (LABELS, shutil.rmtree, "labels: gone, though there are records"),
    ("pool.json", lambda path: path.write_text("{}"), "of an earlier version of corun (pool.json)"),
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
    assert contents(folder) == before


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_inspect_changes_nothing(tmp_path: Path) -> None:
    folder = filled(tmp_path / "pool")
    (folder / "shards" / "0" / "lock").unlink()
    before = contents(folder)
    assert inspect(folder, "--sheet", tmp_path / "sheet.png")[0] == 0
    assert contents(folder) == before


def test_inspect_replaces_no_file_unasked(tmp_path: Path) -> None:
    folder, sheet = filled(tmp_path / "pool"), tmp_path / "sheet.png"
    sheet.write_text("mine")
    status, said, complaint = inspect(folder, "--sheet", sheet)
    assert (status, said, sheet.read_text()) == (1, "", "mine")
    assert "sheet.png: exists already; add --overwrite" in complaint
    assert inspect(folder, "--sheet", sheet, "--overwrite")[0] == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_inspect_a_pool_of_two_shards(tmp_path: Path) -> None:
    """What two machines have made is told together; means are over all labels."""
    for shard, (count, step) in enumerate(((1, 4), (3, 8))):
        pool = LabelPool(tmp_path / "pool", IDENTITY, KEYS[3 * shard :][:3], shard=shard)
        for key in pool.photos()[:count]:
            put(pool, key, step)
        pool.commit(100)
        pool.close()
    said = inspect(tmp_path / "pool")[1]
    assert "4 of 6 photos have a label" in said
    assert "quality  first 7.0000  now 7.0000" in said
    assert "step    100  labels     4  quality 7.0000" in said


def test_inspect_labels_of_which_one_is_damaged(tmp_path: Path) -> None:
    folder = filled(tmp_path / "pool")
    with closing(sqlite3.connect(folder / RECORDS)) as base:
        query = "SELECT digest FROM labels WHERE key = ?"
        digests = [digest for (digest,) in base.execute(query, KEYS[:1])]
    for digest in digests:
        (folder / LABELS / f"{digest}.label").write_bytes(b"\xff" * 9000)
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
