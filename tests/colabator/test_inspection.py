"""`corun pool inspect`: what it says and draws."""

from __future__ import annotations

import sys
from pathlib import Path

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
