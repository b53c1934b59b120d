"""Films made on the spot by PyAV, and a network that is none."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from corun.dehazing.dehazer import Dehazer
from corun.dehazing.maps import FrameMaps, apply_maps
from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from corun.dehazing.video.encoders import Encoding

LOSSLESS = VideoOptions(encoding=Encoding("ffv1"))
CLOCK = Fraction(1, 90000)
UNEVEN = [0, 3600, 7300, 10800, 15300, 18000, 21700, 25200, 28800, 33100, 36000, 39700]
"""Times of a film of variable frame rate, in 1/90000 s."""


class ToyDehazer(Dehazer):
    """J* = b + a·P with one a and b for all; counts and shows what it is asked."""

    def __init__(self, gain: float = 1.5, offset: float = -0.2) -> None:
        self.name, self.gain, self.offset = "toy", gain, offset
        self.seen: list[tuple[int, ...]] = []
        self.fail_at: int | None = None

    @property
    def gives_maps(self) -> bool:
        return True

    def maps(self, pictures: Sequence[np.ndarray]) -> list[FrameMaps]:
        if self.fail_at is not None and len(self.seen) >= self.fail_at:
            raise KeyboardInterrupt
        made = []
        for picture in pictures:
            self.seen.append(picture.shape)
            height, width = picture.shape[:2]
            covered = (height + -height % 8, width + -width % 8)
            cells = np.full((covered[0] // 4, covered[1] // 4, 4), self.offset, np.float32)
            mean = picture.mean() / (255 if picture.dtype == np.uint8 else 65535)
            cells[..., 0] = self.gain + 0.1 * (mean - 0.5)
            t = np.ones(cells.shape[:2], np.float32)
            made.append(FrameMaps(cells, t, np.ones(3, np.float32), covered))
        return made

    def apply(self, picture: np.ndarray, maps: FrameMaps, *, strength: float = 1.0) -> np.ndarray:
        return apply_maps(picture, maps, strength=strength, threads=1)


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """RGB, uint8, of soft shapes that move by a pixel a frame."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x = x + number
    shapes = [128 + 70 * np.sin(x / (14 + c) + y / 25) * np.cos(y / (20 - c)) for c in range(3)]
    return np.clip(np.rint(np.stack(shapes, axis=2)), 0, 255).astype(np.uint8)


def make_film(
    path: Path,
    *,
    stamps: Sequence[int] = UNEVEN,
    size: tuple[int, int] = (48, 64),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    colours: tuple[int, int, int, int] = (1, 1, 1, 1),
    time_base: Fraction = CLOCK,
    aspect: Fraction | None = None,
    rotation: float | None = None,
    fields: str | None = None,
    audio: bool = False,
    subtitles: str | None = None,
    metadata: dict[str, str] | None = None,
    chapters: bool = False,
    pictures: Sequence[np.ndarray] | None = None,
    deep: bool = False,
) -> Path:
    """A film of soft moving shapes; `colours` are range, matrix, transfer and primaries."""
    with av.open(str(path), "w") as film:
        video: Any = film.add_stream(codec, rate=25, time_base=time_base)
        video.width, video.height, video.pix_fmt = size[1], size[0], pixel_format
        context = video.codec_context
        context.time_base = time_base
        context.color_range, context.colorspace = colours[0], colours[1]
        context.color_trc, context.color_primaries = colours[2], colours[3]
        context.options = options or ({"crf": "8", "preset": "ultrafast"} if "x26" in codec else {})
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation is not None:
            video.set_display_rotation(rotation)
        if fields is not None:
            context.flags |= av.codec.context.Flags.interlaced_dct
            context.options = {**context.options, "x264-params": f"{fields}=1"}
        sound: Any = film.add_stream("aac", rate=48000) if audio else None
        text: Any = film.add_stream(subtitles) if subtitles else None
        if text is not None:
            text.codec_context.subtitle_header = b"[Script Info]\n"
        film.metadata.update(metadata or {})
        if audio:
            sound.metadata["language"] = "fra"
        if chapters:
            film.set_chapters(
                [
                    chapter(1, 0, 200, "Fog"),
                    chapter(2, 200, 440, "Sun"),
                ]
            )
        for number, stamp in enumerate(stamps):
            rgb = picture(number, *size) if pictures is None else pictures[number]
            if deep:
                rgb = rgb.astype(np.uint16) * 257 + (np.arange(rgb.shape[1]) % 100)[:, None]
                rgb = np.minimum(rgb, 65535).astype(np.uint16)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb48le" if deep else "rgb24")
            frame = frame.reformat(
                format=pixel_format,
                src_color_range=2,
                dst_color_range=colours[0] or 1,
                dst_colorspace={2: 5, 6: 5}.get(colours[1], colours[1]),
                interpolation=_EXACT,
            )
            frame.pts, frame.time_base = stamp, time_base
            frame.color_range, frame.colorspace = colours[0], colours[1]
            frame.color_trc, frame.color_primaries = colours[2], colours[3]
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
        if audio:
            tone = np.sin(np.arange(48000 // 2) * 0.05).astype(np.float32)
            for at in range(0, len(tone) - 1023, 1024):
                samples = av.AudioFrame.from_ndarray(
                    np.stack([tone[at : at + 1024]] * 2), format="fltp", layout="stereo"
                )
                samples.sample_rate, samples.pts = 48000, at
                film.mux(sound.encode(samples))
            film.mux(sound.encode(None))
    return path


_EXACT = 286724
"""Bicubic, accurate rounding, full chroma, as the code under test."""


def chapter(number: int, start: int, end: int, title: str) -> Any:
    """A chapter in milliseconds."""
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def frames_of(path: Path) -> list[av.VideoFrame]:
    """The decoded frames."""
    with av.open(str(path)) as film:
        return list(film.decode(video=0))


def times_of(path: Path) -> list[Fraction]:
    """Their times in seconds."""
    return [frame.pts * frame.time_base for frame in frames_of(path)]


def packets_of(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Times and bytes of the packets of the first stream of a kind."""
    with av.open(str(path)) as film:
        stream = next(s for s in film.streams if s.type == kind)
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in film.demux(stream)
            if packet.pts is not None and packet.size
        ]


def planes(frame: av.VideoFrame) -> np.ndarray:
    """All samples of a frame in its own pixel format."""
    return frame.to_ndarray().astype(int)


def cleared(source: Path, output: Path, options: VideoOptions | None = None) -> Path:
    """The film made clear by the toy network, and nothing else beside it."""
    result = dehaze_video(source, output, ToyDehazer(), options)
    assert result.output == output
    assert f".{output.name}.corun-video" not in names(output.parent)
    return output


def names(folder: Path) -> set[str]:
    """What a folder holds, hidden ones too."""
    return {path.name for path in folder.iterdir()}
