"""What the tests of the label pool look at: labels, records and files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from pool_writer import SIDE

from corun.colabator.label_pool import Label, LabelPool

WRITER = Path(__file__).parent / "pool_writer.py"


def label(pool: LabelPool, key: str) -> Label:
    found = pool.get(key)
    assert found is not None
    return found


def change(folder: Path, statement: str, *values: object) -> list[Any]:
    """Run a statement on the records of a pool, as nobody but damage does."""
    with closing(sqlite3.connect(folder / "shards" / "0" / "records.sqlite")) as base, base:
        return base.execute(statement, values).fetchall()


def label_files(folder: Path) -> list[Path]:
    return sorted((folder / "shards" / "0" / "labels").iterdir())


def bytes_on_disk(folder: Path) -> int:
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*"))


def assert_whole(found: Label) -> None:
    """All parts of a label are of the same step."""
    value = found.step % 256 / 255
    torch.testing.assert_close(found.scene, torch.full((3, SIDE, SIDE), value))
    half = torch.full_like(found.transmission, value)
    torch.testing.assert_close(found.transmission, half, atol=1e-3, rtol=0)
    assert found.quality == found.step
