"""Interrupted films go on with the frames of unbroken ones; disks that are full are said."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from corun.dehazing.video import conversion
from corun.dehazing.video.clearing import LOOK_EVERY
from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.errors import VideoError
from video_films import (
    ToyDehazer,
    cleared,
    frames_of,
    make_film,
    names,
    packets_of,
    planes,
    times_of,
)

FRAMES = 80
LOOKS = FRAMES // LOOK_EVERY


def interrupt(source: Path, output: Path, options: VideoOptions) -> None:
    """Works on a film until the network's last looks, when half of the runs are finished."""
    dehazer = ToyDehazer()
    dehazer.fail_at = LOOKS - 1
    with pytest.raises(KeyboardInterrupt):
        dehaze_video(source, output, dehazer, options)


def test_an_interrupted_film_goes_on_from_the_last_run(tmp_path: Path) -> None:
    stamps = [3600 * n + (n % 3) * 300 for n in range(FRAMES)]
    source = make_film(tmp_path / "hazy.mp4", stamps=stamps, audio=True)
    options = VideoOptions(segment_frames=10)
    whole = cleared(source, tmp_path / "whole.mp4", options)
    interrupt(source, tmp_path / "clear.mp4", options)
    assert not (tmp_path / "clear.mp4").exists()
    assert ".clear.mp4.corun-video" in names(tmp_path)
    dehazer = ToyDehazer()
    counts: list[int] = []
    result = dehaze_video(
        source, tmp_path / "clear.mp4", dehazer, options, lambda done, total: counts.append(done)
    )
    assert result.resumed == counts[0] >= 40
    assert counts == list(range(result.resumed, FRAMES + 1))
    assert len(dehazer.seen) < LOOKS
    assert times_of(tmp_path / "clear.mp4") == times_of(source)
    for one, other in zip(frames_of(whole), frames_of(tmp_path / "clear.mp4"), strict=True):
        assert np.array_equal(planes(one), planes(other))
    assert packets_of(tmp_path / "clear.mp4", "audio") == packets_of(source, "audio")
    assert names(tmp_path) == {"hazy.mp4", "whole.mp4", "clear.mp4"}


def test_other_options_or_another_model_start_over(tmp_path: Path) -> None:
    stamps = [3600 * n for n in range(FRAMES)]
    source = make_film(tmp_path / "hazy.mp4", stamps=stamps)
    options = VideoOptions(segment_frames=10)

    for other, toy in (
        (dataclasses.replace(options, strength=0.5), ToyDehazer()),
        (dataclasses.replace(options, resume=False), ToyDehazer()),
        (options, ToyDehazer(gain=1.2)),
    ):
        output = tmp_path / "clear.mp4"
        interrupt(source, output, options)
        assert dehaze_video(source, output, toy, other).resumed == 0
        output.unlink()


def test_a_place_that_is_not_found_again_is_read_from_the_beginning(tmp_path: Path) -> None:
    source = make_film(tmp_path / "hazy.mp4", stamps=[3600 * n for n in range(FRAMES)])
    options = VideoOptions(segment_frames=10)
    whole = cleared(source, tmp_path / "whole.mp4", options)
    interrupt(source, tmp_path / "clear.mp4", options)
    progress = tmp_path / ".clear.mp4.corun-video" / "progress.json"
    stored = json.loads(progress.read_text())
    stored["segments"][-1]["last"] += 1  # as if the decoder gave another picture after a jump
    progress.write_text(json.dumps(stored))
    assert dehaze_video(source, tmp_path / "clear.mp4", ToyDehazer(), options).resumed > 0
    for one, other in zip(frames_of(whole), frames_of(tmp_path / "clear.mp4"), strict=True):
        assert np.array_equal(planes(one), planes(other))


def test_two_commands_do_not_make_one_film(tmp_path: Path) -> None:
    source = make_film(tmp_path / "hazy.mp4")
    workshop = conversion.Workshop(tmp_path / "clear.mp4")
    with (
        workshop.held(),
        pytest.raises(VideoError, match=r"clear\.mp4: another process is making it"),
    ):
        dehaze_video(source, tmp_path / "clear.mp4", ToyDehazer())


def test_a_full_disk_is_said_before_and_during(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_film(tmp_path / "hazy.mp4", stamps=[3600 * n for n in range(20)])
    output = tmp_path / "clear.mp4"
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(VideoError, match=r"clear\.mp4: about .* GB are needed.*are free"):
            dehaze_video(source, output, ToyDehazer())
    assert names(tmp_path) == {"hazy.mp4"}
    with monkeypatch.context() as patch:
        calls = []

        def full(stream: object) -> None:
            calls.append(stream)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(conversion, "close_to_disk", full)
        with pytest.raises(VideoError, match=r"clear\.mp4: the disk is full.*goes on"):
            dehaze_video(source, output, ToyDehazer(), VideoOptions(segment_frames=8))
    result = dehaze_video(source, output, ToyDehazer(), VideoOptions(segment_frames=8))
    assert (result.resumed, result.frames) == (8, 20)
