"""What a source consists of, and where each result goes."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from corun.batch.entries import Entry, Shard, read_entries
from corun.errors import ConfigurationError, DataError


def outputs(source: str, destination: str = "elsewhere", **options: str) -> list[str]:
    return [entry.output for entry in read_entries(source, destination, **options)]


def test_a_folder_keeps_its_paths(photos: Path) -> None:
    found = read_entries(str(photos), str(photos.parent / "clear"))
    assert [one.output for one in found] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "inner/4.png"]
    assert found[-1].input == str(photos / "inner" / "4.png")


def test_results_inside_the_source_are_no_input(photos: Path) -> None:
    (photos / "clear").mkdir()
    (photos / "clear" / "0.jpg").write_bytes(b"a result")
    assert "clear/0.jpg" not in outputs(str(photos), str(photos / "clear"))
    with pytest.raises(DataError, match="is the source itself"):
        read_entries(str(photos), f"{photos}/")


def test_a_pattern_keeps_what_follows_its_fixed_folders(photos: Path) -> None:
    assert outputs(f"{photos}/*.jpg") == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert outputs(f"{photos}/**/4.*") == ["inner/4.png"]


def test_a_url_is_a_folder_too(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/bucket/a/x.jpg", b"x")
    memory.pipe_file("/bucket/y.JPG", b"y")
    assert read_entries("memory://bucket", "memory://clear", "PNG") == [
        Entry("memory:///bucket/a/x.jpg", "a/x.png"),
        Entry("memory:///bucket/y.JPG", "y.png"),
    ]


def test_a_text_list(photos: Path) -> None:
    listed = photos / "list.txt"
    listed.write_text(
        "# mine\n0.jpg\n\n../photos/1.jpg\n/data/a.cr2\nhttps://host/b%20c.jpg?size=9\n"
    )
    assert read_entries(str(listed), "elsewhere") == [
        Entry(f"{photos}/0.jpg", "0.jpg"),
        Entry(f"{photos}/../photos/1.jpg", "photos/1.jpg"),
        Entry("/data/a.cr2", "data/a.png"),
        Entry("https://host/b%20c.jpg?size=9", "host/b c.jpg"),
    ]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_manifest_says_where_results_go(photos: Path, kind: str) -> None:
    rows = [{"input": "0.jpg", "output": "x/first.png"}, {"input": "s3://b/1.jpg", "output": None}]
    listed = photos / f"list.{kind}"
    if kind == "jsonl":
        listed.write_text("\n".join(map(json.dumps, rows)))
    else:
        pa = pytest.importorskip("pyarrow", reason="needs the extra batch")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.Table.from_pylist([{**row, "more": 1} for row in rows]), listed)
    assert read_entries(str(listed), "elsewhere") == [
        Entry(f"{photos}/0.jpg", "x/first.png"),
        Entry("s3://b/1.jpg", "b/1.jpg"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"input": "x.jpg"}\n{"in', "line 2: is no JSON"),
        ("a.jsonl", b'{"path": "x.jpg"}', "row 1: no picture's address under 'input'"),
        ("a.jsonl", b'{"input": "x.jpg", "output": "../x.jpg"}', "below the destination"),
        ("a.jsonl", b'{"input": "x.jpg", "output": "/x.jpg"}', "below the destination"),
        ("a.jsonl", b'{"input": "x.jpg", "output": "x"}', "below the destination"),
        ("a.txt", b"\xff\xfe\x00", "is no text in UTF-8"),
        ("a.txt", b"# nothing\n", "no pictures there"),
        ("a.parquet", b"PAR1", "is no readable Parquet file"),
    ],
)
def test_a_bad_list_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_entries(str(tmp_path / name), "elsewhere")
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_two_results_of_one_name_are_refused(photos: Path) -> None:
    (photos / "0.png").write_bytes(b"")
    assert len(outputs(str(photos))) == 6
    with pytest.raises(DataError, match=r"0\.jpg and .*0\.png would both be written to 0\.png"):
        outputs(str(photos), file_format="PNG")


def test_a_picture_listed_twice_is_done_once(photos: Path) -> None:
    (photos / "list.txt").write_text("0.jpg\n1.jpg\n0.jpg\n")
    assert outputs(str(photos / "list.txt")) == ["0.jpg", "1.jpg"]


@pytest.mark.parametrize("source", ["gone", "gone.jpg", "memory://gone/", "gone*.jpg"])
def test_nothing_there(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no pictures there; check the address"):
        read_entries(source, "clear")
    assert not (tmp_path / "clear").exists()


def test_every_picture_is_in_one_shard_whatever_else_there_is() -> None:
    entries = [Entry("", f"{index}.jpg") for index in range(300)]
    parts = [set(filter(Shard(index, 3).has, entries)) for index in (1, 2, 3)]
    assert set.union(*parts) == set(entries)
    assert sum(map(len, parts)) == 300
    assert min(map(len, parts)) > 70


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/", "-1/2"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected i/n"):
        Shard.parse(text)
