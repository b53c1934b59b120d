"""Bad input, real files, the real command: one line each with a remedy, and the rest goes on."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import Result

Corun = Callable[..., Result]
Process = Callable[..., subprocess.CompletedProcess[bytes]]


def bomb() -> bytes:
    """A small PNG whose header promises 3.6 billion pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        tail = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + tail

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    parts = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_every_bad_file_is_named_with_a_remedy_and_the_good_ones_are_done(
    photos: Path, in_process_of_its_own: Process
) -> None:
    whole = (photos / "a.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.png").touch()
    (photos / "text.webp").write_text("hello")
    (photos / "bomb.png").write_bytes(bomb())
    result = in_process_of_its_own("dehaze", photos, photos / "gone.jpg", "--model", "dcp")
    assert result.returncode == 1
    lines = result.stderr.decode().splitlines()
    complaints = [line for line in lines if line.startswith("corun: ")]
    expected = {
        "cut.jpg": "copy it again from its source",
        "empty.png": "the file is empty; copy it again",
        "text.webp": "not a picture corun can read; convert it to JPEG",
        "bomb.png": "guards against decompression bombs; if you trust it, add --max-pixels",
        "gone.jpg": "no such file; check the name",
    }
    assert len(complaints) == len(expected)
    for name, remedy in expected.items():
        line = next(line for line in complaints if name in line)
        assert remedy in line
    assert "Traceback" not in result.stderr.decode()
    assert len(lines) == len(expected) + 3
    done = {path.name for path in photos.glob("*.dehazed.*")}
    assert done == {"a.dehazed.jpg", "b.dehazed.png", "c.dehazed.tif"}


def test_a_link_to_nowhere_and_an_odd_depth_are_named(corun: Corun, photos: Path) -> None:
    (photos / "link.jpg").symlink_to(photos / "moved.jpg")
    with tifffile.TiffWriter(photos / "odd.tif") as file:
        file.write(np.zeros((4, 5, 3), np.uint32), photometric="rgb")
    result = corun("dehaze", photos, "--model", "dcp")
    assert result.exit_code == 1
    complaints = [line for line in result.stderr.splitlines() if line.startswith("corun: ")]
    assert len(complaints) == 2
    assert "link.jpg: its link leads nowhere" in complaints[0]
    assert "odd.tif: TIFF samples of type uint32 are not supported" in complaints[1]
    assert (photos / "a.dehazed.jpg").exists()


def test_max_pixels_is_a_limit_of_the_users(corun: Corun, photos: Path) -> None:
    result = corun("dehaze", photos / "a.jpg", "--model", "dcp", "--max-pixels", "767")
    assert result.exit_code == 1
    assert "768 pixels, above the limit of 767" in result.stderr
    assert corun("dehaze", photos / "a.jpg", "--model", "dcp", "--max-pixels", "768").exit_code == 0


def test_an_unreadable_file_is_named(
    corun: Corun, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patched, because root may read everything."""
    opened = Path.open

    def denied(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", denied)
    result = corun("dehaze", photos, "--model", "dcp")
    assert result.exit_code == 1
    assert "a.jpg: cannot be read (Permission denied); check its permissions" in result.stderr
    assert (photos / "b.dehazed.png").exists()


def test_a_destination_that_cannot_be_made_is_named(corun: Corun, photos: Path) -> None:
    result = corun("dehaze", photos / "a.jpg", "--model", "dcp", "-o", photos / "notes.txt" / "x/")
    assert result.exit_code == 1
    assert "choose another -o" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_unwritable_folder_is_named(
    corun: Corun, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patched, because root may write everywhere."""

    def denied(descriptor: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.fsync", denied)
    result = corun("dehaze", photos / "a.jpg", "--model", "dcp")
    assert result.exit_code == 1
    assert "the folder is not writable; choose another -o" in result.stderr


def test_a_full_disk_is_named_and_leaves_nothing(
    photos: Path, tmp_path: Path, command: list[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "large.png")
    script = (
        f"mount -t tmpfs -o size=16k none '{full}' || exit 77; "
        f"{' '.join(command)} dehaze '{photos}/large.png' '{photos}/b.png' "
        f"--model dcp -o '{full}/'; status=$?; ls -A '{full}'; exit $status"
    )
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip("a private file system cannot be mounted here")
    assert result.returncode == 1
    assert "large.png: cannot be written, the disk is full; free some space" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout.split() == ["b.png"]


def test_a_write_the_system_cuts_off_leaves_nothing(photos: Path, command: list[str]) -> None:
    """The kernel refuses to let files grow beyond a limit: a real failing write, without root."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "large.png")
    arguments = f"dehaze '{photos}/large.png' '{photos}/b.png' --model dcp -o '{photos}/out'"
    result = subprocess.run(
        ["bash", "-c", f"ulimit -f 16; exec {' '.join(command)} {arguments}"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 1
    assert "large.png: cannot be written (File too large); choose another -o" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in (photos / "out").iterdir()] == ["b.png"]


def test_weights_of_another_layout_are_refused(corun: Corun, photos: Path, tmp_path: Path) -> None:
    foreign, broken = tmp_path / "foreign.safetensors", tmp_path / "broken.safetensors"
    save_file({"conv.weight": torch.zeros(3, 3)}, foreign)
    broken.write_bytes(b"not weights")
    pth = tmp_path / "other.pth"
    torch.save({"params": {"conv.weight": torch.zeros(3, 3)}}, pth)
    for path in (foreign, broken, pth):
        result = corun("dehaze", photos / "a.jpg", "--model", path)
        assert result.exit_code == 1
        assert result.stderr.startswith("corun: ")
        assert path.name in result.stderr
        assert len(result.stderr.splitlines()) == 1
    missing = corun("dehaze", photos / "a.jpg", "--model", "corun-huge")
    assert "the models are corun-lite" in missing.stderr
    assert not (photos / "a.dehazed.jpg").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_cuda_device_that_is_not_there_is_refused(
    photos: Path, in_process_of_its_own: Process
) -> None:
    result = in_process_of_its_own("dehaze", photos / "a.jpg", "--device", "cuda")
    assert result.returncode == 1
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1
    assert "no CUDA device is available" in lines[0]
    assert "use --device cpu" in lines[0]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_no_partial_file(
    tmp_path: Path, command: list[str], number: signal.Signals, status: int
) -> None:
    source, out = tmp_path / "many", tmp_path / "out"
    source.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    for index in range(400):
        Image.fromarray(np.roll(noise, index, 1)).save(source / f"{index:03}.jpg")
    process = subprocess.Popen(
        [*command, "dehaze", str(source), "--model", "dcp", "-o", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs with SIGINT ignored, and the tests may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 300
    while not list(out.glob("[!.]*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == status
    assert "Traceback" not in errors
    if number == signal.SIGINT:
        assert "--skip-existing goes on" in errors
    left = list(out.iterdir())
    assert 0 < len(left) < 400
    for path in left:
        assert path.suffix == ".jpg"
        with Image.open(path) as picture:
            picture.load()


def test_a_closed_pipe_is_no_traceback(photos: Path, command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [*command, "dehaze", str(photos / "b.png"), "--model", "dcp", "-o", "-"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
        check=False,
    )
    os.close(writing)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
