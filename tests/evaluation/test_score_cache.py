"""The file of scores when it is damaged, locked or full: one line, and nothing is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from corun.errors import DataError
from corun.evaluation import score_cache
from corun.evaluation.score_cache import ScoreCache


def test_what_was_stored_is_there_again(tmp_path: Path) -> None:
    with ScoreCache(tmp_path / "s.sqlite") as cache:
        cache.put("psnr", "1", ["a", "b"], 7.5)
    with ScoreCache(tmp_path / "s.sqlite") as cache:
        assert cache.get("psnr", "1", ["a", "b"]) == 7.5
        assert cache.get("psnr", "2", ["a", "b"]) is None


def test_a_locked_file_is_one_line_and_keeps_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_cache, "PATIENCE", 0.1)
    path = tmp_path / "s.sqlite"
    with ScoreCache(path) as cache:
        cache.put("psnr", "1", ["a"], 1)
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError, match=r"s\.sqlite: in use by another program"):
            cache.put("psnr", "1", ["b"], 2)
        other.close()
        cache.put("psnr", "1", ["b"], 2)
        assert [cache.get("psnr", "1", [name]) for name in "ab"] == [1, 2]


def test_a_full_disk_is_one_line_and_keeps_its_scores(tmp_path: Path) -> None:
    with ScoreCache(tmp_path / "s.sqlite") as cache:
        cache.put("psnr", "1", ["a"], 1)
        cache._connection.execute("PRAGMA max_page_count = 2")
        with pytest.raises(DataError, match=r"s\.sqlite: the disk is full; make room"):
            cache.put("detections", "1", ["b"], "x" * 100_000)
        assert cache.get("psnr", "1", ["a"]) == 1


@pytest.mark.parametrize("damage", ["header", "pages", "answer"])
def test_damage_is_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "s.sqlite"
    with ScoreCache(path) as cache:
        for number in range(500):
            cache.put("psnr", "1", [str(number)], number)
        if damage == "answer":
            cache._connection.execute("UPDATE answers SET answer = '{'")
            cache._connection.commit()
    if damage != "answer":
        content = bytearray(path.read_bytes())
        start, end = (0, 100) if damage == "header" else (4096, len(content))
        content[start:end] = b"\xa5" * (end - start)
        path.write_bytes(content)

    def read() -> None:
        with ScoreCache(path) as cache:
            for number in range(500):
                cache.get("psnr", "1", [str(number)])

    with pytest.raises(DataError, match=r"s\.sqlite: damaged, or not a file of scores .*move it"):
        read()
