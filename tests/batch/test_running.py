"""Every file exactly once, or listed as failed, whatever happens in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pytest
from batch_pictures import jpeg, manifest
from PIL import Image

from corun.batch import running
from corun.batch.entries import Entry, Shard
from corun.batch.running import Batch
from corun.batch.stores import Store, StoreError, persistently
from corun.batch.worker import Work
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.file_jobs import JobOptions, Outcome
from corun.errors import ConfigurationError, DataError, MissingExtraError, WeightsError
from corun.files import shipped


def run(source: str | Path, destination: str | Path, **options: Any) -> list[Outcome]:
    work = Work(str(destination), "dcp", {"threads": 1})
    return list(Batch.plan(str(source), work, **options).run())


def test_a_folder_to_a_folder_and_again(photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"no picture")
    clear = tmp_path / "clear"
    statuses = Counter(outcome.status for outcome in run(photos, clear))
    assert statuses == {"ok": 5, "failed": 1}
    with Image.open(clear / "inner" / "4.png") as image:
        assert image.size == (23, 17)
    rows = {row["output"]: row for row in manifest(clear)}
    assert rows["0.jpg"]["input"] == str(photos / "0.jpg")
    assert rows["0.jpg"]["seconds"] > 0
    assert "not a picture" in rows["bad.jpg"]["error"]
    assert not (clear / "bad.jpg").exists()

    assert run(photos, clear) == []
    (photos / "bad.jpg").write_bytes(jpeg())
    [again] = run(photos, clear, retry_failed=True)
    assert (again.status, again.input) == ("ok", str(photos / "bad.jpg"))
    assert len(manifest(clear)) == 7


def test_from_store_to_store(memory: fsspec.AbstractFileSystem) -> None:
    for index in range(3):
        memory.pipe_file(f"/hazy/{index}.jpg", jpeg())
    outcomes = run("memory://hazy", "memory://clear")
    assert [outcome.status for outcome in outcomes] == ["ok"] * 3
    assert memory.cat_file("/clear/1.jpg")[:2] == b"\xff\xd8"
    assert run("memory://hazy", "memory://clear") == []
    assert len(memory.glob("/clear/_manifest/*.jsonl")) == 1


def test_a_result_without_a_row_is_not_done_again(photos: Path, tmp_path: Path) -> None:
    clear = tmp_path / "clear"
    clear.mkdir()
    (clear / "0.jpg").write_bytes(b"done before the kill")
    statuses = {outcome.output: outcome.status for outcome in run(photos, clear)}
    assert statuses[str(clear / "0.jpg")] == "skipped"
    assert (clear / "0.jpg").read_bytes() == b"done before the kill"
    assert len(manifest(clear)) == 5


def test_shards_do_a_part_each(photos: Path, tmp_path: Path) -> None:
    clear = tmp_path / "clear"
    for index in (1, 2, 3):
        run(photos, clear, shard=Shard(index, 3))
    assert len({row["output"] for row in manifest(clear)}) == len(manifest(clear)) == 5


def test_other_settings_need_another_place(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "clear")
    work = Work(str(tmp_path / "clear"), "dcp", options=JobOptions(strength=0.5))
    with pytest.raises(ConfigurationError, match=r"other settings \(strength 1.0, now 0.5\)"):
        Batch.plan(str(photos), work)


def test_other_weights_of_the_same_name_need_another_place(photos: Path, tmp_path: Path) -> None:
    weights, clear = tmp_path / "mine.onnx", tmp_path / "clear"
    weights.write_bytes(shipped("corun-lite.onnx").read_bytes())
    assert len(list(Batch.plan(str(photos), Work(str(clear), str(weights))).run())) == 5
    weights.write_bytes(b"trained anew")
    with pytest.raises(ConfigurationError, match=r"holds results of other settings \(weights '"):
        Batch.plan(str(photos), Work(str(clear), str(weights)))


def test_a_folder_of_a_model_counts_by_what_it_holds(photos: Path, tmp_path: Path) -> None:
    model, clear = tmp_path / "mine", tmp_path / "clear"
    model.mkdir()
    (model / "model.onnx").write_bytes(shipped("corun-lite.onnx").read_bytes())
    work = Work(str(clear), str(model), {"engine": "onnx"})
    assert len(list(Batch.plan(str(photos), work).run())) == 5
    (model / "model.onnx").write_bytes(b"trained anew")
    with pytest.raises(ConfigurationError, match=r"holds results of other settings \(weights '"):
        Batch.plan(str(photos), work)


def test_a_new_release_of_a_model_needs_another_place(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, later = Work(str(tmp_path / "clear"), "corun-lite"), tmp_path / "later"
    assert len(list(Batch.plan(str(photos), work).run())) == 5
    later.write_bytes(b"trained anew")
    monkeypatch.setattr(running, "weights_path", lambda card: later)
    with pytest.raises(ConfigurationError, match=r"holds results of other settings \(weights '"):
        Batch.plan(str(photos), work)


def test_other_pictures_of_the_same_name_are_not_taken_for_done(
    photos: Path, tmp_path: Path
) -> None:
    clear, others = tmp_path / "clear", tmp_path / "others"
    run(photos, clear)
    others.mkdir()
    (others / "0.jpg").write_bytes(jpeg())
    with pytest.raises(ConfigurationError) as told:
        run(others, clear)
    assert f"holds 0.jpg, which was made of {photos / '0.jpg'} and not of {others / '0.jpg'}" in (
        str(told.value)
    )


@pytest.mark.parametrize("listed", [True, False])
def test_a_picture_does_not_take_the_place_of_its_result(
    photos: Path, tmp_path: Path, listed: bool
) -> None:
    """The list's paths are relative to its folder, which is the destination too."""
    (photos / "list.txt").write_text("0.jpg\n")
    source = photos / ("list.txt" if listed else "0.jpg")
    with pytest.raises(DataError, match=r"0\.jpg: would be written over by its own result"):
        run(source, photos)
    assert not (photos / "_manifest").exists()


