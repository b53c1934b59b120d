"""The page in a real headless browser, used as a visitor would: dropped, looked at, downloaded.

With CORUN_DOCS_IMAGES set to a folder, the pictures of the how-to page are written there.
"""

from __future__ import annotations

import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import corun
from corun.pictures.reading import read_picture
from corun.pictures.writing import encode_picture

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
pytest.importorskip("gradio", reason="needs the extra web", exc_type=ImportError)

from selenium.webdriver.common.by import By  # noqa: E402 - after the checks that they are there
from selenium.webdriver.common.keys import Keys  # noqa: E402
from visitor import Visit  # noqa: E402

pytestmark = pytest.mark.slow  # Gradio alone takes ten seconds to import


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two rendered hazy photos with metadata, one of them large, and a text file."""
    from corun.dehazing.rendered_demo import run_demo

    folder = tmp_path_factory.mktemp("photos")
    run_demo(corun.load(), folder, seed=3, density=2.5, size=(500, 750))
    exif = Image.Exif()
    exif[0x010F] = "Hazelblad"
    with Image.open(folder / "hazy.png") as hazy:
        small = folder / "morning fog (1) ü.jpg"
        hazy.convert("RGB").save(small, quality=92, exif=exif.tobytes())
        large = folder / "large.jpg"
        hazy.convert("RGB").resize((3000, 2000), Image.Resampling.BICUBIC).save(large, quality=90)
    text = folder / "notes.jpg"
    text.write_text("no photo")
    return [small, large, text]


def expected(path: Path, strength: float = 1.0) -> bytes:
    picture = read_picture(path)
    result = corun.load().dehaze_picture(picture, strength=strength)
    return encode_picture(result.storable_image(), result.metadata, "JPEG")[0]


def test_a_photo_is_dropped_compared_and_downloaded_byte_for_byte(
    visit: Visit, photos: list[Path]
) -> None:
    visit.open()
    visit.drop(photos[0])
    visit.until_it_says("750 × 500 pixels: full size")
    shown = visit.wait(lambda b: b.find_elements(By.CSS_SELECTOR, "#slider img"))
    visit.wait(
        lambda b: b.execute_script(
            "return [...document.querySelectorAll('#slider img')]"
            ".filter(i => i.complete && i.naturalWidth === 750).length >= 2"
        )
    )
    assert len(shown) >= 2
    visit.picture("web-desktop")
    visit.click("full")
    path = visit.downloaded(photos[0].name)
    assert path.read_bytes() == expected(photos[0])
    with Image.open(path) as image:
        assert image.getexif()[0x010F] == "Hazelblad"


def test_the_slider_moves_by_mouse(visit: Visit, photos: list[Path]) -> None:
    handle = visit.find("#slider .outer, #slider [role=slider], #slider .slider-wrap > div.outer")
    before = handle.get_attribute("style")
    webdriver.ActionChains(visit.browser).drag_and_drop_by_offset(handle, -150, 0).perform()
    visit.wait(lambda b: handle.get_attribute("style") != before)


def test_the_transmission_map_tells_t_and_a_of_a_point(visit: Visit, photos: list[Path]) -> None:
    tab = visit.browser.find_element(By.XPATH, "//button[@role='tab'][contains(., 'Transmission')]")
    visit.browser.execute_script("arguments[0].click()", tab)
    image = visit.wait(lambda b: b.find_element(By.CSS_SELECTOR, "#drawn img"))
    visit.wait(lambda b: image.is_displayed() and image.size["width"] > 100)
    webdriver.ActionChains(visit.browser).move_to_element(image).click().perform()
    visit.wait(lambda b: "transmission T = " in visit.find("#point").text)
    told = visit.find("#point").text
    found = re.match(r"At \((\d+), (\d+)\): transmission T = (\d\.\d\d)", told)
    assert found, told
    x, y = int(found[1]), int(found[2])
    assert abs(x - 375) < 8
    assert abs(y - 250) < 8
    T = np.asarray(corun.load()(photos[0]).transmission)
    assert float(found[3]) == pytest.approx(T[y, x], abs=0.03)
    visit.picture("web-transmission")


def test_strength_by_keys(visit: Visit, photos: list[Path]) -> None:
    field = visit.find("#strength input[type=range]")
    for _ in range(10):
        field.send_keys(Keys.ARROW_LEFT)
    assert float(field.get_attribute("value")) == pytest.approx(0.5)
    time.sleep(1)
    visit.until_it_says("pixels")
    visit.click("full")
    first = visit.downloads / photos[0].name
    first.unlink(missing_ok=True)
    assert visit.downloaded(photos[0].name).read_bytes() == expected(photos[0], 0.5)


def test_several_photos_a_bad_one_named_and_a_zip(visit: Visit, photos: list[Path]) -> None:
    visit.open()
    visit.drop(*photos)
    visit.wait(lambda b: visit.find("#every").is_displayed())
    visit.until_it_says("750 × 500")
    visit.click("every")
    visit.until_it_says("2 of 3 photos are ready.")
    assert "notes.jpg: not a picture" in visit.status()
    path = visit.downloaded("clear-photos.zip")
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {photos[0].name, "large.jpg"}
        assert archive.read("large.jpg") == expected(photos[1])


def test_an_error_is_said_in_the_page(visit: Visit, photos: list[Path]) -> None:
    visit.open()
    visit.drop(photos[2])
    visit.until_it_says("notes.jpg: not a picture corun can read")


def test_a_large_photo_is_seen_soon_and_the_work_can_be_cancelled(
    visit: Visit, photos: list[Path]
) -> None:
    visit.open()
    visit.drop(photos[1])
    visit.until_it_says("3000 × 2000 pixels: a preview")
    visit.click("full")
    visit.until_it_says("at full size")
    visit.click("cancel")
    visit.until_it_says("Cancelled.")
    assert (
        not visit.find("#saved").is_displayed()
        if visit.browser.find_elements(By.CSS_SELECTOR, "#saved")
        else True
    )


@pytest.mark.parametrize(("name", "dark"), [("web-phone", False), ("web-phone-dark", True)])
def test_on_a_phone_nothing_is_cut_off(
    visit: Visit, photos: list[Path], name: str, dark: bool
) -> None:
    value = "dark" if dark else "light"
    features = {"features": [{"name": "prefers-color-scheme", "value": value}]}
    visit.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    visit.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        visit.open(390, 844)
        visit.drop(photos[0])
        visit.until_it_says("750 × 500")
        width = visit.browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= 390
        is_dark = visit.browser.execute_script("return document.body.classList.contains('dark')")
        assert is_dark == dark
        visit.wait(lambda b: b.find_elements(By.CSS_SELECTOR, "#slider img"))
        time.sleep(1)
        visit.picture(name)
    finally:
        visit.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_request_leaves_the_server(visit: Visit) -> None:
    requested = set()
    for entry in visit.browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            requested.add(message["params"]["request"]["url"])
    assert requested
    ours = (visit.url, "data:", "blob:")
    assert [url for url in requested if not url.startswith(ours)] == []
