"""A file is whole or not there, nobody's file is overwritten unasked, nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from corun import files
from corun.files import checksum, remove_stale, user_path, write_atomically, written_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_checksum_is_sha256(tmp_path: Path) -> None:
    # FIPS 180-2, appendix B.1
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "abc").write_bytes(b"abc")
    assert checksum(b"abc") == checksum(tmp_path / "abc") == known


def test_text_and_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.csv", "ä,b\r\n")
    assert (tmp_path / "a.csv").read_bytes() == "ä,b\r\n".encode()
    write_atomically(tmp_path / "a.csv", b"\0\1")
    assert (tmp_path / "a.csv").read_bytes() == b"\0\1"
    assert names(tmp_path) == ["a.csv"]


def test_a_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    write_atomically(path, b"first", overwrite=False)
    with pytest.raises(FileExistsError):
        write_atomically(path, b"second", overwrite=False)
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["photo.png"]


def test_nor_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "photo.png"
    write_atomically(path, b"first", overwrite=False)
    with pytest.raises(FileExistsError):
        write_atomically(path, b"second", overwrite=False)
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["photo.png"]


def test_of_many_writers_one_wins(tmp_path: Path) -> None:
    path, won, gate = tmp_path / "one", [], threading.Barrier(8)

    def write(number: int) -> None:
        gate.wait()
        try:
            write_atomically(path, bytes([number]) * 1000, overwrite=False)
            won.append(number)
        except FileExistsError:
            return

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert path.read_bytes() == bytes([won[0]]) * 1000
    assert names(tmp_path) == ["one"]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def interrupted() -> None:
        with written_atomically(path) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["report.json"]


def test_a_temporary_name_keeps_the_suffix_and_suits_the_longest_names(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".png")  # 254 bytes of 255
    with written_atomically(path) as partial:
        assert partial.suffix == ".png"
        partial.write_bytes(b"x")
    assert names(tmp_path) == [path.name]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"through")
    reader.join(10)
    assert read == [b"through"]
    assert pipe.is_fifo()


def test_what_a_killed_process_left_is_removed_and_a_living_one_keeps_its_file(
    tmp_path: Path,
) -> None:
    program = (
        "import sys, time; from pathlib import Path; from corun.files import written_atomically\n"
        "with written_atomically(Path(sys.argv[1])) as partial:\n"
        "    partial.write_bytes(b'half'); print(flush=True); time.sleep(60)\n"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / name)], stdout=subprocess.PIPE
        )
        for name in ("dead", "alive")
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        writers[0].kill()
        writers[0].wait()
        assert len(names(tmp_path)) == 2
        files._swept.clear()
        remove_stale(tmp_path)
        [left] = names(tmp_path)
        assert f"-{writers[1].pid}-" in left
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()


def test_another_host_has_a_day(tmp_path: Path) -> None:
    fresh, old = (tmp_path / f".corun-00000000-1-{n}.partial.png" for n in (1, 2))
    fresh.touch()
    old.touch()
    os.utime(old, (time.time() - 100_000,) * 2)
    files._swept.clear()
    remove_stale(tmp_path)
    assert names(tmp_path) == [fresh.name]


def test_a_tilde_is_the_home_folder_where_there_is_no_such_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/x") == Path("/home/me/x")
    assert user_path("~nobody.jpg") == Path("~nobody.jpg")
    assert user_path("a/~/x") == Path("a/~/x")
    Path("~").mkdir()
    Path("~/x").touch()
    assert user_path("~/x") == Path("~/x")


def test_files_imports_no_torch() -> None:
    program = "import sys; import corun.files; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
