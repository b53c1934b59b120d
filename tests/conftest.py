"""What all tests share: no network, and the data folder beside the checkout."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image, ImageCms


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photos, weights and reference numbers beside the checkout."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared"
    if not folder.is_dir():
        pytest.skip("needs the data folder ../shared beside the checkout")
    return folder.resolve()


class RenderedHaze(NamedTuple):
    """Rendered scenes in homogeneous haze of which everything is known."""

    hazy: torch.Tensor
    scene: torch.Tensor
    depth: torch.Tensor
    transmission: torch.Tensor
    airlight: torch.Tensor


@pytest.fixture(scope="session")
def rendered_haze() -> RenderedHaze:
    """Eight scenes, two of each kind of place, 240×320, β = 2.2, bluish airlight."""
    from corun.data.scenes import render_scene
    from corun.physics.scattering import add_haze
    from corun.physics.transmission import depth_to_transmission

    rendered = [render_scene(240, 320, seed) for seed in range(8)]
    scene = torch.stack([one.image for one in rendered])
    depth = torch.stack([one.depth for one in rendered])
    transmission = depth_to_transmission(depth, 2.2)
    airlight = torch.tensor([0.82, 0.86, 0.90]).view(1, 3, 1, 1)
    hazy = add_haze(scene, transmission, airlight)
    return RenderedHaze(hazy, scene, depth, transmission, airlight)


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


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium with a profile of its own, which asks nothing of the network."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    programs = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    program, driver_program = next(filter(None, programs), None), shutil.which("chromedriver")
    if program is None or driver_program is None:
        pytest.skip("needs chromium and chromedriver (Debian: chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for switch in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{switch}")
    for switch in ("disable-background-networking", "disable-component-update", "disable-sync"):
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # selenium's own log file
        driver = webdriver.Chrome(
            options=options, service=webdriver.ChromeService(executable_path=driver_program)
        )
        driver.set_page_load_timeout(60)
        yield driver
        driver.quit()
