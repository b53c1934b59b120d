"""The file formats that are read and written: their names, their suffixes, what they hold."""

from __future__ import annotations

from corun.errors import ConfigurationError

SUFFIX_OF_FORMAT = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "AVIF": ".avif",
    "HEIF": ".heic",
}
"""Pillow's names of the formats that are written, to the suffix that a new file gets."""

FORMAT_OF_SUFFIX = {
    **{suffix: name for name, suffix in SUFFIX_OF_FORMAT.items()},
    **dict.fromkeys((".jpeg", ".jpe", ".jfif"), "JPEG"),
    **{".tiff": "TIFF", ".dib": "BMP", ".heif": "HEIF", ".hif": "HEIF"},
}
"""Every suffix of a picture, in lower case, to its format: the one list there is."""

RAW_SUFFIXES = frozenset(
    {
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq"),
        *(".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".raf"),
        *(".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    }
)
"""What cameras call the data of their sensors, in lower case; read with the extra "raw"."""

READABLE_SUFFIXES = frozenset(FORMAT_OF_SUFFIX) | RAW_SUFFIXES
"""What is taken for a picture when a folder is searched."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv"}
)
"""What a search of a folder names as left for `corun video`, in lower case."""

FILM_SUFFIXES = VIDEO_SUFFIXES | {
    *(".ts", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf", ".vob", ".dv", ".y4m")
}
"""What `corun dehaze` takes for a film where it is named; `corun video` opens any name."""

READABLE_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "AVIF", "HEIF")
"""Pillow's names of the formats that are read."""

FORMAT_OF_READ = {"MPO": "JPEG", "DIB": "BMP"}
"""Formats that are read but written as a simpler one: a multi-picture JPEG as a JPEG."""

MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"),
    "BMP": ("1", "L", "P", "RGB"),
    "AVIF": ("RGB", "RGBA"),
    "HEIF": ("L", "LA", "RGB", "RGBA"),
}
"""Pillow modes each format holds without loss of kind."""


def written_format(read: str | None) -> str:
    """The format in which a picture of a format (Pillow's name, or None) is written again."""
    file_format = FORMAT_OF_READ.get(read or "PNG", read or "PNG")
    return file_format if file_format in MODES else "PNG"


def format_from_name(name: str) -> str:
    """Pillow's name of a format given as "jpg", ".jpg", "JPEG", ...

    Raises:
        ConfigurationError: an unknown or unwritable format.
    """
    wanted = name.strip().lower().removeprefix(".")
    for suffix, file_format in FORMAT_OF_SUFFIX.items():
        if wanted in (suffix[1:], file_format.lower()):
            return file_format
    known = ", ".join(suffix[1:] for suffix in SUFFIX_OF_FORMAT.values())
    raise ConfigurationError(f"{name!r} is no format corun writes; choose one of {known}")
