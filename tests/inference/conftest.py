"""Metadata to carry through."""

from __future__ import annotations

import pytest
from PIL import Image, ImageCms


@pytest.fixture(scope="session")
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="session")
def exif_block() -> bytes:
    """Make, a date, an exposure time and a position; turned by 90° (orientation 6)."""
    exif = Image.Exif()
    exif[0x010F] = "Hazelblad"
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x829A] = 0.008
    exif.get_ifd(0x8769)[0x9003] = "2024:11:05 07:30:00"
    exif.get_ifd(0x8769)[0xA002] = 23
    exif.get_ifd(0x8769)[0xA003] = 17
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes()
