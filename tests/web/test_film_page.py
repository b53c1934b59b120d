"""Films on the page, in a real headless browser: dropped, watched, given up, downloaded."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import corun

pytest.importorskip("av", reason="needs the extra video")
pytest.importorskip("selenium.webdriver", reason="needs selenium")
pytest.importorskip("gradio", reason="needs the extra web", exc_type=ImportError)

from selenium.webdriver.common.keys import Keys
from visitor import Visit

from corun.dehazing.video.conversion import VideoOptions, dehaze_video
from video_films import frames_of, make_film, packets_of, planes, times_of

pytestmark = pytest.mark.slow  # Gradio alone takes ten seconds to import
FRAMES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    """A pan over a rendered hazy scene, with sound."""
    from corun.dehazing.rendered_demo import run_demo

    run_demo(corun.load(), folder, seed=3, density=2.5, size=(360, 720))
    with Image.open(folder / "hazy.png") as image:
        hazy = np.asarray(image.convert("RGB"))
    pictures = [np.ascontiguousarray(hazy[:, 2 * k : 2 * k + 640]) for k in range(FRAMES)]
    return make_film(
        folder / "morning fog (2) ü.mp4",
        stamps=[3600 * k for k in range(FRAMES)], size=(360, 640), pictures=pictures, audio=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def long(folder: Path) -> Path:
    return make_film(folder / "long.mp4", stamps=range(0, 3600 * 900, 3600), size=(240, 320))


def counted(visit: Visit, name: str) -> float:
    """A number of /metrics; 0 where it has not begun to be counted."""
    with urllib.request.urlopen(f"{visit.url}metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def given_up(visit: Visit) -> float:
    return counted(visit, 'corun_videos_total{outcome="cancelled"}')


def test_a_film_is_dropped_made_played_and_downloaded(visit: Visit, clip: Path) -> None:
    visit.open()
    visit.drop(clip)
    visit.until_it_says("640 × 360 pixels: a frame from its middle")
    assert not visit.browser.find_elements("css selector", "#full")
    visit.click("film")
    visit.until_it_says(f"{FRAMES} frames. Ready.")
    visit.wait(
        lambda b: b.execute_script(
            "const film = document.querySelector('#player video');"
            "return film && film.readyState >= 2 && Math.abs(film.duration - 1.6) < 0.2"
        )
    )
    visit.wait(
        lambda b: b.execute_script(
            "return [...document.querySelectorAll('#slider img')]"
            ".filter(i => i.complete && i.naturalWidth === 640).length >= 2"
        )
    )
    visit.browser.set_window_size(1280, 1180)
    time.sleep(1)  # the player shows its first frame
    visit.picture("web-film")
    path = visit.downloaded(clip.name)
    wanted = dehaze_video(clip, clip.with_name("wanted.mp4"), corun.load()).output
    assert times_of(path) == times_of(wanted) == times_of(clip)
    assert packets_of(path, "audio") == packets_of(clip, "audio")
    for mine, theirs in zip(frames_of(path), frames_of(wanted), strict=True):
        assert np.array_equal(planes(mine), planes(theirs))
    shown = visit.browser.execute_async_script(
        "const done = arguments[0]; const images = document.querySelectorAll('#slider img');"
        "const read = i => { const c = document.createElement('canvas');"
        "c.width = 640; c.height = 360; const x = c.getContext('2d'); x.drawImage(i, 0, 0);"
        "return [...x.getImageData(0, 0, 640, 360).data].filter((v, k) => k % 404 === 0); };"
        "done([...images].slice(0, 2).map(read));"
    )
    middle = [frames_of(film)[FRAMES // 2].to_ndarray(format="rgb24") for film in (clip, path)]
    for image in shown:  # the slider's own order is its own
        read = np.asarray(image, float)
        errors = []
        for frame in middle:
            rgba = np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])
            errors.append(np.abs(rgba.reshape(-1)[::404] - read).mean())
        assert min(errors) < 3 < max(errors)


def test_strength_applies(visit: Visit, clip: Path) -> None:
    field = visit.find("#strength input[type=range]")
    for _ in range(10):
        field.send_keys(Keys.ARROW_LEFT)
    visit.until_it_says("a frame from its middle")
    (visit.downloads / clip.name).unlink()
    visit.click("film")
    path = visit.downloaded(clip.name)
    output, options = clip.with_name("half.mp4"), VideoOptions(strength=0.5)
    wanted = dehaze_video(clip, output, corun.load(), options).output
    for mine, theirs in zip(frames_of(path), frames_of(wanted), strict=True):
        assert np.array_equal(planes(mine), planes(theirs))


def test_its_progress_is_told_and_it_can_be_given_up(visit: Visit, long: Path) -> None:
    visit.open()
    visit.drop(long)
    visit.until_it_says("a frame from its middle")
    before = given_up(visit)
    visit.click("film")
    visit.until_it_says("frames a second")
    visit.wait(lambda b: " left" in visit.status() and "of about 900 frames" in visit.status())
    visit.wait(lambda b: 0 < float(visit.find("#bar progress").get_attribute("value")) < 1)
    visit.picture("web-film-progress")
    visit.click("cancel")
    visit.until_it_says("Cancelled.")
    visit.wait(lambda b: counted(visit, "corun_unfinished_videos") == 0)
    assert given_up(visit) == before + 1
    assert visit.find("#film").is_enabled()


@pytest.mark.parametrize("closed", [True, False])
def test_whoever_closes_the_page_or_takes_the_film_away_gives_it_up(
    visit: Visit, long: Path, closed: bool
) -> None:
    visit.open()
    visit.drop(long)
    visit.until_it_says("a frame from its middle")
    before = given_up(visit)
    visit.click("film")
    visit.until_it_says("first frames are looked at")
    if closed:
        visit.browser.get("about:blank")
    else:
        clear = visit.find("#files button[aria-label='Clear']")
        visit.browser.execute_script("arguments[0].click()", clear)
        visit.until_it_says("Drop a hazy photo or film to begin.")
    visit.wait(lambda b: given_up(visit) == before + 1)
    visit.wait(lambda b: counted(visit, "corun_unfinished_videos") == 0)


def test_what_is_said_of_files_that_are_gone_is_given_up_before_others_are_spoken_of(
    page: str,
) -> None:
    with urllib.request.urlopen(f"{page}config", timeout=30) as answer:
        config = json.load(answer)
    names = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    speaks = [
        event["id"]
        for event in config["dependencies"]
        if "status" in [names[output] for output in event["outputs"]]
    ]
    changes = [
        event
        for event in config["dependencies"]
        if any(
            names.get(target) == "files" and name == "change" for target, name in event["targets"]
        )
    ]
    (gives_up,) = [number for number, event in enumerate(changes) if event["cancels"]]
    (opens,) = [
        number
        for number, event in enumerate(changes)
        if "choice" in [names[output] for output in event["outputs"]]
    ]
    assert gives_up < opens
    (shows,) = [
        event["id"]
        for event in config["dependencies"]
        if event["trigger_after"] == changes[opens]["id"]
    ]
    cancels = [
        event["id"]
        for event in config["dependencies"]
        if any(names.get(target) == "cancel" for target, _ in event["targets"])
    ]
    assert set(speaks) - {shows, *cancels} == set(changes[gives_up]["cancels"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.mp4", "no film", "notes.mp4: cannot be opened as a video"),
        ("list.mp4", "ffconcat version 1.0\nfile long.mp4\n", "list.mp4: its format is not taken"),
        (
            "list.mkv",
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nlong.mp4\n#EXT-X-ENDLIST\n",
            "list.mkv: cannot be opened as a video",
        ),
        ("list.m3u8", "#EXTM3U\nlong.mp4\n", "list.m3u8: not a picture"),
    ],
)
def test_what_is_no_film_is_told_in_words(
    visit: Visit, folder: Path, name: str, content: str, said: str
) -> None:
    path = folder / name
    path.write_text(content)
    visit.open()
    visit.drop(path)
    visit.until_it_says(said)
    if name != "list.m3u8":
        visit.click("film")
        visit.until_it_says(said)
        visit.wait(lambda b: visit.find("#film").is_enabled())


def test_photos_and_films_together(visit: Visit, folder: Path, clip: Path) -> None:
    second = folder / "second.png"
    second.write_bytes((folder / "hazy.png").read_bytes())
    visit.open()
    visit.drop(folder / "hazy.png", clip, second)
    visit.wait(lambda b: visit.find("#every").is_displayed())
    visit.until_it_says("hazy.png, 720 × 360 pixels")
    visit.click("every")
    visit.until_it_says("2 of 2 photos are ready.")
    assert "films are made one by one" in visit.status()
