"""Samples of films keep their depth, range, matrix and meaning; HDR is refused or made SDR."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from corun.dehazing.video.colours import Colours, SdrTone
from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.dehazing.video.encoders import Encoding
from corun.errors import VideoError
from video_films import (
    LOSSLESS,
    ToyDehazer,
    cleared,
    frames_of,
    make_film,
    picture,
    planes,
)


@pytest.mark.parametrize("codec", ["h264", "hevc", "ffv1"])
def test_ten_bits_stay_ten_bits(tmp_path: Path, codec: str) -> None:
    source = make_film(tmp_path / "hazy.mkv", pixel_format="yuv420p10le", deep=True)
    options = VideoOptions(strength=0.0, encoding=Encoding(codec))  # type: ignore[arg-type]
    output = cleared(source, tmp_path / "clear.mkv", options)
    before, after = frames_of(source), frames_of(output)
    assert {frame.format.name for frame in after} == {"yuv420p10le"}
    if codec == "ffv1":
        assert np.abs(planes(after[3]) - planes(before[3])).max() <= 2
    assert len(np.unique(planes(after[3])[:48] % 4)) == 4  # and not 8 bits in 10


@pytest.mark.parametrize(
    "colours", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 6, 6, 6), (1, 9, 14, 9), (0, 2, 2, 2)]
)
def test_range_and_matrix_are_read_and_written(
    tmp_path: Path, colours: tuple[int, int, int, int]
) -> None:
    source = make_film(tmp_path / "hazy.mkv", colours=colours)
    output = cleared(source, tmp_path / "clear.mkv", dataclasses.replace(LOSSLESS, strength=0.0))
    for before, after in zip(frames_of(source), frames_of(output), strict=True):
        stated = after.color_range, after.colorspace, after.color_trc, after.color_primaries
        assert stated[1:] == colours[1:]
        assert stated[0] == colours[0] or (colours[0] == 0 and stated[0] == 1)
        assert np.abs(planes(after) - planes(before)).max() <= 1


def test_what_the_colours_mean_is_worked_on(tmp_path: Path) -> None:
    """The same picture in another range and matrix comes out as the same picture."""
    shown = []
    for name, colours in (("a", (1, 1, 1, 1)), ("b", (2, 6, 6, 6))):
        source = make_film(tmp_path / f"{name}.mkv", colours=colours)
        output = cleared(source, tmp_path / f"{name}.clear.mkv", LOSSLESS)
        frame = frames_of(output)[2]
        matrix = {6: 5}.get(colours[1], colours[1])
        rgb = frame.reformat(
            format="rgb24",
            src_color_range=colours[0],
            dst_color_range=2,
            src_colorspace=matrix,
            interpolation=286724,
        )
        shown.append(rgb.to_ndarray().astype(int))
    expected = np.clip(1.5 * picture(2) - 0.2 * 255, 0, 255)
    assert np.abs(shown[0] - shown[1]).mean() < 2.5
    assert np.abs(shown[0] - expected)[10:].mean() < 4


def test_interlaced_frames_stay_marked(tmp_path: Path) -> None:
    source = make_film(tmp_path / "hazy.mp4", fields="tff")
    assert frames_of(source)[0].interlaced_frame
    for codec, suffix in (("h264", ".mp4"), ("prores", ".mov")):
        options = VideoOptions(encoding=Encoding(codec))  # type: ignore[arg-type]
        output = cleared(source, tmp_path / f"clear{suffix}", options)
        assert all(frame.interlaced_frame for frame in frames_of(output))
    result = dehaze_video(
        source, tmp_path / "c.mkv", ToyDehazer(), VideoOptions(encoding=Encoding("hevc"))
    )
    assert any("interlaced" in note for note in result.notes)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_unless_it_is_to_become_sdr(
    tmp_path: Path, transfer: int, name: str
) -> None:
    source = make_film(
        tmp_path / "hazy.mp4", pixel_format="yuv420p10le", colours=(1, 9, transfer, 9), deep=True
    )
    with pytest.raises(VideoError, match=rf"hazy\.mp4: .*HDR \({name}\).*--tone sdr"):
        dehaze_video(source, tmp_path / "clear.mp4", ToyDehazer())
    output = cleared(source, tmp_path / "clear.mp4", VideoOptions(tone="sdr"))
    frame = frames_of(output)[0]
    assert (frame.color_range, frame.colorspace, frame.color_trc) == (1, 1, 1)
    assert frame.format.name == "yuv420p10le"


@pytest.mark.parametrize(("transfer", "white"), [(16, 0.5807), (18, 0.75)])
def test_diffuse_white_of_hdr_becomes_nearly_white(transfer: int, white: float) -> None:
    """203 cd/m² are at 58 % of PQ and 75 % of HLG (ITU-R BT.2408, table 1)."""
    tone = SdrTone(Colours(False, 1, 1, transfer, 1))
    codes = np.array([0.0, white, 1.0])[:, None, None] * 65535
    shown = tone(np.rint(np.broadcast_to(codes, (3, 1, 3))).astype(np.uint16)) / 65535
    assert shown[0].max() == 0
    assert 0.9 < shown[1].min() < 0.97
    assert 0.97 < shown[2].min() <= 1
