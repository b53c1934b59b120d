"""Films of every kind in and out: each frame and its time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from corun.dehazing.video.conversion import VideoOptions
from corun.dehazing.video.encoders import Encoding
from video_films import (
    cleared,
    frames_of,
    make_film,
    times_of,
)


@pytest.mark.parametrize(
    ("codec", "suffix", "decoded"),
    [
        ("h264", ".mp4", "yuv420p"),
        ("hevc", ".mp4", "yuv420p"),
        ("av1", ".webm", "yuv420p"),
        ("prores", ".mov", "yuv422p10le"),
        ("ffv1", ".mkv", "yuv420p"),
    ],
)
def test_every_codec_keeps_number_and_times(
    tmp_path: Path, codec: str, suffix: str, decoded: str
) -> None:
    source = make_film(
        tmp_path / "hazy.mkv",
        time_base=Fraction(1, 1000),
        stamps=[0, 40, 85, 120, 160, 200, 240],
        size=(64, 64),
    )
    options = VideoOptions(encoding=Encoding(codec), segment_frames=3)  # type: ignore[arg-type]
    output = cleared(source, tmp_path / f"clear{suffix}", options)
    assert times_of(output) == times_of(source)
    assert {frame.format.name for frame in frames_of(output)} == {decoded}


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        (".avi", "mpeg4", "yuv420p"),
        (".avi", "mjpeg", "yuvj420p"),
        (".ts", "mpeg2video", "yuv420p"),
        (".mpg", "mpeg2video", "yuv420p"),
        (".flv", "libx264", "yuv420p"),
        (".mov", "prores_ks", "yuv422p10le"),
        (".wmv", "wmv2", "yuv420p"),
        (".mkv", "ffv1", "gray"),
        (".webm", "libsvtav1", "yuv420p"),
        (".gif", "gif", "rgb8"),
    ],
)
def test_films_of_many_kinds_keep_their_frames(
    tmp_path: Path, suffix: str, codec: str, pixel_format: str
) -> None:
    grid = Fraction(1, 1000) if suffix in (".flv", ".wmv", ".mkv", ".webm") else Fraction(1, 25)
    step = 40 if grid == Fraction(1, 1000) else 1
    if suffix == ".gif":
        grid, step = Fraction(1, 100), 4
    full = pixel_format in ("yuvj420p", "rgb8")
    source = make_film(
        tmp_path / f"hazy{suffix}",
        stamps=[step * n for n in range(14)],
        size=(64, 64),
        codec=codec,
        pixel_format=pixel_format,
        time_base=grid,
        colours=(2 if full else 1, 0 if pixel_format == "rgb8" else 5, 2, 2),
    )
    output = cleared(source, tmp_path / "clear.mkv")
    expected = times_of(source)
    assert len(expected) == 14
    found = times_of(output)
    assert len(found) == 14
    for one, other in zip(found, expected, strict=True):
        assert abs(one - other) <= Fraction(1, 2000)  # Matroska counts in milliseconds
    with av.open(str(source)) as film:
        start = film.streams.video[0].start_time
    assert start is None or expected[0] == start * frames_of(source)[0].time_base


@pytest.mark.parametrize("suffix", [".ts", ".mov", ".flv"])
def test_films_go_into_many_formats(tmp_path: Path, suffix: str) -> None:
    source = make_film(tmp_path / "hazy.mp4", stamps=[3600 * n for n in range(14)])
    output = cleared(source, tmp_path / f"clear{suffix}", VideoOptions(segment_frames=5))
    found, expected = times_of(output), times_of(source)
    assert len(found) == 14
    for one, other in zip(found, expected, strict=True):
        assert abs((one - found[0]) - (other - expected[0])) <= Fraction(1, 1000)
