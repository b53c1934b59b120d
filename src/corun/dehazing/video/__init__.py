"""Videos in, clear videos out; needs the extra `video`, which the first import says."""

from corun.errors import MissingExtraError

try:
    import av as _av  # noqa: F401
except ImportError as error:
    raise MissingExtraError("PyAV", "video") from error
