"""The how-to page of the service: its commands run as they stand, and its picture is made of them.

With CORUN_DOCS_IMAGES set to a folder, the picture is written there.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from running_service import running, until

from corun.data.scenes import render
from corun.dehazing.dehazer import Dehazer
from corun.physics.scattering import add_haze
from corun.server.limits import Limits
from corun.server.service import create_service
from corun.server.videos import VideoJobs

pytest.importorskip("av", reason="needs the extra video")
from video_films import make_film

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "service.md"
INK, GROUND, COMMAND = (214, 222, 230), (22, 27, 34), (126, 231, 183)


def hazy_scene(size: tuple[int, int]) -> Image.Image:
    scene = render(3, *size)
    t = np.exp(-2.5 * scene.depth)
    hazy = add_haze(scene.clean, t[..., None], np.array([0.86, 0.89, 0.92], np.float32))
    return Image.fromarray(np.rint(np.clip(hazy, 0, 1) * 255).astype(np.uint8))


def drawn(lines: list[tuple[str, bool]], pictures: list[Image.Image]) -> Image.Image:
    """A terminal with commands and answers, above pictures in a row."""
    width, height = pictures[0].size
    font = ImageFont.load_default(15)
    top = 24 + 21 * len(lines)
    sheet = Image.new("RGB", (len(pictures) * (width + 8) + 8, top + height + 16), GROUND)
    pen = ImageDraw.Draw(sheet)
    for number, (line, typed) in enumerate(lines):
        room = sheet.width - 32
        while pen.textlength(line, font) > room:
            line = line.rstrip("…")[:-4] + "…"
        pen.text((16, 12 + 21 * number), line, COMMAND if typed else INK, font)
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (8 + number * (width + 8), top + 4))
    return sheet


@pytest.mark.slow
def test_the_commands_of_the_page_and_its_picture(dehazer: Dehazer, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    photo = hazy_scene((240, 320))
    photo.save(tmp_path / "photo.jpg", quality=92)
    frames = [np.asarray(photo)[:192, n : n + 256] for n in range(12)]
    make_film(tmp_path / "hazy.mp4", pictures=frames, size=(192, 256))
    commands = re.findall(r"^\$ (curl .*)$", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(commands) == 4
    limits = Limits()
    app = create_service(
        lambda: {"corun-lite": dehazer}, limits=limits, videos=VideoJobs(tmp_path / "s", limits)
    )
    shown, job = commands[2].rpartition("/")[2], ""
    lines: list[tuple[str, bool]] = []
    with running(app, limits=limits) as service:

        def told(command: str) -> str:
            """What the command prints; it is given the port and the job of this test."""
            command = command.replace("127.0.0.1:8000", f"127.0.0.1:{service.server.port}")
            arguments = shlex.split(re.sub(r"/v1/videos/\w{20,}", f"/v1/videos/{job}", command))
            arguments[1:1] = ["--fail", "--silent", "--show-error"]
            ran = subprocess.run(
                arguments, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
            )
            assert ran.returncode == 0, ran.stderr
            return ran.stdout

        for number, command in enumerate(commands):
            if number == 2:
                until(lambda: json.loads(told(commands[2]))["status"] == "done", 300)
            answer = told(command)
            lines.append((f"$ {command}", True))
            if answer:
                job = job or json.loads(answer)["id"]
                lines.append((answer.replace(job, shown), False))
        served = service.post(
            (tmp_path / "photo.jpg").read_bytes(), "/v1/dehaze?transmission=true"
        ).body
    with Image.open(io.BytesIO(served)) as grey, Image.open(tmp_path / "clear.jpg") as clear:
        transmission = Image.fromarray((np.asarray(grey) / 257).astype(np.uint8)).convert("RGB")
        pictures = [photo, clear.convert("RGB"), transmission]
    assert np.asarray(pictures[1]).std() > np.asarray(photo).std() + 5
    assert (tmp_path / "clear.mp4").stat().st_size > 1000
    sheet = drawn(lines, pictures)
    sheet.save(Path(os.environ.get("CORUN_DOCS_IMAGES", str(tmp_path))) / "service.png")
