"""A film in, the clear one out: what must stay stays, and what goes wrong is said."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.video import conversion
from corun.dehazing.video.colours import Colours, SdrTone
from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.dehazing.video.encoders import Encoding
from corun.errors import ConfigurationError, VideoError
from video_films import (
    UNEVEN,
    ToyDehazer,
    frames_of,
    make_film,
    names,
    packets_of,
    picture,
    planes,
    times_of,
)

LOSSLESS = VideoOptions(encoding=Encoding("ffv1"))


def cleared(source: Path, output: Path, options: VideoOptions | None = None) -> Path:
    result = dehaze_video(source, output, ToyDehazer(), options)
    assert result.output == output
    assert f".{output.name}.corun-video" not in names(output.parent)
    return output


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


def test_hdr_is_refused_unless_it_is_to_become_sdr(tmp_path: Path) -> None:
    source = make_film(
        tmp_path / "hazy.mp4", pixel_format="yuv420p10le", colours=(1, 9, 16, 9), deep=True
    )
    with pytest.raises(VideoError, match=r"hazy\.mp4: .*HDR \(PQ\).*--tone sdr"):
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


def test_an_interrupted_film_goes_on_from_the_last_run(tmp_path: Path) -> None:
    stamps = [3600 * n + (n % 3) * 300 for n in range(40)]
    source = make_film(tmp_path / "hazy.mp4", stamps=stamps, audio=True)
    options = VideoOptions(segment_frames=10)
    whole = cleared(source, tmp_path / "whole.mp4", options)
    dehazer = ToyDehazer()
    dehazer.fail_at = 18  # of 20 looks, when two runs are finished and the next is begun
    with pytest.raises(KeyboardInterrupt):
        dehaze_video(source, tmp_path / "clear.mp4", dehazer, options)
    assert not (tmp_path / "clear.mp4").exists()
    assert ".clear.mp4.corun-video" in names(tmp_path)
    dehazer = ToyDehazer()
    counts: list[int] = []
    result = dehaze_video(
        source, tmp_path / "clear.mp4", dehazer, options, lambda done, total: counts.append(done)
    )
    assert result.resumed == counts[0] >= 10
    assert counts == list(range(result.resumed, 41))
    assert len(dehazer.seen) < 20
    assert times_of(tmp_path / "clear.mp4") == times_of(source)
    for one, other in zip(frames_of(whole), frames_of(tmp_path / "clear.mp4"), strict=True):
        assert np.array_equal(planes(one), planes(other))
    assert packets_of(tmp_path / "clear.mp4", "audio") == packets_of(source, "audio")
    assert names(tmp_path) == {"hazy.mp4", "whole.mp4", "clear.mp4"}


def test_other_options_or_another_model_start_over(tmp_path: Path) -> None:
    stamps = [3600 * n for n in range(40)]
    source = make_film(tmp_path / "hazy.mp4", stamps=stamps)
    options = VideoOptions(segment_frames=10)

    def interrupted() -> None:
        dehazer = ToyDehazer()
        dehazer.fail_at = 18
        with pytest.raises(KeyboardInterrupt):
            dehaze_video(source, tmp_path / "clear.mp4", dehazer, options)

    for other, toy in (
        (dataclasses.replace(options, strength=0.5), ToyDehazer()),
        (dataclasses.replace(options, resume=False), ToyDehazer()),
        (options, ToyDehazer(gain=1.2)),
    ):
        interrupted()
        output = tmp_path / "clear.mp4"
        assert dehaze_video(source, output, toy, other).resumed == 0
        output.unlink()


def test_a_place_that_is_not_found_again_is_read_from_the_beginning(tmp_path: Path) -> None:
    source = make_film(tmp_path / "hazy.mp4", stamps=[3600 * n for n in range(40)])
    options = VideoOptions(segment_frames=10)
    whole = cleared(source, tmp_path / "whole.mp4", options)
    dehazer = ToyDehazer()
    dehazer.fail_at = 18
    with pytest.raises(KeyboardInterrupt):
        dehaze_video(source, tmp_path / "clear.mp4", dehazer, options)
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
    assert any(f"and gives {result.frames}: it is cut short" in note for note in result.notes)


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