def test_what_failed_and_then_went_well_is_done_whatever_its_part_is_called(
    photos: Path, tmp_path: Path
) -> None:
    """The names of parts begin with the shard, so they do not come in the order of time."""
    clear, bad = tmp_path / "clear", photos / "bad.jpg"
    bad.write_bytes(b"no picture")
    index = next(n for n in (1, 2) if Shard(n, 2).has(Entry(str(bad), "bad.jpg")))
    run(photos, clear, shard=Shard(index, 2))
    if index == 1:  # then the parts of 2/2 come later by name
        clear.rename(tmp_path / "first")
        (tmp_path / "first" / "_manifest").rename(clear.with_name("rows"))
        for part in clear.with_name("rows").glob("00001-of-00002-*.jsonl"):
            part.rename(part.with_name(part.name.replace("00001-of", "00002-of")))
        clear.with_name("rows").rename(tmp_path / "first" / "_manifest")
        (tmp_path / "first").rename(clear)
    bad.write_bytes(jpeg())
    run(photos, clear, retry_failed=True)  # as part 1 of 1
    again = Batch.plan(str(photos), Work(str(clear), "dcp", {"threads": 1}), retry_failed=True)
    assert again.pending == []
    assert again.earlier == {"done": 6, "failed": 0}


def test_a_part_is_done_by_one_process_at_a_time(photos: Path, tmp_path: Path) -> None:
    """From the look at what was done to the last row, so that nobody acts on an old look."""
    clear = tmp_path / "clear"
    planned = Batch.plan(str(photos), Work(str(clear), "dcp", {"threads": 1}))
    with pytest.raises(ConfigurationError, match="another process is doing this part"):
        run(photos, clear)
    first = planned.run()
    next(first)
    with pytest.raises(ConfigurationError, match="another process is doing this part"):
        run(photos, clear)
    first.close()
    run(photos, clear)
    assert {row["output"] for row in manifest(clear)} >= {"0.jpg", "1.jpg"}


def test_parts_of_other_numbers_are_done_at_once_where_they_share_no_picture(
    photos: Path, tmp_path: Path
) -> None:
    """Else the pictures that are in both would be done twice."""
    clear = tmp_path / "clear"

    def plan(index: int, count: int) -> Batch:
        work = Work(str(clear), "dcp", {"threads": 1})
        return Batch.plan(str(photos), work, shard=Shard(index, count))

    first = plan(1, 2)
    for index, count in ((1, 1), (1, 2), (1, 3), (3, 3), (1, 4), (3, 4), (2, 5)):
        with pytest.raises(ConfigurationError, match="doing this part of it, as --shard 1/2; wait"):
            plan(index, count)
    others = [plan(2, 4), plan(4, 4)]  # the other half, in halves
    with pytest.raises(ConfigurationError, match=r"as --shard [24]/4"):
        plan(2, 2)
    outcomes = [outcome for batch in (first, *others) for outcome in batch.run()]
    assert Counter(outcome.status for outcome in outcomes) == {"ok": 5}
    assert run(photos, clear, shard=Shard(1, 3)) == []
    assert len({row["output"] for row in manifest(clear)}) == len(manifest(clear)) == 5


@pytest.mark.parametrize("shards", [("1/2", "1/3"), ("2/2", "2/4")])
def test_two_runs_of_parts_of_other_numbers_do_nothing_twice(
    photos: Path, tmp_path: Path, shards: tuple[str, str]
) -> None:
    """Real processes: the second is refused by name, and later does what is left of its part."""
    for index in range(10, 50):
        (photos / f"{index}.jpg").write_bytes(jpeg(240, 320))
    clear = tmp_path / "clear"
    command = [sys.executable, "-m", "corun", "batch", str(photos), str(clear), "--model", "dcp"]
    command += ["--quiet", "--threads", "1", "--shard"]
    with subprocess.Popen([*command, shards[0]]) as first:
        while not list(clear.glob("[0-9]*.jpg")):
            assert first.poll() is None
            time.sleep(0.002)
        os.kill(first.pid, signal.SIGSTOP)
        try:
            second = subprocess.run([*command, shards[1]], capture_output=True, text=True)
        finally:
            os.kill(first.pid, signal.SIGCONT)
    assert first.returncode == 0
    assert second.returncode == 1
    assert f"as --shard {shards[0]}; wait for its end" in second.stderr
    subprocess.run([*command, shards[1]], check=True)
    rows = Counter(row["output"] for row in manifest(clear))
    assert set(rows.values()) == {1}
    assert len(rows) == len(list(clear.glob("*.jpg"))) + len(list(clear.glob("inner/*.png")))


