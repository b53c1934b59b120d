"""What is finished of a film: runs of encoded frames on the disk, from which a later run goes on.

The folder .NAME.corun-video beside the output holds, until that is whole, one file of packets per
finished run of frames and `progress.json`, which names them with what they were made of. A run is
finished once it is in `progress.json`; whatever else a killed process left is written anew.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import av
from filelock import FileLock, Timeout

from corun.dehazing.video.source import Packet
from corun.errors import VideoError
from corun.files import write_atomically

_RECORD = struct.Struct("<qqqI?")
"""Time of showing, of decoding, duration, bytes, whether it is a key frame."""
_NO_TIME = -(2**63)


@dataclass(frozen=True)
class Segment:
    """A finished run of frames.

    Attributes:
        frames: how many.
        lead: times of the last frames until its end, to find its place in the film again and to
            warm up.
        last: CRC-32 of the last one's samples as decoded, to know the place again.
        damaged: packets passed over until its end.
    """

    frames: int
    lead: list[int]
    last: int
    damaged: int = 0


@dataclass
class Progress:
    """What is finished, in the order of time.

    Attributes:
        made_of: what decides the frames: the film, the model, the options; another is started over.
        segments: the finished runs.
    """

    made_of: dict[str, object]
    segments: list[Segment] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """How many frames are finished."""
        return sum(segment.frames for segment in self.segments)


class Workshop:
    """The folder of unfinished work on an output.

    Args:
        output: the file that is to be.
    """

    def __init__(self, output: Path) -> None:
        self.folder = output.parent / f".{output.name}.corun-video"
        self._output = output

    @contextmanager
    def held(self) -> Generator[None, None, None]:
        """Makes the folder and keeps other processes out of it, as long as this one lives.

        It is removed afterwards where nothing in it is finished.

        Raises:
            VideoError: another process has it, or it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock", thread_local=False)
            lock.acquire(timeout=0)
        except Timeout as error:  # which is an OSError, too
            raise VideoError(
                f"{self._output}: another process is making it; wait for it, or choose another name"
            ) from error
        except OSError as error:
            raise cannot_write(self._output, error) from error
        try:
            yield
        finally:
            lock.release()
            if not (self.folder / "progress.json").exists():
                self.remove()

    def resume(self, made_of: dict[str, object], *, wanted: bool) -> Progress:
        """What an earlier run finished of just this; what is of no use is removed."""
        progress = Progress(made_of)
        if wanted:
            with suppress(OSError, ValueError, KeyError, TypeError):
                stored = json.loads((self.folder / "progress.json").read_text(encoding="utf-8"))
                if stored["made_of"] == json.loads(json.dumps(made_of)):
                    progress.segments = [Segment(**fields) for fields in stored["segments"]]
        kept = {self.path_of(number) for number in range(len(progress.segments))}
        if not all(path.is_file() for path in kept):
            progress.segments, kept = [], set()
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path.name not in ("lock", "progress.json") and path not in kept:
                    path.unlink()
        return progress

    def path_of(self, number: int) -> Path:
        """The packets of a run."""
        return self.folder / f"{number:06d}.packets"

    def finish(self, progress: Progress, segment: Segment) -> None:
        """Notes that the next run is whole on the disk.

        Raises:
            OSError: the disk is full.
        """
        progress.segments.append(segment)
        stored = {"made_of": progress.made_of, "segments": [asdict(s) for s in progress.segments]}
        write_atomically(self.folder / "progress.json", json.dumps(stored))

    def packets(self, numbers: Iterable[int]) -> Generator[Packet, None, None]:
        """The packets of runs, in order of decoding."""
        for number in numbers:
            yield from read_packets(self.path_of(number))

    def remove(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_packets(stream: BinaryIO, packets: Iterable[Packet]) -> None:
    """Appends packets to a file.

    Raises:
        OSError: the disk is full.
    """
    for packet in packets:
        stream.write(
            _RECORD.pack(
                _NO_TIME if packet.pts is None else packet.pts,
                _NO_TIME if packet.dts is None else packet.dts,
                packet.duration or 0,
                packet.size,
                packet.is_keyframe,
            )
        )
        stream.write(bytes(packet))


def close_to_disk(stream: BinaryIO) -> None:
    """Makes sure that what was written is on the disk."""
    stream.flush()
    os.fsync(stream.fileno())


def read_packets(path: Path) -> Generator[Packet, None, None]:
    """The packets of a file, in the order in which they were written."""
    with path.open("rb") as stream:
        while record := stream.read(_RECORD.size):
            pts, dts, duration, size, key = _RECORD.unpack(record)
            packet = av.Packet(stream.read(size))
            packet.pts = None if pts == _NO_TIME else pts
            packet.dts = None if dts == _NO_TIME else dts
            packet.duration, packet.is_keyframe = duration, key
            yield packet


def cannot_write(path: Path, error: OSError) -> VideoError:
    """Why an output cannot be written, in words."""
    why = error.strerror or str(error)
    return VideoError(f"{path}: cannot be written ({why}); choose another folder")
