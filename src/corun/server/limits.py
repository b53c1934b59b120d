"""What a server takes from the world: bytes, pixels, seconds and connections, all bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from corun.errors import ConfigurationError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """The bounds of a server.

    Attributes:
        body_bytes: of one picture's request.
        batch_bytes: of one batch's request.
        held_bytes: of all request bodies that are held at a time.
        batch_pictures: of one batch.
        pixels: of one picture; checked before it is decoded.
        seconds: from the moment a picture is accepted to its answer.
        queue: pictures accepted and not yet answered.
        connections: open at a time; when more come, those that send least are closed.
        head_seconds: for the head of a request.
        body_seconds: for its body, and again as long as `body_rate` is kept.
        body_rate: bytes per second on average of a body that takes longer than `body_seconds`.
        write_seconds: for which a client may stop reading its answer.
        video_bytes: of one film.
        video_pixels: of one frame; checked before it is decoded.
        video_seconds: of one film, at 60 frames per second.
        video_queue: films that arrive, wait or are worked on.
        keep_seconds: for which the results of films are kept.
    """

    body_bytes: int = 64 * MIB
    batch_bytes: int = 256 * MIB
    held_bytes: int = 1024 * MIB
    batch_pictures: int = 1000
    pixels: int = 50_000_000
    seconds: float = 60.0
    queue: int = 64
    connections: int = 256
    head_seconds: float = 10.0
    body_seconds: float = 120.0
    write_seconds: float = 60.0
    body_rate: float = 131_072.0
    video_bytes: int = 1024 * MIB
    video_pixels: int = 8_847_360  # 4096x2160
    video_seconds: float = 600.0
    video_queue: int = 8
    keep_seconds: float = 86_400.0

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: one of them is no finite number.
        """
        for name, value in vars(self).items():
            if not math.isfinite(value):
                raise ConfigurationError(f"{name}: {value:g} is no limit; give a finite number")