def test_a_commit_is_tried_again(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/hazy/0.jpg", jpeg())
    write, failures = Store.write, iter([True, True])

    def sometimes(store: Store, path: str, content: bytes) -> None:
        if path.endswith(".jsonl") and next(failures, False):
            raise StoreError(f"{path}: slow down; try again", passing=True)
        write(store, path, content)

    monkeypatch.setattr(Store, "write", sometimes)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert [outcome.status for outcome in run("memory://hazy", "memory://clear")] == ["ok"]
    assert len(memory.glob("/clear/_manifest/*.jsonl")) == 1


def test_one_thread_is_one_thread(photos: Path, tmp_path: Path) -> None:
    """Decoding, clearing and encoding take turns, so that workers do not take each other's."""
    import cv2

    from corun.batch import worker

    busy, most = [], []

    def counted(function: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            busy.append(1)
            most.append(len(busy))
            time.sleep(0.01)
            try:
                return function(*given, **named)
            finally:
                busy.pop()

        return call

    threads = cv2.getNumThreads()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("read_picture", "encode_picture"):
            patch.setattr(worker, name, counted(getattr(worker, name)))
        patch.setattr(Dehazer, "dehaze_picture", counted(Dehazer.dehaze_picture))
        try:
            assert len(run(photos, tmp_path / "clear")) == 5
            assert cv2.getNumThreads() == 1
        finally:
            cv2.setNumThreads(threads)
    assert max(most) == 1
    assert len(most) == 15


def test_a_model_that_is_not_there_decides_nothing(photos: Path, tmp_path: Path) -> None:
    work = Work(str(tmp_path / "clear"), str(tmp_path / "gone.onnx"))
    with pytest.raises(WeightsError, match=r"gone\.onnx: neither"):
        list(Batch.plan(str(photos), work).run())
    assert len(run(photos, tmp_path / "clear")) == 5


def test_a_damaged_manifest_is_named(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "clear")
    [part] = (tmp_path / "clear" / "_manifest").glob("*.jsonl")
    part.write_text('{"output')
    with pytest.raises(DataError, match="is damaged; remove it"):
        run(photos, tmp_path / "clear")
    part.unlink()
    assert {outcome.status for outcome in run(photos, tmp_path / "clear")} == {"skipped"}


def test_a_store_that_fails_now_and_then(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    memory.pipe_file("/hazy/0.jpg", jpeg())
    memory.pipe_file("/hazy/1.jpg", jpeg())
    read, calls = Store.read, Counter[str]()

    def failing(store: Store, path: str) -> bytes:
        calls[path] += 1
        if path == "/hazy/1.jpg" or (path == "/hazy/0.jpg" and calls[path] < 3):
            raise StoreError(f"{path}: slow down", passing=True)
        return read(store, path)

    monkeypatch.setattr(Store, "read", failing)
    statuses = {outcome.input: outcome.status for outcome in run("memory://hazy", "memory://clear")}
    assert statuses == {"memory:///hazy/0.jpg": "ok", "memory:///hazy/1.jpg": "failed"}
    assert (calls["/hazy/0.jpg"], calls["/hazy/1.jpg"]) == (3, 4)


def test_what_lasts_is_not_tried_again() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise StoreError("gone")

    with pytest.raises(StoreError):
        persistently(call, 5)
    assert len(calls) == 1


def test_stores_that_are_not_there() -> None:
    with pytest.raises(StoreError, match="Protocol not known: nostore; check the address"):
        Store("nostore://x")
    with pytest.raises(MissingExtraError, match="pip install gcsfs"):
        Store("gs://x")
    with pytest.raises(StoreError, match=r"memory:///gone/a\.jpg: .*check the name"):
        Store("memory://gone").read("/gone/a.jpg")


def test_a_full_destination_keeps_what_was_done(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Store.write

    def full(store: Store, path: str, content: bytes) -> None:
        if path.endswith("2.jpg"):
            raise StoreError(f"{path}: no space left on device; check the store")
        write(store, path, content)

    monkeypatch.setattr(Store, "write", full)
    outcomes = run(photos, tmp_path / "clear")
    assert Counter(outcome.status for outcome in outcomes) == {"ok": 4, "failed": 1}
    assert len(manifest(tmp_path / "clear")) == 5


def test_without_torch(photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from corun.apps.cli import app\n"
        f"app(['batch', {str(photos)!r}, {str(tmp_path / 'clear')!r}, '--quiet'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert {row["engine"] for row in manifest(tmp_path / "clear")} == {"onnx"}
