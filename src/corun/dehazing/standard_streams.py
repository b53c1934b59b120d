"""Pictures and lines through the standard streams, which may be closed, full or gone."""

from __future__ import annotations

import errno
import os
import sys

from corun.errors import ImageFileError, reason_of, system_errors_as


def read_standard_input() -> bytes:
    """Everything on standard input.

    Raises:
        ImageFileError: it is closed or cannot be read.
    """
    if sys.stdin is None:
        raise ImageFileError("standard input: is closed; redirect a picture into it")
    what, remedy = "standard input: cannot be read", "redirect a picture into it"
    with system_errors_as(ImageFileError, what, remedy):
        return sys.stdin.buffer.read()


def write_standard_output(content: bytes) -> None:
    """Writes at once and past Python's buffer, which would keep what failed and try it again.

    Raises:
        BrokenPipeError: nobody reads any more; that is no mistake, the command just ends.
        ImageFileError: it is closed, or the disk behind it is full or broken.
    """
    if sys.stdout is None:
        raise ImageFileError("standard output: is closed; redirect it to a file")
    try:
        sys.stdout.flush()
        stream = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        rest = memoryview(content)
        while rest:
            written = stream.write(rest)
            if written is None:  # a stream set not to wait, whose reader is slow
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            rest = rest[written:]
    except BrokenPipeError:
        raise
    except OSError as error:
        if os.name == "nt" and error.errno == errno.EINVAL:  # how Windows says it
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
        what = f"standard output: cannot be written ({reason_of(error)})"
        raise ImageFileError(f"{what}; redirect it to another place") from error
