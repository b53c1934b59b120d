"""Films that are none, cut short or damaged: named, and nothing is left."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.dehazing.video.source import read_film
from corun.errors import VideoError
from video_films import (
    ToyDehazer,
    make_film,
    names,
    times_of,
)


def test_bad_films_are_named_and_nothing_is_left(tmp_path: Path) -> None:
    good = make_film(tmp_path / "good.mp4", audio=True)
    bad = tmp_path / "bad.mp4"
    output = tmp_path / "clear.mp4"

    def refused(source: Path, message: str, target: Path = output) -> None:
        before = names(tmp_path)
        with pytest.raises(VideoError, match=message) as raised:
            dehaze_video(source, target, ToyDehazer())
        assert "\n" not in str(raised.value)
        assert names(tmp_path) == before

    refused(tmp_path / "none.mp4", r"none\.mp4: cannot be opened as a video \(No such file")
    bad.write_text("no film")
    refused(bad, r"bad\.mp4: cannot be opened as a video \(no format")
    bad.write_bytes(b"")
    refused(bad, r"bad\.mp4: cannot be opened")
    bad.write_bytes(good.read_bytes()[:1500])
    refused(bad, r"bad\.mp4: ")
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
    refused(sound, r"sound\.wav: has no moving pictures")
    refused(good, r"good\.mp4: is the film itself", good)
    refused(good, r"clear\.xyz: this name asks for a format", tmp_path / "clear.xyz")
    refused(good, r"clear\.avi: .*no times of frames.*\.mkv", tmp_path / "clear.avi")
    refused(good, "is a folder; give the name of a file", tmp_path)
    refused(good, r"nowhere/clear\.mp4: cannot be written", bad / "nowhere" / "clear.mp4")
    output.write_text("somebody's")
    refused(good, r"clear\.mp4: exists already; add --overwrite")
    assert output.read_text() == "somebody's"
    dehaze_video(good, output, ToyDehazer(), VideoOptions(overwrite=True))
    assert times_of(output) == times_of(good)


def test_a_film_that_is_cut_short_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    stamps = [40 * n for n in range(60)]
    source = make_film(tmp_path / "hazy.mkv", stamps=stamps, time_base=Fraction(1, 1000))
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    result = dehaze_video(source, tmp_path / "clear.mkv", ToyDehazer())
    assert 20 < result.frames < 50
    ends = 0.04 * result.frames
    assert any(f"states 2.4 s and ends after {ends:.1f} s: it is" in note for note in result.notes)


def test_films_of_uneven_rate_or_with_longer_sound_are_not_called_short(tmp_path: Path) -> None:
    grid = Fraction(1, 1000)
    for name, stamps, audio in (("rate", [0, 40, 80, 120, 500], False), ("sound", [0, 40], True)):
        source = make_film(tmp_path / f"{name}.mkv", stamps=stamps, time_base=grid, audio=audio)
        assert dehaze_video(source, tmp_path / f"{name}.clear.mkv", ToyDehazer()).notes == ()


def test_a_last_frame_that_stays_long_is_not_taken_for_a_film_cut_short(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "tune": "zerolatency"}
    stamps = [40 * n for n in range(50)]
    packed = make_film(
        tmp_path / "a.mp4", stamps=stamps, time_base=Fraction(1, 1000), options=options
    )
    long = tmp_path / "long.mp4"
    with av.open(str(packed)) as film, av.open(str(long), "w") as longer:
        stream = longer.add_stream_from_template(film.streams.video[0])
        packets = [packet for packet in film.demux(video=0) if packet.dts is not None]
        packets[-1].duration *= 25  # a second
        for packet in packets:
            packet.stream = stream
            longer.mux(packet)
    assert read_film(long).seconds > 2.9
    assert dehaze_video(long, tmp_path / "clear.mp4", ToyDehazer()).notes == ()


@pytest.mark.parametrize("stated", [b"nan:0:0", b"inf:0:0", b"-1:00:00", b"1e99:0:0"])
def test_a_damaged_tag_of_the_duration_is_passed_over(tmp_path: Path, stated: bytes) -> None:
    film = make_film(tmp_path / "hazy.mkv")
    content = film.read_bytes()
    at = content.index(b"00:00:00.", content.index(b"DURATION"))
    film.write_bytes(content[:at] + stated.ljust(18, b"\0") + content[at + 18 :])
    assert 0 < read_film(film).seconds < 1
    assert dehaze_video(film, tmp_path / "clear.mkv", ToyDehazer()).frames == 12


def test_damaged_packets_are_passed_over_and_counted(tmp_path: Path) -> None:
    film = make_film(tmp_path / "hazy.mkv", codec="ffv1", options={"slicecrc": "1", "level": "3"})
    with av.open(str(film)) as container:
        packet = [p for p in container.demux(video=0) if p.pts is not None][5]
        where = film.read_bytes().index(bytes(packet)[:200])
    content = bytearray(film.read_bytes())
    content[where : where + 150] = bytes(150)
    film.write_bytes(content)
    result = dehaze_video(film, tmp_path / "clear.mkv", ToyDehazer())
    assert result.frames >= 11
    assert len(times_of(tmp_path / "clear.mkv")) == result.frames
