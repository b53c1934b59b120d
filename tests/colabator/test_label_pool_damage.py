"""Damaged labels and records, on a real disk: told, and never used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pool_checks import assert_whole, change, label, label_files
from pool_writer import IDENTITY, KEYS, put

from corun.colabator.label_pool import LabelPool, open_existing
from corun.errors import DataError


def damage(folder: Path, key: str, *, newest: bool = False) -> None:
    """Change a byte of a photo's labels, or of its newest alone."""
    query = "SELECT digest FROM labels WHERE key = ? ORDER BY number DESC"
    for (digest,) in change(folder, query, key)[: 1 if newest else None]:
        path = folder / "shards" / "0" / "labels" / f"{digest}.label"
        content = bytearray(path.read_bytes())
        content[100] ^= 0xFF
        path.write_bytes(content)


def test_a_damaged_label_is_not_read_and_the_older_one_is(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    put(pool, KEYS[0], 2)
    pool.close()
    damage(tmp_path, KEYS[0], newest=True)
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    assert label(pool, KEYS[0]).step == 1
    assert pool.scores(KEYS[:1])[0].tolist() == [1.0]
    assert pool.damaged() == [KEYS[0]]


def test_a_photo_whose_label_is_damaged_gets_a_new_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its scores are unknown, so whatever comes is better; the loss is told."""
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    for key in KEYS[:3]:
        put(pool, key, 9)
    name = pool.commit(9)
    pool.close()
    damage(tmp_path, KEYS[1])
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    pool.rollback(name)
    assert "1 of 6 labels are damaged" in capsys.readouterr().err
    quality, density = pool.scores(KEYS[:3])
    assert quality.isnan().tolist() == density.isnan().tolist() == [False, True, False]
    assert pool.get(KEYS[1]) is None
    assert len(pool) == 2
    assert list(pool.labelled()) == [KEYS[0], KEYS[2]]
    put(pool, KEYS[1], 3)
    assert_whole(label(pool, KEYS[1]))
    again = pool.commit(10)
    pool.rollback(again)
    assert [label(pool, key).step for key in KEYS[:3]] == [9, 3, 9]
    assert pool.damaged() == []


def test_no_label_passes_for_another_photos(tmp_path: Path) -> None:
    """If the records changed hands, the labels would not: each says whose it is."""
    pool = LabelPool(tmp_path, IDENTITY, KEYS[:2])
    put(pool, KEYS[1], 7)
    pool.close()
    change(tmp_path, "UPDATE labels SET key = ?", KEYS[0])
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    assert pool.get(KEYS[0]) is None
    assert pool.get(KEYS[1]) is None
    assert len(pool) == 0
    assert pool.damaged() == [KEYS[0]]


@pytest.mark.parametrize(
    ("column", "value"), [("quality", 9.5), ("density", 0.0), ("step", 8), ("replaced", 1)]
)
def test_a_changed_record_is_not_believed(tmp_path: Path, column: str, value: float) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 7)
    pool.close()
    change(tmp_path, f"UPDATE labels SET {column} = ?", value)
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    assert pool.scores(KEYS[:1])[0].isnan().all()
    assert pool.damaged() == [KEYS[0]]


def broken_page(path: Path) -> None:
    """A page of a table in the middle of the file is overwritten."""
    content = bytearray(path.read_bytes())
    content[8192:12288] = os.urandom(4096)
    path.write_bytes(content)


DAMAGES = {
    "cut short": (lambda path: os.truncate(path, 5000), r"records\.sqlite: damaged"),
    "another file": (lambda path: path.write_bytes(b"x" * 9000), r"records\.sqlite: damaged"),
    "a broken page": (broken_page, r"records\.sqlite: damaged"),
    "emptied": (lambda path: os.truncate(path, 0), r"records\.sqlite: gone or empty.*restore it"),
    "gone": (Path.unlink, r"records\.sqlite: gone or empty.*restore it"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_records_are_refused(tmp_path: Path, kind: str) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    for key in KEYS:
        put(pool, key, 1)
    pool.close()
    labels = label_files(tmp_path)
    damage_it, message = DAMAGES[kind]
    damage_it(tmp_path / "shards" / "0" / "records.sqlite")
    for use in (lambda: LabelPool(tmp_path, IDENTITY, KEYS), lambda: open_existing(tmp_path)) * 2:
        with pytest.raises(DataError, match=message):  # a refusal must not repair
            use()
    assert label_files(tmp_path) == labels


def test_labels_that_are_gone_are_missed(tmp_path: Path) -> None:
    pool = LabelPool(tmp_path, IDENTITY, KEYS)
    put(pool, KEYS[0], 1)
    pool.close()
    (tmp_path / "shards" / "0" / "labels").rename(tmp_path / "elsewhere")
    for use in (lambda: LabelPool(tmp_path, IDENTITY, KEYS), lambda: open_existing(tmp_path)) * 2:
        with pytest.raises(DataError, match=r"shards/0/labels: gone.*restore it"):
            use()


@pytest.mark.parametrize("name", ["pool.json", "labels.bin"])
def test_a_pool_of_the_version_before_is_refused_and_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"of layout 2")
    for use in (lambda: LabelPool(tmp_path, IDENTITY, KEYS), lambda: open_existing(tmp_path)):
        with pytest.raises(DataError, match=rf"earlier version of corun \({name}\).*move this"):
            use()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_pool_of_a_version_to_come_is_refused(tmp_path: Path) -> None:
    LabelPool(tmp_path, IDENTITY, KEYS).close()
    change(tmp_path, "PRAGMA user_version = 4")
    with pytest.raises(DataError, match=r"another version of corun \(layout 4, not 3\)"):
        LabelPool(tmp_path, IDENTITY, KEYS)
