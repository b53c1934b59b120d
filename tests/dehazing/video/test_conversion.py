"""A film in, the clear one out: what must stay stays, and options are followed."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import load
from corun.dehazing.video.clearing import HELD
from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.dehazing.video.encoders import Encoding
from corun.errors import ConfigurationError, VideoError
from video_films import (
    LOSSLESS,
    UNEVEN,
    ToyDehazer,
    cleared,
    frames_of,
    make_film,
    names,
    packets_of,
    planes,
    times_of,
)


def test_all_but_the_haze_stays(tmp_path: Path) -> None:
    source = make_film(
        tmp_path / "hazy.mp4",
        audio=True,
        aspect=Fraction(4, 3),
        rotation=90,
        chapters=True,
        metadata={"title": "Fog over the Elbe", "artist": "Caspar"},
    )
    output = cleared(source, tmp_path / "clear.mp4")
    before, after = frames_of(source), frames_of(output)
    assert [f.pts * f.time_base for f in after] == [Fraction(s, 90000) for s in UNEVEN]
    assert times_of(output) == times_of(source)
    assert packets_of(output, "audio") == packets_of(source, "audio")
    with av.open(str(source)) as was, av.open(str(output)) as film:
        lengths = [f.streams.video[0].duration or 0 for f in (was, film)]
        assert abs(lengths[0] - lengths[1]) <= 90  # MP4 states the whole in milliseconds
        for tag in ("title", "artist"):
            assert film.metadata[tag] == was.metadata[tag]
        assert film.chapters() == was.chapters()
        assert film.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert film.streams.audio[0].metadata["language"] == "fra"
    assert {(f.rotation, f.color_range, f.colorspace) for f in after} == {(90, 1, 1)}
    assert {(f.color_trc, f.color_primaries, f.format.name) for f in after} == {(1, 1, "yuv420p")}
    assert np.abs(planes(after[0]) - planes(before[0])).mean() > 10


@pytest.mark.parametrize(("deep", "bytes_of_a_pixel"), [(False, 3), (True, 6)])
def test_a_film_whose_frames_do_not_fit_into_memory_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep: bool, bytes_of_a_pixel: int
) -> None:
    source = make_film(
        tmp_path / "hazy.mkv", size=(48, 64), deep=deep, codec="ffv1",
        pixel_format="yuv420p10le" if deep else "yuv420p", options={},
    )  # fmt: skip
    needed = HELD * 48 * 64 * bytes_of_a_pixel
    monkeypatch.setattr("corun.dehazing.video.conversion.free_memory", lambda: needed - 1)
    with pytest.raises(VideoError, match=rf"hazy.mkv: {HELD} frames of 64x48 are held at a time"):
        cleared(source, tmp_path / "clear.mkv")
    assert names(tmp_path) == {"hazy.mkv"}
    # a network without maps clears each frame by itself, and holds few
    dehaze_video(source, tmp_path / "by-itself.mkv", load("dcp"))
    monkeypatch.setattr("corun.dehazing.video.conversion.free_memory", lambda: needed)
    cleared(source, tmp_path / "clear.mkv")


def test_matroska_keeps_subtitles_and_unusual_tags(tmp_path: Path) -> None:
    plain = make_film(
        tmp_path / "plain.mkv", time_base=Fraction(1, 1000), stamps=[0, 40, 85, 120, 160]
    )
    source = with_subtitles(plain, tmp_path / "hazy.mkv", {"LOCATION": "Elbe"})
    output = cleared(source, tmp_path / "clear.mkv")
    assert packets_of(output, "subtitle") == packets_of(source, "subtitle")
    assert [text for _, text in packets_of(output, "subtitle")] == [b"Fog.", b"Still fog."]
    assert times_of(output) == times_of(source)
    with av.open(str(output)) as film:
        assert film.metadata["LOCATION"] == "Elbe"
    with pytest.raises(VideoError, match=r"hold the subtitle stream .*\(srt\).*\.mkv"):
        dehaze_video(source, tmp_path / "clear.mp4", ToyDehazer())
    assert names(tmp_path) == {"plain.mkv", "hazy.mkv", "clear.mkv"}


def with_subtitles(plain: Path, target: Path, metadata: dict[str, str]) -> Path:
    """The film with two lines of SubRip, which FFmpeg muxes as the text itself."""
    srt = target.with_suffix(".srt")
    srt.write_text(
        "1\n00:00:00,000 --> 00:00:00,080\nFog.\n\n2\n00:00:00,090 --> 00:00:00,150\nStill fog.\n"
    )
    with av.open(str(plain)) as film, av.open(str(srt)) as text, av.open(str(target), "w") as out:
        out.metadata.update(metadata)
        copies = {}
        for container in (film, text):
            for stream in container.streams:
                copies[id(container), stream.index] = out.add_stream_from_template(
                    stream, opaque=True
                )
        for container in (film, text):
            for packet in container.demux():
                if packet.dts is None:
                    continue
                packet.stream = copies[id(container), packet.stream_index]
                out.mux(packet)
    srt.unlink()
    return target


def test_a_part_has_its_frames_and_its_sound(tmp_path: Path) -> None:
    source = make_film(tmp_path / "hazy.mp4", audio=True, chapters=True)
    output = cleared(source, tmp_path / "part.mp4", VideoOptions(start=0.1, end=0.35))
    start = Fraction(1, 10)
    whole = times_of(source)
    part = [time for time in whole if start <= time < Fraction(35, 100)]
    assert times_of(output) == [time - start for time in part]
    sound, all_sound = packets_of(output, "audio"), packets_of(source, "audio")
    kept = [data for time, data in all_sound if 0.1 <= time < 0.35]
    assert [data for _, data in sound] == kept
    with av.open(str(output)) as film:
        assert [c["metadata"]["title"] for c in film.chapters()] == ["Fog", "Sun"]
    with pytest.raises(VideoError, match="no frame of it is between"):
        dehaze_video(source, tmp_path / "none.mp4", ToyDehazer(), VideoOptions(start=50.0))
    assert names(tmp_path) == {"hazy.mp4", "part.mp4"}


def test_side_by_side_has_the_hazy_frame_on_the_left_as_shown(tmp_path: Path) -> None:
    for rotation in (None, 90):
        source = make_film(tmp_path / f"{rotation}.mkv", rotation=rotation)
        options = dataclasses.replace(LOSSLESS, side_by_side=True)
        frame = frames_of(cleared(source, tmp_path / f"{rotation}.both.mkv", options))[0]
        turns = 0 if rotation is None else 1
        original = np.rot90(frames_of(source)[0].to_ndarray(format="rgb24"), turns).astype(int)
        shown = np.rot90(frame.to_ndarray(format="rgb24"), turns).astype(int)
        width = original.shape[1]
        assert shown.shape[:2] == (original.shape[0], 2 * width)
        assert np.abs(shown[:, : width - 2] - original[:, :-2]).mean() < 4
        assert np.abs(shown[:, width:] - original).mean() > 10


def test_the_network_sees_frames_upright(tmp_path: Path) -> None:
    dehazer = ToyDehazer()
    dehaze_video(make_film(tmp_path / "a.mp4", rotation=90), tmp_path / "clear.mp4", dehazer)
    assert set(dehazer.seen[1:]) == {(64, 48, 3)}


def test_odd_sizes_and_rgb_films_are_films_too(tmp_path: Path) -> None:
    rgb = make_film(tmp_path / "rgb.mkv", codec="ffv1", pixel_format="bgr0", colours=(2, 0, 2, 2))
    assert frames_of(cleared(rgb, tmp_path / "rgb.mp4"))[0].format.name == "yuv420p"
    again = frames_of(cleared(rgb, tmp_path / "rgb.clear.mkv", LOSSLESS))[0]
    assert again.format.name == "bgr0"
    odd = make_film(tmp_path / "odd.mkv", size=(35, 51), codec="ffv1", colours=(1, 1, 1, 1))
    frame = frames_of(cleared(odd, tmp_path / "odd.mp4"))[0]
    assert (frame.width, frame.height) == (51, 35)
    tiny = make_film(tmp_path / "tiny.mkv", size=(2, 2), codec="ffv1")
    assert len(frames_of(cleared(tiny, tmp_path / "tiny.clear.mkv", LOSSLESS))) == len(UNEVEN)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"codec": "ffv1", "crf": 20}, "one quality"),
        ({"crf": 20, "bitrate": 10**6}, "exclude each other"),
        ({"crf": 99}, "from 0 to 51"),
        ({"bitrate": 5}, "too low"),
    ],
)
def test_impossible_encodings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Encoding(**fields)  # type: ignore[arg-type]


def test_impossible_parts_are_refused() -> None:
    for fields in ({"start": -1.0}, {"start": 5.0, "end": 5.0}, {"strength": 2.0}):
        with pytest.raises(ConfigurationError):
            VideoOptions(**fields)  # type: ignore[arg-type]


def test_models_without_maps_clear_frame_by_frame(tmp_path: Path) -> None:
    from corun.dehazing.loading import load

    dehazer: Dehazer = load("dcp")
    assert not dehazer.gives_maps
    source = make_film(tmp_path / "hazy.mp4", stamps=UNEVEN[:3])
    result = dehaze_video(source, tmp_path / "clear.mp4", dehazer)
    assert result.frames == 3
    assert times_of(tmp_path / "clear.mp4") == times_of(source)


def test_the_bitrate_is_followed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(25)]
    source = make_film(
        tmp_path / "hazy.mp4",
        stamps=[3600 * n for n in range(25)],
        pictures=pictures,
        size=(96, 128),
    )
    sizes = []
    for bitrate in (200_000, 2_000_000):
        output = tmp_path / f"{bitrate}.mp4"
        cleared(source, output, VideoOptions(encoding=Encoding("h264", bitrate=bitrate)))
        sizes.append(output.stat().st_size)
    assert sizes[1] > 3 * sizes[0]
